"""launch.py through the command line: the whole way, wrong input, kills."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import ray
import soundfile

from tests.cli import SMALL, call, environment, run, start
from tests.kills import caught_between, fold_files, ray_workers, wait_for
from tests.recordings import make_folder, sound, write_wav

BAD = {
    "missing.wav": "missing",
    "truncated.wav": "truncated",
    "empty.wav": "empty",
    "silent.wav": "silent",
    "nan.wav": "non_finite",
    "text.wav": "unreadable",
}


def spoil(directory: Path) -> None:
    """Add six unusable clips, one of each kind."""
    audio = directory / "train_curated"
    rng = np.random.default_rng(1)
    write_wav(audio / "truncated.wav", sound("tone", rng))
    whole = (audio / "truncated.wav").read_bytes()
    (audio / "truncated.wav").write_bytes(whole[: len(whole) // 2])
    write_wav(audio / "empty.wav", np.zeros(0, np.int16))
    write_wav(audio / "silent.wav", np.zeros(30000, np.int16))
    x = sound("tone", rng).astype(np.float32) / 32768
    x[1000:1010] = np.nan
    soundfile.write(audio / "nan.wav", x, 44100, subtype="FLOAT")
    (audio / "text.wav").write_text("fname,labels\nthis is no sound\n")
    table = directory / "train_curated.csv"
    table.write_text(table.read_text() + "".join(f"{name},tone,{i % 2}\n" for i, name in enumerate(BAD)))


# many small steps and a checkpoint after each epoch: time to kill what trains, and to go on from
LONG = ["--num-samples", "2", "--epochs", "8", "--stopping", "none", *SMALL, "--max-bad-share", "0.2"]
LONG += ["--checkpoint-seconds", "0", "--set", "sampling.samples_per_epoch=64"]
ARGUMENTS = ["--data", "recordings", *LONG]


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder in which one small run has been launched on recordings of which six are unusable."""
    work = tmp_path_factory.mktemp("work")
    spoil(make_folder(work / "recordings"))
    code, output = run("launch.py", *ARGUMENTS, cwd=work)
    (work / "output.txt").write_text(output)
    assert code == 0, output
    return work


@pytest.fixture
def again(work):
    """The same command for a run elsewhere, whose features are cached."""
    return ["--data", work / "recordings", "--cache-dir", work / "cache", *LONG]


def test_a_run_leaves_everything_that_a_reader_needs(work):
    output = (work / "output.txt").read_text()
    run_folder = work / "runs" / "specaug_mixup-recordings"
    assert len(fold_files(work, "result.json")) == 4
    for name in ("weights.safetensors", "oof.parquet", "test.parquet", "curve.csv"):
        assert len(fold_files(work, name)) == 4
    assert not fold_files(work, "checkpoint*")
    board = pd.read_csv(run_folder / "leaderboard.csv")
    assert list(board.columns) == [
        *("experiment", "cv_lwlrap", "fold_0", "fold_1"),
        *("epochs", "seconds", "total_seconds", "stage", "leaky"),
    ]
    assert board["cv_lwlrap"].is_monotonic_decreasing
    assert (board["epochs"] == 2 * 8).all()
    for words in ("Leaderboard", str(run_folder / "leaderboard.csv"), "ensemble_search.py --run"):
        assert words in output
    oof = pd.read_parquet(fold_files(work, "oof.parquet")[0])
    assert list(oof.columns) == ["fname", "clicks", "noise", "tone"]
    assert (oof.dtypes.iloc[1:] == np.float32).all()
    run_json = json.loads((run_folder / "run.json").read_text())
    assert run_json["classes"] == ["clicks", "noise", "tone"]
    assert not (run_folder / "lease.json").exists()
    log = (run_folder / "log.txt").read_text()
    for words in (
        "6 of 40 clips are unusable",
        "empty.wav: empty",
        *(f"fold {k}: finished" for k in range(2)),
        "Leaderboard",
    ):
        assert words in log
    assert "epoch 1/8" not in log


@pytest.mark.parametrize("name", list(BAD))
def test_an_unusable_clip_is_quarantined_with_its_reason(work, name):
    quarantine = pd.read_csv(work / "runs/specaug_mixup-recordings/quarantine.csv").set_index("clip")
    assert BAD[name] in quarantine.loc[f"train_curated/{name}", "reason"]
    output = (work / "output.txt").read_text()
    assert name in output
    predicted = pd.concat([pd.read_parquet(f) for f in fold_files(work, "oof.parquet")])
    assert name not in set(predicted["fname"])
    assert len(predicted) == 2 * 24


def test_too_many_unusable_clips_end_the_launch(work, ray_session):
    code, output = call("launch.py", *ARGUMENTS, "--max-bad-share", "0.01", "--run", "strict", cwd=work)
    assert code == 2
    assert "error: " in output
    assert "--max-bad-share" in output


