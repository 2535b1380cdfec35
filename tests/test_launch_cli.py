"""launch.py through the command line: the whole way, wrong input, kills."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
import soundfile

from tests.cli import SMALL, environment, run, start
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


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder in which one small run has been launched on recordings of which six are unusable."""
    work = tmp_path_factory.mktemp("work")
    spoil(make_folder(work / "recordings"))
    code, output = run("launch.py", *ARGUMENTS, cwd=work)
    (work / "output.txt").write_text(output)
    assert code == 0, output
    return work


ARGUMENTS = ["--data", "recordings", "--num-samples", "2", "--epochs", "2", "--max-bad-share", "0.2", *SMALL]


def fold_files(work: Path, pattern: str) -> list[Path]:
    return sorted((work / "runs").glob(f"*/experiments/*/fold_*/{pattern}"))


def test_a_run_leaves_everything_that_a_reader_needs(work):
    output = (work / "output.txt").read_text()
    run_folder = work / "runs" / "specaug_mixup-recordings"
    assert len(fold_files(work, "result.json")) == 4
    for name in ("weights.safetensors", "oof.parquet", "test.parquet", "curve.csv"):
        assert len(fold_files(work, name)) == 4
    assert not fold_files(work, "checkpoint*")
    board = pd.read_csv(run_folder / "leaderboard.csv")
    assert list(board.columns) == ["experiment", "cv_lwlrap", "fold_0", "fold_1", "epochs", "seconds"]
    assert board["cv_lwlrap"].is_monotonic_decreasing
    assert (board["epochs"] == 4).all()
    for words in ("Leaderboard", str(run_folder / "leaderboard.csv"), "ensemble_search.py --run"):
        assert words in output
    oof = pd.read_parquet(fold_files(work, "oof.parquet")[0])
    assert list(oof.columns) == ["fname", "clicks", "noise", "tone"]
    assert (oof.dtypes.iloc[1:] == np.float32).all()
    run_json = json.loads((run_folder / "run.json").read_text())
    assert run_json["classes"] == ["clicks", "noise", "tone"]
    assert not (run_folder / "lease.json").exists()


@pytest.mark.parametrize("name", list(BAD))
def test_an_unusable_clip_is_quarantined_with_its_reason(work, name):
    quarantine = pd.read_csv(work / "runs/specaug_mixup-recordings/quarantine.csv").set_index("clip")
    assert BAD[name] in quarantine.loc[f"train_curated/{name}", "reason"]
    output = (work / "output.txt").read_text()
    assert name in output
    predicted = pd.concat([pd.read_parquet(f) for f in fold_files(work, "oof.parquet")])
    assert name not in set(predicted["fname"])
    assert len(predicted) == 2 * 24


def test_too_many_unusable_clips_end_the_launch(work):
    arguments = [a if a != "0.2" else "0.01" for a in ARGUMENTS]
    code, output = run("launch.py", *arguments, "--run", "strict", cwd=work)
    assert code == 2
    assert "error: " in output
    assert "--max-bad-share" in output
    assert "Traceback" not in output


def test_the_same_command_again_trains_nothing(work):
    before = {f: f.stat().st_mtime_ns for f in fold_files(work, "*")}
    code, output = run("launch.py", *ARGUMENTS, cwd=work)
    assert code == 0, output
    assert {f: f.stat().st_mtime_ns for f in fold_files(work, "*")} == before


def test_other_data_under_the_same_run_are_refused(work, tmp_path):
    shutil.copytree(work / "recordings", tmp_path / "recordings")
    table = tmp_path / "recordings" / "train_curated.csv"
    table.write_text(table.read_text().replace("c001.wav,noise,0", "c001.wav,tone,0"))
    code, output = run("launch.py", *ARGUMENTS, "--runs-dir", work / "runs", cwd=tmp_path)
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


@pytest.fixture(scope="module")
def refusals(work):
    """What each wrong command line ends with; two processes at a time, for each spends seconds on imports."""
    with ThreadPoolExecutor(2) as pool:
        found = pool.map(lambda arguments: run("launch.py", *ARGUMENTS, *arguments, cwd=work), WRONG.values())
        return dict(zip(WRONG, found, strict=True))


@pytest.mark.parametrize("words", WRONG)
def test_wrong_arguments_are_explained(refusals, words):
    code, output = refusals[words]
    assert code == 2, output
    assert words in output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("c001.wav,noise,0", "../c001.wav,noise,0", ["train_curated.csv:3:", "../c001.wav"]),
        ("c001.wav,noise,0", "c001.wav,noises,0", ["train_curated.csv:3:", "noises"]),
        ("c001.wav,noise,0", "c000.wav,noise,0", ["train_curated.csv:3:", "c000.wav"]),
        ("fname,labels,fold", "file,labels,fold", ["train_curated.csv:1:", "fname"]),
    ],
)
def test_a_faulty_table_is_named_with_its_line(tmp_path, old, new, words):
    table = make_folder(tmp_path / "recordings") / "train_curated.csv"
    table.write_text(table.read_text().replace(old, new, 1))
    code, output = run("launch.py", "--data", "recordings", cwd=tmp_path)
    assert code == 2, output
    for word in words:
        assert word in output
    assert "Traceback" not in output


def test_dry_run_prints_the_trials_and_the_time_and_writes_nothing(tmp_path):
    make_folder(tmp_path / "recordings")
    code, output = run("launch.py", *ARGUMENTS[:4], *SMALL, "--dry-run", cwd=tmp_path)
    assert code == 0, output
    assert "4 trials" in output
    assert output.count("specaug_mixup-") == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["recordings"]


