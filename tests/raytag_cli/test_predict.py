"""raytag predict: the bits of a run's own test predictions, no recording lost, nothing half-written."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from rich.console import Console

from raytag import datasets, plugins
from raytag.blends.means.base import geometric_mean
from raytag.cli import main
from raytag.ensemble import stored
from raytag.ensemble.spread import predict_spread
from raytag.experiment import Experiment
from raytag.features.bank import Bank
from raytag.features.shards import compute_clip
from raytag.predict import TILES_PER_BATCH, restored
from raytag.store.run import RunStore
from tests.conftest import REPOSITORY
from tests.members import WAVEFORMS
from tests.recordings import RATE, make_folder, sound, write_wav
from tests.small_runs import LOGMELS, NETWORK, SMALL, finish

PLUGIN = """
from raytag.models.skip_attention import AuxSkipAttention

class Mine(AuxSkipAttention):
    pass
"""

LOUDNESS = """
import torch
from raytag import parts
from raytag.batch import Outputs

class Loudness(parts.Network):
    takes_lengths = True

    def build(self, num_classes, channels):
        return LoudnessNet(num_classes)

class LoudnessNet(torch.nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.conv, self.head = torch.nn.Conv1d(1, 8, 64, 16), torch.nn.Linear(8, num_classes)

    def forward(self, x, lengths):
        bands = self.conv(x[:, None]).abs()
        sound = torch.arange(bands.shape[2]) < lengths[:, None] // 16
        return Outputs(self.head((bands * sound[:, None]).sum(2) / lengths[:, None] * 16))
"""


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A run of a log-mel and a waveform experiment, and one of a plugin; 40 test clips of 0.3 to 4 s."""
    work, rng = tmp_path_factory.mktemp("predict"), np.random.default_rng(1)
    folder = make_folder(work / "data", test=40)
    for i in range(40):
        write_wav(folder / "test" / f"t{i}.wav", sound("tone", rng, rng.uniform(0.3, 4.0)))
    table = datasets.load(folder)
    small = NETWORK | {"input.tile_step": 12}
    logmels = Experiment(name="logmels").replace(SMALL | LOGMELS | small)
    crops = {
        "input.crop_seconds": 0.3,
        "model.name": "PlainConv",
        "front_end.name": "Mel",
        "model.blocks": 2,
        "model.base_size": 4,
    }
    waveforms = Experiment(name="waveforms").replace(
        SMALL | WAVEFORMS | crops | {"front_end.fmax": 4000, "front_end.n_mels": 32, "front_end.hop_length": 128}
    )
    store = RunStore.open_for(str(work / "runs"), "small", table, str(folder))
    ids = {experiment.name: finish(store, table, experiment) for experiment in (logmels, waveforms)}
    (work / "mine.py").write_text(PLUGIN)
    name = plugins.load(work / "mine.py").members["model"][0].name
    other = RunStore.open_for(str(work / "runs"), "plugin", table, str(folder))
    ids["plugin"] = finish(other, table, logmels.replace({"model.name": name, "model.base_size": 4}))
    (work / "loudness.py").write_text(LOUDNESS)
    network = {"model.name": plugins.load(work / "loudness.py").members["model"][0].name}
    whole = {"input.name": "WholeWaveforms", "input.whole_seconds": 1.5, "input.batch_seconds": 3.0}
    other = RunStore.open_for(str(work / "runs"), "whole", table, str(folder))
    whole_clips = Experiment(name="whole").replace(SMALL | WAVEFORMS | whole | network)
    ids["whole"] = finish(other, table, whole_clips)
    return work, table, store, ids


@pytest.fixture
def here(tmp_path, monkeypatch, work):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stored, "_FILES", 7)
    return tmp_path


def predict(work, *arguments):
    return main(["predict", "--run", "small", "--runs-dir", str(work[0] / "runs"), "--device", "cpu", *arguments])


def values(table, classes):
    return table[list(classes)].to_numpy()