def test_the_same_command_again_trains_nothing(work, ray_session):
    before = {f: f.stat().st_mtime_ns for f in fold_files(work, "*")}
    code, output = call("launch.py", *ARGUMENTS, cwd=work)
    assert code == 0, output
    assert {f: f.stat().st_mtime_ns for f in fold_files(work, "*")} == before


def test_other_data_under_the_same_run_are_refused(work, tmp_path, ray_session):
    shutil.copytree(work / "recordings", tmp_path / "recordings")
    table = tmp_path / "recordings" / "train_curated.csv"
    table.write_text(table.read_text().replace("c001.wav,noise,0", "c001.wav,tone,0"))
    code, output = call("launch.py", *ARGUMENTS, "--runs-dir", work / "runs", cwd=tmp_path)
    assert code == 2
    assert "labels of 1 clips differs (first train_curated/c001.wav" in output


WRONG = {
    "did you mean specaug_mixup": ["--space", "specaug_mixupp"],
    "did you mean model.base_size": ["--set", "model.basesize=8"],
    "part.field=value": ["--set", "model.base_size"],
    "model.base_size": ["--set", "model.base_size=big"],
    "nowhere": ["--data", "nowhere"],
    "--only-folds 7": ["--only-folds", "0,7"],
    "--num-samples 0": ["--num-samples", "0"],
    "2 folds": ["--n-folds", "3"],
}


@pytest.mark.parametrize("words", WRONG)
def test_wrong_arguments_are_explained(work, ray_session, words):
    code, output = call("launch.py", *ARGUMENTS, *WRONG[words], cwd=work)
    assert code == 2, output
    assert words in output


def test_a_refused_command_ends_with_one_sentence(tmp_path):
    code, output = run("launch.py", "--data", "nowhere", cwd=tmp_path)
    assert code == 2
    assert output == f"error: dataset folder {tmp_path / 'nowhere'} does not exist\n"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("c001.wav,noise,0", "../c001.wav,noise,0", ["train_curated.csv:3:", "../c001.wav"]),
        ("c001.wav,noise,0", "c001.wav,noises,0", ["train_curated.csv:3:", "noises"]),
        ("c001.wav,noise,0", "c000.wav,noise,1", ["train_curated.csv:3:", "c000.wav"]),
        ("fname,labels,fold", "file,labels,fold", ["train_curated.csv:1:", "fname"]),
    ],
)
def test_a_faulty_table_is_named_with_its_line(tmp_path, old, new, words):
    table = make_folder(tmp_path / "recordings") / "train_curated.csv"
    table.write_text(table.read_text().replace(old, new, 1))
    code, output = call("launch.py", "--data", "recordings", cwd=tmp_path)
    assert code == 2, output
    for word in words:
        assert word in output


def test_dry_run_prints_the_trials_and_the_time_and_writes_nothing(work, again, tmp_path, monkeypatch):
    monkeypatch.setattr("ray.init", None)  # nor does it need Ray
    code, output = call("launch.py", "--data", work / "recordings", *LONG, "--dry-run", cwd=tmp_path)
    assert code == 0, output
    assert "4 trials" in output
    assert output.count("specaug_mixup-") == 2
    assert not list(tmp_path.iterdir())


def test_a_killed_driver_goes_on_and_gives_the_same_bits(work, again, tmp_path, ray_session):
    """And while it lives, the run is its alone."""
    process = start("launch.py", *again, cwd=tmp_path)
    try:
        wait_for(lambda: fold_files(tmp_path, "checkpoint-?.json"), "a checkpoint")
        refused, words = call("launch.py", *again, cwd=tmp_path)
        assert refused == 2, words
        assert f"process {process.pid}" in words
        assert "--run" in words
        workers = wait_for(lambda: caught_between(process.pid, tmp_path), "a finished fold and a checkpoint")
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    for worker in workers:
        worker.kill()
    finished = {f: f.read_bytes() for f in fold_files(tmp_path, "result.json")}
    assert 0 < len(finished) < 4

    code, output = call("launch.py", *again, cwd=tmp_path)
    assert code == 0, output
    assert {f: f.read_bytes() for f in finished} == finished
    results = [json.loads(f.read_text()) for f in fold_files(tmp_path, "result.json") if f not in finished]
    assert any(r["resumed_from"] > 0 for r in results)
    for name in ("oof.parquet", "test.parquet", "weights.safetensors"):
        ours, theirs = fold_files(tmp_path, name), fold_files(work, name)
        assert [f.relative_to(tmp_path) for f in ours] == [f.relative_to(work) for f in theirs]
        assert len(ours) == 4
        for a, b in zip(ours, theirs, strict=True):
            assert a.read_bytes() == b.read_bytes(), f"{a} differs"


def read_until(process: subprocess.Popen[str], words: str) -> str:
    output = ""
    while words not in output:
        line = process.stdout.readline()
        assert line, output
        output += line
    return output


