"""A run grows: more epochs, more values, more samples and more recordings cost only what is new."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from raytag.store.run import RunStore
from tests.cli import SMALL, call
from tests.recordings import make_folder, sound, write_wav

pytestmark = pytest.mark.long

SPACE = """
from raytag.experiment import Experiment, Model, Sampling
from raytag.space import choice
BASE = Experiment(model=Model(dropout=0.1), sampling=Sampling(samples_per_epoch=16))
VARY = {{"model.dropout": choice({values})}}
"""


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> Path:
    return make_folder(tmp_path_factory.mktemp("enlarging") / "recordings")


def launch(work, recordings, *options, values=(0.1, 0.2), run="run"):
    """What a launch in ``work`` said; its run."""
    (work / "space.py").write_text(SPACE.format(values=list(values)))
    cache = ["--cache-dir", recordings.parent / "cache", "--run", run, "--stopping", "none"]
    code, output = call(
        "launch.py", "--space", "space.py", "--data", recordings, *cache, *SMALL, *options, cwd=work
    )
    assert code == 0, output
    return output, RunStore(str(work / "runs"), run)


def folds(store):
    """The folds of a run by experiment and number."""
    return {(e, k): store.fold(e, k) for e in store.experiments() for k in range(store.n_folds)}


def when_written(store):
    return {
        (*cell, name): fold.storage.modified(name)
        for cell, fold in folds(store).items()
        for name in fold.storage.files()
    }


def test_a_widened_space_and_more_samples_train_only_what_is_new(tmp_path, recordings, ray_session):
    grid = ["--search", "grid", "--num-samples", "9", "--epochs", "1"]
    _, store = launch(tmp_path, recordings, *grid)
    before = when_written(store)
    assert len(store.complete()) == 2
    _, store = launch(tmp_path, recordings, *grid, values=(0.1, 0.2, 0.3))
    after = when_written(store)
    assert len(store.complete()) == 3
    assert before.items() <= after.items()
    _, store = launch(tmp_path, recordings, "--num-samples", "1", "--epochs", "1")
    _, store = launch(tmp_path, recordings, "--num-samples", "2", "--epochs", "1")
    assert after.items() <= when_written(store).items()


def test_more_epochs_go_on_from_the_shorter_twin(tmp_path, recordings, ray_session):
    one = ["--num-samples", "1"]
    output, _ = launch(tmp_path, recordings, *one, "--epochs", "1")
    assert "Last checkpoints of finished folds, from which trainings of more --epochs go on: " in output
    _, store = launch(tmp_path, recordings, *one, "--epochs", "2")
    _, fresh = launch(tmp_path, recordings, *one, "--epochs", "2", run="fresh")
    (longer,) = fresh.experiments()
    (shorter,) = {*store.experiments()} - {longer}
    for fold in range(2):
        ours, theirs = store.fold(longer, fold), fresh.fold(longer, fold)
        for name in ("oof.parquet", "test.parquet", "weights.safetensors"):
            assert ours.storage.read(name) == theirs.storage.read(name)
        assert (ours.result()["resumed_from"], ours.result()["continued_from"]) == (1, shorter)
        assert theirs.result()["continued_from"] is None


def test_further_recordings_are_a_new_run_that_computes_only_theirs(tmp_path, ray_session):
    recordings = make_folder(tmp_path / "recordings")
    short = ["--num-samples", "1", "--epochs", "1", "--only-folds", "0"]
    output, _ = launch(tmp_path, recordings, *short)
    assert "features: 0 clips cached, 34 to compute" in output
    table, rng = recordings / "train_curated.csv", np.random.default_rng(1)
    for i, label in enumerate(("clicks", "noise", "tone")):
        write_wav(recordings / "train_curated" / f"new{i}.wav", sound(label, rng))
        table.write_text(table.read_text() + f"new{i}.wav,{label},{i % 2}\n")
    options = ["--cache-dir", recordings.parent / "cache", "--run", "run", *SMALL, *short]
    code, output = call("launch.py", "--space", "space.py", "--data", recordings, *options, cwd=tmp_path)
    assert code == 2
    assert "3 clips are new (first train_curated/new0.wav). Use another --run name" in output
    output, store = launch(tmp_path, recordings, *short, run="more")
    assert "features: 34 clips cached, 3 to compute" in output
    assert "features: 3 clips computed" in output
    log = store.storage.read("log.txt").decode()
    assert "features: 3 clips computed" in log
    events = [json.loads(line) for line in store.storage.read("events/001.jsonl").splitlines()]
    assert [e["event"] for e in events if e["event"] == "fold"] == ["fold"]
