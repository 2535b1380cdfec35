"""What a launch finds lost or damaged in a run it makes again where that is certain; else it refuses."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from raytag.errors import DamagedError
from raytag.experiment import Experiment
from raytag.store.run import RunStore, StoreError
from tests.store.test_run import finish, make_table

CONTENTS = {f"audio/{i}.wav": f"xxh3-{i}" for i in range(12)}
NONE = pd.DataFrame({"clip": [], "reason": []})
MENDED = ["run.json", "clips.parquet", "contents.parquet", "quarantine.csv"]


@pytest.fixture
def work(tmp_path):
    """A run with a finished fold and a checkpoint, and its folder of runs."""
    store = launch(tmp_path)
    store.add(Experiment())
    finish(store, Experiment().id, 0)
    curve = pd.DataFrame({"epoch": [1]})
    store.fold(Experiment().id, 1).write_checkpoint({"w": torch.ones(1)}, {"epoch": 1, "step": 0}, curve)
    return tmp_path


def launch(work, contents=CONTENTS, **changes) -> RunStore:
    """What a launch does with the store before it trains."""
    store = RunStore.open_for(str(work / "runs"), "r", make_table(work, **changes), "data")
    assert store.set_contents(contents) == ""
    store.set_quarantine(NONE)
    return store


def spoil(work, name, how):
    path = work / "runs" / "r" / name
    if how == "gone":
        path.unlink()
    else:
        data = path.read_bytes()
        path.write_bytes(data[:-5] if how == "cut" else data[:20] + bytes([data[20] ^ 1]) + data[21:])


def test_an_undisturbed_run_needs_no_mending(work):
    assert launch(work).take_mended() == []


@pytest.mark.parametrize("how", ["gone", "cut", "flip"])
@pytest.mark.parametrize("name", MENDED)
def test_a_lost_or_damaged_file_is_made_again_and_named(work, name, how):
    whole = (work / "runs" / "r" / name).read_bytes()
    if name == "quarantine.csv" and how != "gone":
        how = "cut"
    spoil(work, name, how)
    (words,) = launch(work).take_mended()
    assert name in words
    assert "written anew" in words
    assert launch(work).take_mended() == []
    if name != "run.json":  # which has the time of its making
        assert (work / "runs" / "r" / name).read_bytes() == whole
    assert RunStore(str(work / "runs"), "r").finished_folds(Experiment().id) == [0]


@pytest.mark.parametrize("lost", [["run.json"], ["run.json", "clips.parquet"], ["run.json", "contents.parquet"]])
@pytest.mark.parametrize("change", [{"labels": "a"}, {"folds": 4}, {"classes": ("a", "c")}])
def test_folds_never_pass_under_other_labels_or_folds(work, lost, change):
    for name in lost:
        spoil(work, name, "gone")
    with pytest.raises(StoreError, match=r"run.json is gone, and .* has other labels, folds or classes.*--run"):
        launch(work, **change)
    assert not (work / "runs" / "r" / "run.json").exists()
    assert launch(work).finished_folds(Experiment().id) == [0]  # of the right data they still count


@pytest.mark.parametrize("lost", [["contents.parquet"], ["contents.parquet", "run.json"], MENDED])
def test_folds_never_pass_with_other_recordings(work, lost):
    for name in lost:
        spoil(work, name, "gone")
    with pytest.raises(StoreError, match=r"contents.parquet is gone, and .* knows other recordings.*--run"):
        launch(work, {**CONTENTS, "audio/3.wav": "replaced"})
    assert launch(work).finished_folds(Experiment().id) == [0]


def test_a_run_of_which_nothing_tells_its_data_is_refused(work):
    for name in ("run.json", "clips.parquet"):
        spoil(work, name, "gone")
    folds = work / "runs" / "r" / "experiments" / Experiment().id
    (folds / "fold_0" / "result.json").unlink()
    (folds / "fold_1" / "checkpoint-0.json").unlink()
    with pytest.raises(StoreError, match="nothing tells of what data it was"):
        launch(work)


def test_damage_is_named_where_nothing_may_be_mended(work):
    for name in MENDED[1:]:
        spoil(work, name, "cut")
    store = RunStore(str(work / "runs"), "r")
    for read, name in zip((store.clips, store.contents, store.quarantine), MENDED[1:], strict=True):
        with pytest.raises(DamagedError, match=name.replace(".", r"\.")):
            read()
    spoil(work, "run.json", "cut")
    with pytest.raises(DamagedError, match=r"run\.json is damaged.*the launch that made the run writes it anew"):
        RunStore(str(work / "runs"), "r")


def test_a_damaged_experiment_is_written_again_when_it_is_proposed(work):
    name = f"experiments/{Experiment().id}/experiment.json"
    whole = (work / "runs" / "r" / name).read_bytes()
    for how in ("gone", "cut", "flip"):
        spoil(work, name, how)
        store = launch(work)
        store.add(Experiment())
        (words,) = store.take_mended()
        assert name in words
        assert (work / "runs" / "r" / name).read_bytes() == whole
        store.add(Experiment())
        assert store.take_mended() == []


def test_a_run_of_before_is_read_and_gets_what_it_lacks(work):
    store = RunStore(str(work / "runs"), "r")
    del store.run["files"], store.run["contents"]
    store.storage.write("run.json", str(store.run).replace("'", '"').replace("None", "null").encode())
    assert launch(work).take_mended() == []
    run = RunStore(str(work / "runs"), "r").run
    assert sorted(run["files"]) == sorted(MENDED[1:])
    assert run["contents"] is not None
    assert np.array_equal(store.clips()["fold"], np.arange(12) % 3)