@contextlib.contextmanager
def at_most(seconds: float, process: subprocess.Popen[str]):
    """Kill the process at the end, and also if it takes too long."""
    watchdog = threading.Timer(seconds, process.kill)
    watchdog.start()
    try:
        yield
    finally:
        watchdog.cancel()
        process.kill()


@pytest.mark.long
def test_a_killed_worker_costs_nothing_but_time(again, tmp_path):
    """And meanwhile, with --dashboard: who has the token sees what the workers do, under names that say it."""
    process = start("launch.py", *again, "--epochs", "16", "--dashboard", cwd=tmp_path)
    with at_most(240, process):
        output = read_until(process, "Ray's dashboard: ")
        wait_for(lambda: fold_files(tmp_path, "checkpoint-?.json"), "a checkpoint")
        workers = ray_workers(process.pid, "train")
        assert workers
        workers[0].kill()
        address = output.rpartition("Ray's dashboard: ")[2].split()[0]
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"{address}/api/v0/actors", timeout=30)
        told = subprocess.run(
            [Path(sys.executable).with_name("ray"), "get-auth-token"],
            env=environment(),
            capture_output=True,
            text=True,
            check=True,
        )
        request = urllib.request.Request(
            f"{address}/api/v0/actors?detail=1", headers={"Authorization": f"Bearer {told.stdout.strip()}"}
        )
        actors = json.load(urllib.request.urlopen(request, timeout=30))["data"]["result"]["result"]
        seen = {(actor["class_name"], actor["repr_name"]) for actor in actors}
        assert ("Trial", "trials of specaug_mixup-recordings") in seen
        output += process.communicate()[0]
    assert process.returncode == 0, output
    assert len(fold_files(tmp_path, "result.json")) == 4
    assert "its worker died" in output
    assert "Traceback" not in output


def test_ctrl_c_keeps_checkpoints_and_says_how_to_go_on(again, tmp_path):
    process = start("launch.py", *again, "--epochs", "400", cwd=tmp_path)
    with at_most(150, process):
        wait_for(lambda: fold_files(tmp_path, "checkpoint-?.json"), "a checkpoint")
        process.send_signal(signal.SIGINT)
        output = process.communicate()[0]
    assert process.returncode == 130, output
    assert "Interrupted. Kept" in output
    assert "Continue with: python" in output
    assert "Traceback" not in output
    assert not (tmp_path / "runs/specaug_mixup-recordings/lease.json").exists()
    assert fold_files(tmp_path, "checkpoint-?.json")


def test_an_interrupt_does_not_wait_for_trials_that_never_started(again, tmp_path, ray_session):
    class Occupant:
        def here(self):
            return True

    occupant = ray.remote(num_cpus=2)(Occupant).remote()
    assert ray.get(occupant.here.remote())  # all CPUs are taken: no trial will ever start

    def interrupt():
        wait_for(lambda: list(tmp_path.glob("runs/*/experiments/*/experiment.json")), "a trial")
        time.sleep(2)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    try:
        code, output = call("launch.py", *again, cwd=tmp_path)
    finally:
        ray.kill(occupant)
    assert code == 130, output
    assert "Continue with" in output
    assert not fold_files(tmp_path, "*")


@pytest.mark.long
@pytest.mark.parametrize("share", [0.4, 0.0], ids=["in memory", "mapped"])
def test_a_launch_computes_damaged_cells_again_and_goes_on(tmp_path, ray_session, monkeypatch, share):
    from raytag.search.prepare import prepared

    make_folder(tmp_path / "recordings")
    small = ["--data", "recordings", "--num-samples", "1", "--epochs", "1", "--stopping", "none", *SMALL]
    small += ["--set", "sampling.samples_per_epoch=64"]
    monkeypatch.setattr(prepared, "BANK_SHARE", share)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    code, before = call("launch.py", *small, "--run", "one", cwd=tmp_path)
    assert code == 0, before
    shard = sorted(tmp_path.glob("cache/*/shards/*"))[0]
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1  # most of a shard are features
    shard.write_bytes(data)
    mapped = list(tmp_path.glob("temporary/raytag-banks-*/*"))
    assert bool(mapped) == (share == 0)
    for file in mapped:
        file.write_bytes(file.read_bytes()[:-1])
    code, output = call("launch.py", *small, "--run", "two", cwd=tmp_path)
    assert code == 0, output
    assert "features: damaged or gone: 1 cell (train_curated/" in output
    assert f"{shard.name}; computed again" in output
    assert ("it is assembled anew" in output) == (share == 0)
    assert "Traceback" not in output
    one, two = (
        pd.read_parquet(tmp_path / f)
        for f in (
            next(iter((tmp_path / "runs" / name).glob("experiments/*/fold_0/oof.parquet")))
            for name in ("one", "two")
        )
    )
    pd.testing.assert_frame_equal(one, two, check_exact=True)