@pytest.mark.parametrize("name", ["logmels", "waveforms", "whole"])
def test_the_datasets_own_test_files_get_the_bits_of_the_runs_test_predictions(work, here, monkeypatch, name):
    """Read seven at a time; several batches of tiles, some of which hold clips that were read at other times."""
    folder, table, store, ids = work
    fnames = table.clips["fname"][table.rows("test")].tolist()
    monkeypatch.chdir(folder / "data" / "test")
    own = ["--run", "whole"] if name == "whole" else []
    store = RunStore(str(folder / "runs"), "whole") if own else store
    assert predict(work, *fnames, *own, "--experiment", ids[name], "--out", str(here / "p.parquet")) == 0
    found = pd.read_parquet(here / "p.parquet")
    assert list(found.columns) == ["fname", *table.classes]
    assert found["fname"].tolist() == fnames
    folds = [store.fold(ids[name], k).test() for k in range(2)]
    assert all(fold["fname"].tolist() == fnames for fold in folds)
    expected = geometric_mean(np.stack([values(fold, table.classes) for fold in folds])).astype(np.float32)
    assert np.array_equal(values(found, table.classes), expected)
    assert sorted(os.listdir(here)) == ["p.parquet"]


def test_an_ensemble_with_stackers_predicts_its_own_submission(work, here, ray_session):
    from raytag.ensemble.command import ensemble_search
    from raytag.ensemble.options import EnsembleOptions

    folder, table, store, _ = work
    options = EnsembleOptions(run=("small",), runs_dir=str(folder / "runs"), way="subset+mlp", stackers=2, size="2")
    assert ensemble_search(options, Console(file=io.StringIO())) == 0
    submission = pd.read_csv(store.storage.root + "/ensembles/ensemble-001/submission.csv", dtype={"fname": str})
    files = [str(folder / "data" / "test" / fname) for fname in submission["fname"]]
    assert predict(work, *files) == 0
    found = pd.read_csv(here / "predictions.csv")
    assert np.array_equal(values(found, table.classes), values(submission, table.classes))


@pytest.mark.parametrize("name", ["logmels", "waveforms"])
def test_windows_are_the_tiles_with_their_times_in_the_recording(work, here, name):
    rng, own = np.random.default_rng(0), ["--experiment", work[3][name]]
    late = np.concatenate([np.zeros(3 * RATE, np.int16), sound("tone", rng, 2.0)])
    write_wav(here / "a" / "late.wav", late)
    for i in range(9):  # read at other times
        write_wav(here / "a" / f"n{i}.wav", sound("noise", rng, 1 + i / 4))
    (here / "a" / "broken.wav").write_bytes(b"nothing")
    assert predict(work, "a", *own) == 1
    assert predict(work, "a", *own, "--out", "p.parquet", "--windows", "w.parquet") == 1
    assert predict(work, "a", *own, "--out", "q.csv", "--windows", "w.csv") == 1
    classes = work[1].classes
    pooled, found = pd.read_parquet("p.parquet"), pd.read_parquet("w.parquet")
    assert np.array_equal(values(pooled, classes), values(pd.read_csv("predictions.csv"), classes).astype("f4"))
    assert list(found) == ["fname", "start_s", "end_s", *classes]
    assert (
        list(dict.fromkeys(found["fname"]))
        == pooled["fname"].tolist()
        == ["late.wav", *(f"n{i}.wav" for i in range(9))]
    )
    np.testing.assert_allclose(pd.read_csv("w.csv").iloc[:, 1:], found.iloc[:, 1:], rtol=1e-6)
    experiment, store = work[2].experiment(work[3][name]), work[2]
    span = experiment.input.span(experiment.features) / experiment.features.rate
    np.testing.assert_allclose(found["end_s"] - found["start_s"], span)
    times = found[found["fname"] == "late.wav"]
    assert times["start_s"].min() == pytest.approx(3.0, abs=0.3)
    assert times["end_s"].max() == pytest.approx(5.0, abs=0.3)
    folds = []
    for k in range(2):
        model = restored(experiment, store.fold(experiment.id, k).weights(), 3, torch.device("cpu"))
        cells = [compute_clip("", str(here / "a" / f), (), experiment.features) for f in pooled["fname"]]
        frames = [np.frombuffer(c["features"], "<i2").reshape(-1, experiment.features.width) for c in cells]
        bank = Bank(np.concatenate(frames), np.cumsum([0, *map(len, frames)]), pooled["fname"].tolist())
        feed = experiment.input.for_test().open(bank, experiment.features)
        with torch.inference_mode():
            folds.append(torch.sigmoid(model.eval()(feed.tiles(np.arange(10))[0].x).clip).numpy())
    np.testing.assert_allclose(values(found, classes), geometric_mean(np.stack(folds)), atol=1e-6)