LONG = ["--data", "recordings", "--num-samples", "2", "--epochs", "12", "--stopping", "none", *SMALL]
LONG += ["--checkpoint-seconds", "0", "--set", "sampling.samples_per_epoch=64"]


def wait_for(condition, what: str, seconds: float = 120) -> None:
    for _ in range(int(seconds / 0.05)):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError(f"waited {seconds} s in vain for {what}")


def test_a_killed_driver_goes_on_and_gives_the_same_bits(tmp_path):
    make_folder(tmp_path / "recordings", clips=12)
    whole_code, whole_output = run("launch.py", *LONG, "--runs-dir", "whole/runs", cwd=tmp_path)
    assert whole_code == 0, whole_output

    process = start("launch.py", *LONG, cwd=tmp_path)
    try:
        wait_for(
            lambda: fold_files(tmp_path, "result.json") and len(fold_files(tmp_path, "checkpoint.json")) >= 1,
            "a finished fold and a checkpoint",
        )
        refused, words = run("launch.py", *LONG, cwd=tmp_path)
        assert refused == 2, words
        assert f"process {process.pid}" in words
        assert "--run" in words
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    finished = {f: f.read_bytes() for f in fold_files(tmp_path, "result.json")}
    assert 0 < len(finished) < 4

    code, output = run("launch.py", *LONG, cwd=tmp_path)
    assert code == 0, output
    assert {f: f.read_bytes() for f in finished} == finished
    results = [json.loads(f.read_text()) for f in fold_files(tmp_path, "result.json") if f not in finished]
    assert any(r["resumed_from"] > 0 for r in results)
    for name in ("oof.parquet", "test.parquet", "weights.safetensors"):
        ours, theirs = fold_files(tmp_path, name), fold_files(tmp_path / "whole", name)
        assert [f.parent.name for f in ours] == [f.parent.name for f in theirs]
        assert len(ours) == 4
        for a, b in zip(ours, theirs, strict=True):
            assert a.read_bytes() == b.read_bytes(), f"{a} differs"


def trial_workers(driver: int) -> list[psutil.Process]:
    """Ray workers of a driver that train right now."""
    found = []
    for child in psutil.Process(driver).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            found += [child] * ("ray::" in " ".join(child.cmdline()) and "train" in " ".join(child.cmdline()))
    return found


def test_a_killed_worker_costs_nothing_but_time(tmp_path):
    make_folder(tmp_path / "recordings", clips=12)
    process = start("launch.py", *LONG, cwd=tmp_path)
    try:
        wait_for(lambda: fold_files(tmp_path, "checkpoint.json"), "a checkpoint")
        workers = trial_workers(process.pid)
        assert workers
        workers[0].kill()
        output, _ = process.communicate(timeout=240)
    finally:
        process.kill()
    assert process.returncode == 0, output
    assert len(fold_files(tmp_path, "result.json")) == 4
    assert "its worker died" in output
    assert "Traceback" not in output


def test_ctrl_c_keeps_checkpoints_and_says_how_to_go_on(tmp_path):
    """And meanwhile, with --dashboard: who has the token sees what the workers do, under names that say it."""
    make_folder(tmp_path / "recordings", clips=12)
    process = start("launch.py", *LONG, "--epochs", "400", "--dashboard", cwd=tmp_path)
    watchdog = threading.Timer(150, process.kill)
    watchdog.start()
    try:
        output = ""
        while "Ray's dashboard: " not in output:
            line = process.stdout.readline()
            assert line, output
            output += line
        wait_for(lambda: fold_files(tmp_path, "checkpoint.json"), "a checkpoint")
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
        seen = {(actor["class_name"], actor["repr_name"]) for actor in actors if actor["state"] == "ALIVE"}
        assert ("Trial", "trials of specaug_mixup-recordings") in seen
        process.send_signal(signal.SIGINT)
        output += process.stdout.read()
        process.wait()
    finally:
        watchdog.cancel()
        process.kill()
    assert process.returncode == 130, output
    assert "Interrupted. Kept" in output
    assert "Continue with: python" in output
    assert "Traceback" not in output
    assert not (tmp_path / "runs/specaug_mixup-recordings/lease.json").exists()


WAITING = """
import os, signal, threading, time
from pathlib import Path
import ray
from rich.console import Console
from raytag.search.options import LaunchOptions
from raytag.search.start import start
ray.init("local", num_cpus=2, num_gpus=1, include_dashboard=False, log_to_driver=False)

@ray.remote(num_gpus=1)
class Occupant:
    def here(self):
        return True

occupant = Occupant.remote()
assert ray.get(occupant.here.remote())  # the only GPU is taken: no trial will ever start

def interrupt():
    while not list(Path("runs").glob("*/experiments/*/experiment.json")):
        time.sleep(0.1)
    time.sleep(2)
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=interrupt, daemon=True).start()
small = ("model.base_size=4", "augment.crop_frames=64", "training.batch_size=4")
options = LaunchOptions(data=Path("recordings"), num_samples=2, set=small, gpus_per_trial=1.0)
raise SystemExit(start(options, Console()))
"""


def test_an_interrupt_does_not_wait_for_trials_that_never_started(tmp_path):
    make_folder(tmp_path / "recordings", clips=12)
    done = subprocess.run(
        [sys.executable, "-c", WAITING],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 130, done.stdout + done.stderr
    assert "Continue with" in done.stdout
