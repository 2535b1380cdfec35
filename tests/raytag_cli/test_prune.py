"""raytag prune: weights and checkpoints that no ensemble needs go, and nothing else changes."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
import time

import numpy as np
import pandas as pd
import pytest
import torch

from raytag.cli import main
from raytag.cli.prune import prunable
from raytag.ensemble.predictions.oof import load_oof
from raytag.errors import DamagedError
from raytag.search.leaderboard import leaderboard
from raytag.store.files import Storage
from raytag.store.lease import Lease
from raytag.store.run import RunStore
from tests.ensemble.fakes import experiment, finish, make_store

IDS = [experiment(i).id for i in range(6)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Four complete experiments, the first of which are the best; one dropped, one open after a fold each."""
    store = make_store(tmp_path_factory.mktemp("prune"), n_models=4)
    fnames, values = [f"{k:03d}.wav" for k in range(55)], np.full((55, 5), 0.5, np.float32)
    for i in (4, 5):
        store.add(experiment(i))
        finish(store, experiment(i), 0, np.arange(0, 48, 4), np.arange(48, 55), fnames, values)
    for i, e in enumerate(IDS):
        for k in store.finished_folds(e):
            fold = store.fold(e, k)
            result = {**fold.result(), "lwlrap": 0.9 - 0.1 * i, "epochs": 4, "seconds": 1.0}
            fold.storage.write_json("result.json", result)
    curve = store.fold(IDS[0], 0).curve()
    for i, k in ((3, 2), (4, 0), (4, 1), (5, 0), (5, 1)):  # fold 1 of the last two is not finished
        store.fold(IDS[i], k).write_checkpoint({"w": torch.ones(9)}, {"epoch": 1}, curve)
    events = [{"event": "race", "settings": {}, "folds": [0, 1, 2, 3], "number": 6}]
    events += [{"event": "propose", "experiment": e, "index": i} for i, e in enumerate(IDS)]
    events.append({"event": "drop", "experiment": IDS[4], "rung": 0, "reason": "weak"})
    lines = [json.dumps({"n": n, "time": "", "key": "k", **event}) for n, event in enumerate(events)]
    store.storage.write("events/001.jsonl", ("\n".join(lines) + "\n").encode())
    return store


@pytest.fixture
def store(whole, tmp_path):
    shutil.copytree(whole.runs_dir, tmp_path / "runs")
    return RunStore(str(tmp_path / "runs"), whole.name)


def add_ensemble(store, members, name="ensemble-001", runs=("fake",), stackers=()):
    report = {"search": {"runs": list(runs)}, "members": dict.fromkeys(members, 1), "stackers": {}}
    for stacker, read in stackers:
        report["stackers"]["0"] = [stacker]
        folder = f"ensembles/{name}/stackers/{stacker}/fold_0"
        store.storage.write_json(f"{folder}/result.json", {"members": list(read)})
        store.storage.write(f"{folder}/weights.safetensors", b"of a stacker")
    store.storage.write_json(f"ensembles/{name}/ensemble.json", report)


def prune(store, *options):
    return main(["prune", store.name, "--runs-dir", store.runs_dir, *options])


def with_weights(store):
    """How many folds of each experiment have weights."""
    found = {e: sum(store.fold(e, k).storage.exists("weights.safetensors") for k in range(4)) for e in IDS}
    return [found[e] for e in IDS]


def checkpoints(store):
    return sorted(
        (IDS.index(e), k)
        for e in IDS
        for k in range(4)
        if any(name.startswith("checkpoint") for name in store.fold(e, k).storage.files())
    )


def others(store):
    """The content of every file that is neither weights nor a checkpoint nor what prune itself notes."""
    found = {}
    for folder, _, names in os.walk(store.storage.root):
        for name in names:
            if not name.startswith(("weights", "checkpoint", "pruned")):
                with open(os.path.join(folder, name), "rb") as file:
                    found[os.path.join(folder, name)] = file.read()
    return found


def test_what_no_ensemble_needs_goes_and_nothing_else_changes(store, capsys):
    add_ensemble(store, [IDS[2]])
    board, oof, before = leaderboard(store), load_oof(store), others(store)
    assert checkpoints(store) == [(3, 2), (4, 0), (4, 1), (5, 0), (5, 1)]
    assert prune(store, "--yes", "--keep-best", "1") == 0
    out = capsys.readouterr().out
    assert IDS[1] in out
    assert "freed" in out
    # the best and the member keep theirs, and so does the one that is still to be trained
    assert with_weights(store) == [4, 0, 4, 0, 0, 1]
    assert checkpoints(store) == [(5, 0), (5, 1)]
    assert others(store) == before
    pd.testing.assert_frame_equal(leaderboard(store), board)
    np.testing.assert_array_equal(load_oof(store).probabilities, oof.probabilities)
    assert store.complete() == sorted(IDS[:4])
    assert prune(store, "--yes", "--keep-best", "1") == 0
    assert "nothing to prune" in capsys.readouterr().out


def test_windows_go_with_the_weights_that_made_them(store):
    add_ensemble(store, [IDS[2]])
    frame = pd.DataFrame({"fname": ["000.wav"], "start_s": [0.0], "end_s": [4.0], "bark": np.float32([0.5])})
    for e in (IDS[1], IDS[2]):
        store.fold(e, 0).keep_windows(frame)
    assert prune(store, "--yes", "--keep-best", "1") == 0
    gone, kept = (store.fold(e, 0) for e in (IDS[1], IDS[2]))
    assert gone.windows() is None
    assert not [name for name in gone.storage.files() if name.startswith("windows")]
    assert gone.pruned() == ["weights.safetensors"]
    assert kept.windows() is not None