def test_no_recording_is_lost(work, here, capsys):
    """Folders with what lies below, suffixes in capitals, what is unusable listed, a long one in small batches."""
    rng, experiment = np.random.default_rng(0), ["--experiment", work[3]["logmels"]]
    write_wav(here / "a" / "deep" / "one.WAV", sound("tone", rng))
    write_wav(here / "a" / "long.wav", sound("noise", rng, 90))
    write_wav(here / "a" / "mute.wav", np.zeros(9000, np.int16))
    write_wav(here / "b.wav", sound("tone", rng))
    (here / "a" / "broken.mp3").write_bytes(b"nothing")
    (here / "a" / "read.me").write_bytes(b"no recording")
    sizes = []
    handle = torch.nn.modules.module.register_module_forward_pre_hook(
        lambda module, given: sizes.append(len(given[0])) if type(module).__name__ == "SkipAttention" else None
    )
    try:
        assert predict(work, "a", "b.wav", *experiment) == 1
    finally:
        handle.remove()
    assert max(sizes, default=0) <= TILES_PER_BATCH
    printed = capsys.readouterr().out
    assert "2 of 5 recordings are unusable" in printed
    bad = pd.read_csv("predictions-unusable.csv")
    assert bad["fname"].tolist() == ["broken.mp3", "mute.wav"]
    assert [reason.split(":")[0] for reason in bad["reason"]] == ["unreadable", "silent"]
    found = pd.read_csv("predictions.csv")
    assert found["fname"].tolist() == ["deep/one.WAV", "long.wav", "b.wav"]
    assert values(found, work[1].classes).min() > 0
    assert predict(work, "b.wav", *experiment, "--force") == 0
    assert sorted(p.name for p in here.iterdir()) == ["a", "b.wav", "predictions.csv"]  # the old list is gone
    again = values(pd.read_csv("predictions.csv"), work[1].classes)
    np.testing.assert_allclose(again, values(found, work[1].classes)[2:], rtol=1e-5)
    assert predict(work, "a/broken.mp3", *experiment, "--out", "none.csv") == 1
    assert pd.read_csv("none.csv").shape == (0, 4)


def test_a_cluster_says_the_same_in_the_same_order(work, here, ray_session):
    rng, own = np.random.default_rng(0), ["--experiment", work[3]["logmels"]]
    for i in range(12):
        write_wav(here / "a" / f"n{i:02d}.wav", sound("tone", rng, 30 if i == 5 else 1 + i / 4))
    write_wav(here / "a" / "mute.wav", np.zeros(9000, np.int16))
    (here / "a" / "broken.wav").write_bytes(b"nothing")
    assert predict(work, "a", *own, "--out", "here.parquet", "--windows", "w.parquet") == 1
    assert predict(work, "a", *own, "--out", "there.parquet", "--windows", "v.parquet", "--address", "auto") == 1
    for one, other in (("here", "there"), ("w", "v")):
        expected, found = (pd.read_parquet(f"{name}.parquet") for name in (one, other))
        assert expected["fname"].tolist() == found["fname"].tolist()
        assert list(expected) == list(found)
        np.testing.assert_allclose(found.iloc[:, 1:], expected.iloc[:, 1:], atol=1e-6)
    bad = pd.read_csv("there-unusable.csv")
    pd.testing.assert_frame_equal(bad, pd.read_csv("here-unusable.csv"))
    assert bad["fname"].tolist() == ["broken.wav", "mute.wav"]


