"""raytag preview: the samples that a training would see, and nothing lost of what is wrong with the recordings."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from rich.console import Console

from raytag import datasets
from raytag.cli import main
from raytag.cli.preview import samples
from raytag.experiment import Experiment
from raytag.train.fold import FoldTraining
from tests.members import WAVEFORMS
from tests.recordings import make_folder
from tests.small_runs import LOGMELS, NETWORK, SMALL, bank_of

CROPS = SMALL | WAVEFORMS | {"input.crop_seconds": 0.3, "input.mix_prob": 1, "model.name": "PlainConv"}
CROPS |= {"front_end.name": "Mel", "front_end.fmax": 4000, "front_end.n_mels": 32, "model.blocks": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("preview") / "data")


@pytest.mark.parametrize(
    "fields", [SMALL | LOGMELS | NETWORK, SMALL | LOGMELS | NETWORK | {"features.variants": ["speed:1.2"]}, CROPS]
)
def test_samples_are_those_of_the_training(folder, fields):
    table = datasets.load(folder)
    experiment = Experiment().replace(fields | {"training.epochs": 3, "sampling.noisy_prob": 0.5})
    training = FoldTraining(experiment, 1, table, bank_of(experiment, table), torch.device("cpu"))
    training.epoch = 2
    size = experiment.training.batch_size
    found = samples(experiment, table, 1, 2, Console())
    for step in range(2):
        batch = training.make_batch(step)
        for i in range(size):
            sample = next(found)
            assert np.array_equal(sample.after, batch.x[i].numpy())
            assert np.array_equal(sample.present, batch.targets.present[i].numpy())
            assert sample.noisy == batch.targets.noisy[i]


def preview(folder, out, *arguments, fields=CROPS):
    values = [argument for key, value in fields.items() for argument in ("--set", f"{key}={value}")]
    return main(["preview", "--data", str(folder), "--out", str(out), *values, *arguments])


def test_pictures_and_sounds_are_written(folder, tmp_path, capsys):
    assert preview(folder, tmp_path / "out", "3") == 0
    assert "3 samples in" in capsys.readouterr().out
    rows = pd.read_csv(tmp_path / "out" / "samples.csv")
    assert rows["sample"].tolist() == [1, 2, 3]
    assert {f for files in rows["files"] for f in files.split(",")} | {"samples.csv"} == {
        file.name for file in (tmp_path / "out").iterdir()
    }
    after, rate = soundfile.read(tmp_path / "out" / "sample_001_after.wav")
    before, _ = soundfile.read(tmp_path / "out" / "sample_001_before.wav")
    assert (rate, len(after)) == (8000, 2400)
    assert len(before) > len(after)
    assert 0 < np.abs(after).max() <= 1
    assert (tmp_path / "out" / "sample_001.png").read_bytes()[:4] == b"\x89PNG"


def test_an_unusable_recording_is_named(tmp_path, capsys):
    folder = make_folder(tmp_path / "data")
    table = datasets.load(folder)
    broken = table.clips["path"][table.clips["subset"] == "curated"].iloc[0]
    with open(broken, "wb") as file:
        file.write(b"nothing")
    preview(folder, tmp_path / "out", "1000", "--set", "sampling.samples_per_epoch=60", "--fold", "1")
    said = capsys.readouterr().out
    assert said.count(f"left out, unusable: {broken.rsplit('/', 1)[1]}") == 1
    rows = pd.read_csv(tmp_path / "out" / "samples.csv")
    assert 0 < len(rows) < 60
    assert not {broken.rsplit("/", 1)[1]} & {*rows["fname"], *rows["partner"]}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["0"], "ask for one"),
        (["--fold", "7"], "has the folds 0 to 1"),
        (["--epoch", "2"], "the epochs 1 to 1"),
        (["--experiment", "winner"], "lists"),
        (["--set", "input.crop_secs=1"], "crop_seconds"),
    ],
)
def test_what_makes_no_sense_is_refused(folder, tmp_path, capsys, arguments, words):
    with pytest.raises(SystemExit) as end:
        preview(folder, tmp_path / "out", *arguments)
    assert end.value.code == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_with_files_is_left_alone(folder, tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(SystemExit):
        preview(folder, tmp_path)
    assert "not empty" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]