def test_pruned_weights_are_asked_for_in_vain_and_told_why(store):
    assert prune(store, "--yes", "--keep-best", "0") == 0
    fold = store.fold(IDS[0], 1)
    assert fold.pruned() == ["weights.safetensors"]
    assert fold.finished
    with pytest.raises(DamagedError, match=r"fold_1/weights\.safetensors was freed by raytag prune"):
        fold.weights()
    oof = fold.oof()
    fold.storage.delete("result.json")  # trained again, it has weights again
    fold.finish(weights={"w": torch.ones(1)}, oof=oof, test=None, curve=None, result={"lwlrap": 0.5})
    assert fold.pruned() == []
    assert fold.weights()


def test_weights_that_an_open_experiment_learns_from_stay(store):
    """``IDS[5]`` is still to be trained, and begins with the weights of ``IDS[3]``."""
    assert any("weights" in file.name and IDS[3] in file.name for file in prunable(store, 0))
    events = store.storage.read("events/001.jsonl").decode().splitlines()
    lines = [json.loads(line) for line in events]
    for line in lines:
        if line["event"] == "propose" and line["experiment"] == IDS[5]:
            line["ancestors"] = [IDS[3]]
    store.storage.write("events/001.jsonl", ("\n".join(map(json.dumps, lines)) + "\n").encode())
    assert not any(IDS[3] in file.name for file in prunable(store, 0))


def test_the_note_is_there_before_the_weights_go(store, monkeypatch):
    """A kill between the two leaves a fold that is still whole."""
    seen, delete = [], Storage.delete

    def die(storage, name):
        if name == "lease.json":
            return delete(storage, name)
        seen.append((name, storage.exists("pruned.json")))
        raise KeyboardInterrupt

    monkeypatch.setattr("raytag.store.files.Storage.delete", die)
    with pytest.raises(SystemExit, match="130"):
        prune(store, "--yes", "--keep-best", "0")
    assert seen[0] == ("weights.safetensors", True)
    monkeypatch.undo()
    assert prune(store, "--yes", "--keep-best", "0") == 0
    assert with_weights(store) == [0, 0, 0, 0, 0, 1]


def test_models_below_stackers_and_in_ensembles_of_joined_runs_are_members(store, tmp_path):
    other = make_store(tmp_path, n_models=1, name="other")
    add_ensemble(store, [], stackers=[("mlp-1", [IDS[3]])])
    add_ensemble(other, [f"fake/{IDS[1]}", f"other/{IDS[2]}"], runs=("other", "fake"))
    assert prune(store, "--yes", "--keep-best", "0") == 0
    assert with_weights(store) == [0, 4, 0, 4, 0, 1]
    assert store.storage.exists("ensembles/ensemble-001/stackers/mlp-1/fold_0/weights.safetensors")
    assert other.fold(IDS[0], 0).weights()


@pytest.mark.parametrize(("answer", "gone"), [("y\n", True), ("\n", False), ("no\n", False), ("", False)])
def test_it_asks_first(store, capsys, monkeypatch, answer, gone):
    monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
    before = with_weights(store)
    assert prune(store, "--keep-best", "0") == 0
    assert (with_weights(store) != before) == gone
    out, err = capsys.readouterr()
    assert err.startswith("Delete ")
    assert ("Nothing was deleted" in out) == (not gone)
    assert ("--yes deletes without asking" in err) == (answer == "")


def test_while_a_launch_works_on_the_run_nothing_goes(store, capsys):
    before = with_weights(store)
    with Lease(store.storage, "the run", "wait"), pytest.raises(SystemExit, match="2"):
        prune(store, "--yes", "--keep-best", "0")
    assert f"process {os.getpid()} on " in capsys.readouterr().err
    assert with_weights(store) == before


def test_an_ensemble_that_cannot_be_read_ends_it(store, capsys):
    store.storage.write("ensembles/ensemble-001/ensemble.json", b"{")
    before = with_weights(store)
    with pytest.raises(SystemExit, match="2"):
        prune(store, "--yes")
    assert "ensembles/ensemble-001 is damaged" in capsys.readouterr().err
    assert with_weights(store) == before


def test_files_of_killed_writers_go_once_they_are_old(store):
    fold = store.fold(IDS[5], 1).storage
    for name, age in ((".oof.parquet.0a.tmp", 7200), (".oof.parquet.0b.tmp", 60)):
        fold.write(name, b"half a file")
        os.utime(f"{fold.root}/{name}", (time.time() - age,) * 2)
    assert prune(store, "--yes") == 0
    left = [name for name in os.listdir(fold.root) if name.endswith(".tmp")]
    assert left == [".oof.parquet.0b.tmp"]


def test_a_run_is_named_and_numbers_make_sense(store, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["prune"])
    with pytest.raises(SystemExit, match="2"):
        prune(store, "--keep-best", "-1")
    assert "--keep-best -1: must be 0 or more" in capsys.readouterr().err


def test_old_runs_without_a_log_are_pruned_by_what_is_complete(store):
    store.storage.delete("events/001.jsonl")
    assert prune(store, "--yes", "--keep-best", "2") == 0
    assert with_weights(RunStore(store.runs_dir, store.name)) == [4, 4, 0, 0, 1, 1]