def test_workers_import_trusted_plugins_and_tell_of_files_that_they_do_not_see(work, here, ray_session):
    write_wav(here / "x.wav", sound("tone", np.random.default_rng(0)))
    store = RunStore(str(work[0] / "runs"), "plugin")
    one = stored.stored_experiment(store, work[3]["plugin"])
    files, console = [here / "x.wav", here / "gone.wav"], Console(file=io.StringIO())
    with plugins.trusting(True):
        found = predict_spread(one, files, console)
    assert found.windows is None
    assert found.probabilities.shape == (1, 3)
    assert found.reasons[0] == ""
    assert found.reasons[1].startswith("missing: there is no such file on ")
    assert found.reasons[1].endswith(": it must lie on a disk that all nodes share")


def test_errors_name_the_option(work, here, monkeypatch, capsys):
    experiment = work[3]["logmels"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    write_wav(here / "a" / "x.wav", sound("tone", np.random.default_rng(0)))
    write_wav(here / "b" / "x.wav", sound("tone", np.random.default_rng(1)))
    (here / "empty").mkdir()
    (here / "there.csv").write_text("mine")
    (here / "p-unusable.csv").write_text("mine")
    for arguments, words in [
        (["a", "--out", "there.csv"], "--force"),
        (["a", "--out", "p.csv"], "p-unusable.csv is there: --force"),
        (["a", "--out", "p.txt"], ".csv and .parquet"),
        (["nowhere.wav"], "no file or folder nowhere.wav"),
        (["empty"], "empty holds no recording"),
        (["a", "b"], "would both be called x.wav"),
        (["a", "--experiment", experiment[:-1]], f"the closest that is there: '{experiment}'"),
        (["a", "--ensemble", "mine"], "no ensemble"),
        (["a", "--experiment", experiment, "--device", "cuda"], "finds no GPU"),
        (["a", "--windows", "w.csv"], "name one --experiment"),
        (
            ["a", "--experiment", experiment, "--windows", "w.txt"],
            "--windows w.txt: predictions are written to .csv",
        ),
        (["a", "--experiment", experiment, "--windows", "there.csv"], "there.csv is there: --force"),
        (["a", "--experiment", experiment, "--windows", "predictions.csv"], "is --out too"),
        (["a", "--address", "auto", "--device", "cuda"], "--device cuda out"),
    ]:
        with pytest.raises(SystemExit) as end:
            predict(work, *arguments)
        assert end.value.code == 2
        assert words in capsys.readouterr().err
    assert (here / "there.csv").read_text() == "mine"


def test_what_is_interrupted_leaves_nothing(work, here, monkeypatch, capsys):
    write_wav(here / "a" / "x.wav", sound("tone", np.random.default_rng(0)))

    def interrupted(*given):
        raise KeyboardInterrupt

    monkeypatch.setattr(stored, "predict", interrupted)
    with pytest.raises(SystemExit) as end:
        predict(work, "a", "--experiment", work[3]["logmels"])
    assert end.value.code == 130
    assert "interrupted" in capsys.readouterr().err
    assert [p.name for p in here.iterdir()] == ["a"]


def test_plugins_of_a_run_are_imported_where_they_are_trusted_and_ray_is_not(work, here):
    write_wav(here / "x.wav", sound("tone", np.random.default_rng(0)))
    program = (
        "import sys\nfrom raytag.cli import main\nsys.argv[0] = 'raytag'\n"
        "code = main()\nassert 'ray' not in sys.modules\nsys.exit(code)"
    )
    command = [sys.executable, "-c", program, "predict", "x.wav", "--run", str(work[0] / "runs" / "plugin")]
    command += ["--experiment", work[3]["plugin"], "--device", "cpu"]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    refused = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert refused.returncode == 2
    assert "--trust" in refused.stderr
    done = subprocess.run([*command, "--trust"], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert pd.read_csv("predictions.csv")["fname"].tolist() == ["x.wav"]
