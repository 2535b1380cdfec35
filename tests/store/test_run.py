"""The run store, its event log and its lease: finished work is kept, once, and by one driver."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from raytag.datasets.table import ClipTable
from raytag.experiment import Experiment
from raytag.store import lease as lease_module
from raytag.store.events import EventLog, read_events
from raytag.store.files import Storage, check_name
from raytag.store.lease import Lease, LeaseError
from raytag.store.run import RunStore, StoreError, list_runs


def make_table(tmp_path, n=12, classes=("a", "b"), folds=3, **columns) -> ClipTable:
    clips = pd.DataFrame(
        {
            "clip": [f"audio/{i}.wav" for i in range(n)],
            "fname": [f"{i}.wav" for i in range(n)],
            "path": [str(tmp_path / f"audio/{i}.wav") for i in range(n)],
            "labels": [classes[i % len(classes)] for i in range(n)],
            "subset": "curated",
            "fold": np.arange(n) % folds,
            "group": "",
            "duration": 1.0,
            "rate": 44100,
        }
    ).assign(**columns)
    return ClipTable(clips, tuple(classes), None, tmp_path, "test")


def finish(store, experiment_id, fold):
    import torch

    oof = pd.DataFrame({"fname": ["0.wav"], "a": np.float32([0.1]), "b": np.float32([0.9])})
    store.fold(experiment_id, fold).finish(
        weights={"w": torch.ones(2)}, oof=oof, test=None, curve=pd.DataFrame(), result={"lwlrap": 0.5, "labels": 4}
    )


@pytest.fixture(params=["path", "uri"])
def runs_dir(request, tmp_path):
    return str(tmp_path / "runs") if request.param == "path" else f"file://{tmp_path}/runs"


def test_a_fold_is_finished_with_its_result_and_complete_with_all(tmp_path, runs_dir):
    store = RunStore.open_for(runs_dir, "r", make_table(tmp_path), "data")
    e = Experiment()
    store.add(e)
    assert store.experiment(e.id) == e
    finish(store, e.id, 0)
    finish(store, e.id, 2)
    assert store.finished_folds(e.id) == [0, 2]
    assert store.complete() == []
    finish(store, e.id, 1)
    assert store.complete() == [e.id]
    assert store.fold(e.id, 1).oof()["b"].dtype == np.float32
    assert store.fold(e.id, 1).test() is None


def test_a_finished_fold_is_never_written_again(tmp_path):
    store = RunStore.open_for(str(tmp_path / "runs"), "r", make_table(tmp_path), "data")
    finish(store, "e-1", 0)
    fold = store.fold("e-1", 0)
    before = fold.storage.read("result.json")
    fold.finish(weights={}, oof=pd.DataFrame(), test=None, curve=pd.DataFrame(), result={"lwlrap": 0.9})
    assert fold.storage.read("result.json") == before


def test_checkpoints_alternate_so_that_a_kill_leaves_a_whole_pair(tmp_path):
    import torch

    store = RunStore.open_for(str(tmp_path / "runs"), "r", make_table(tmp_path), "data")
    fold = store.fold("e-1", 0)
    assert fold.checkpoint() is None
    fold.write_checkpoint({"w": torch.full((3,), 1.0)}, {"epoch": 1}, pd.DataFrame({"epoch": [1]}))
    # a kill between the tensors and the JSON of the second checkpoint
    fold.storage.write("checkpoint-b.safetensors", b"half of a fi")
    tensors, state = fold.checkpoint()
    assert (tensors["w"].tolist(), state) == ([1.0, 1.0, 1.0], {"epoch": 1})
    for epoch in (2, 3):
        fold.write_checkpoint({"w": torch.full((3,), float(epoch))}, {"epoch": epoch}, pd.DataFrame({"epoch": [1]}))
        tensors, state = fold.checkpoint()
        assert (tensors["w"][0].item(), state["epoch"]) == (epoch, epoch)
    finish(store, "e-1", 0)
    assert not [f for f in fold.storage.files() if "checkpoint" in f]


def test_the_last_checkpoint_may_stay_once(tmp_path):
    import torch

    store = RunStore.open_for(str(tmp_path / "runs"), "r", make_table(tmp_path), "data")
    fold = store.fold("e-1", 0)
    for epoch in (1, 2):
        fold.write_checkpoint({"w": torch.full((3,), float(epoch))}, {"epoch": epoch}, pd.DataFrame({"epoch": [1]}))
    fold.finish(
        weights={"w": torch.ones(2)},
        oof=pd.DataFrame(),
        test=None,
        curve=None,
        result={"lwlrap": 0.5},
        keep_checkpoint=True,
    )
    tensors, state = fold.checkpoint()[:2]
    assert (tensors["w"][0].item(), state["epoch"]) == (2.0, 2)
    assert len([name for name in fold.storage.files() if name.startswith("checkpoint")]) == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"n": 13}, "1 clips are new (first audio/12.wav)"),
        ({"n": 11}, "1 clips are missing now (first audio/11.wav)"),
        ({"classes": ("a", "c")}, "now without b and with c"),
        ({"folds": 4}, "3 folds there, 4 now"),
        ({"labels": "a"}, "labels of 6 clips differs (first audio/1.wav"),
    ],
)
def test_other_data_are_refused_and_the_difference_named(tmp_path, change, words):
    runs = str(tmp_path / "runs")
    RunStore.open_for(runs, "r", make_table(tmp_path), "data")
    assert RunStore.open_for(runs, "r", make_table(tmp_path), "data").n_folds == 3
    with pytest.raises(StoreError) as error:
        RunStore.open_for(runs, "r", make_table(tmp_path, **change), "data")
    assert words in str(error.value)
    assert "--run" in str(error.value)


def test_other_unusable_clips_are_refused(tmp_path):
    store = RunStore.open_for(str(tmp_path / "runs"), "r", make_table(tmp_path), "data")
    bad = pd.DataFrame({"clip": ["audio/3.wav"], "reason": ["empty"]})
    store.set_quarantine(bad)
    store.set_quarantine(bad)
    with pytest.raises(StoreError, match=r"usable now: audio/3\.wav"):
        store.set_quarantine(bad.head(0))


def test_runs_are_listed_and_the_newest_is_the_last_launched(tmp_path, runs_dir):
    with pytest.raises(StoreError, match=r"no run in .*launch\.py"):
        RunStore.newest(runs_dir)
    table = make_table(tmp_path)
    for name in ("one", "two"):
        RunStore.open_for(runs_dir, name, table, "data")
        time.sleep(0.02)
    assert list_runs(runs_dir) == ["one", "two"]
    assert RunStore.newest(runs_dir).name == "two"
    RunStore.open_for(runs_dir, "one", table, "data")
    assert RunStore.newest(runs_dir).name == "one"
    with pytest.raises(StoreError, match="there are: one, two"):
        RunStore(runs_dir, "three")


def test_events_are_numbered_over_launches_and_survive_a_cut_line(tmp_path, runs_dir):
    storage = Storage(runs_dir).sub("r")
    first = EventLog(storage)
    first.append("launch", seed=0)
    first.append("drop", experiment="e")
    second = EventLog(storage)
    assert [e["event"] for e in second.past] == ["launch", "drop"]
    second.append("launch", seed=1)
    assert [e["n"] for e in read_events(storage)] == [0, 1, 2]
    whole = storage.read("events/002.jsonl")
    storage.write("events/002.jsonl", whole + b'{"n": 3, "eve')
    assert [e["n"] for e in read_events(storage)] == [0, 1, 2]
    storage.write("events/002.jsonl", b'{"n": 3, "eve\n' + whole)
    with pytest.raises(ValueError, match=r"002\.jsonl line 1"):
        read_events(storage)


def test_a_second_driver_is_refused_with_the_owners_name(tmp_path):
    storage = Storage(tmp_path / "r")
    with Lease(storage, "r"):
        with pytest.raises(LeaseError, match=f"process {os.getpid()} on ") as error, Lease(storage, "r"):
            pass
        assert "--run" in str(error.value)
    with Lease(storage, "r"):
        pass


def test_the_lease_of_a_killed_driver_is_free_at_once(tmp_path):
    code = (
        "import sys, time; from raytag.store.lease import Lease; from raytag.store.files import Storage\n"
        f"with Lease(Storage({str(tmp_path / 'r')!r}), 'r'): print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        with pytest.raises(LeaseError), Lease(Storage(tmp_path / "r"), "r"):
            pass
        process.kill()
        process.wait()
    with Lease(Storage(tmp_path / "r"), "r"):
        pass


def test_a_silent_owner_on_another_host_loses_the_lease_after_a_while(tmp_path):
    storage = Storage(tmp_path / "r")
    other = {"id": "x", "host": "elsewhere", "pid": 1, "process_started": 0.0, "since": 0.0}
    storage.write_json("lease.json", {**other, "beat": time.time()})
    with pytest.raises(LeaseError, match="on elsewhere"), Lease(storage, "r"):
        pass
    storage.write_json("lease.json", {**other, "beat": time.time() - lease_module.STALE_SECONDS - 1})
    with Lease(storage, "r"):
        pass


def test_the_owner_notices_that_it_lost_the_lease(tmp_path, monkeypatch):
    monkeypatch.setattr(lease_module, "HEARTBEAT_SECONDS", 0.02)
    storage, lost = Storage(tmp_path / "r"), []
    with Lease(storage, "r") as lease:
        lease.on_lost = lambda: lost.append(True)
        beat = storage.read_json("lease.json")
        storage.write_json("lease.json", {**beat, "id": "someone else"})
        for _ in range(100):
            if lost:
                break
            time.sleep(0.02)
            storage.write_json("lease.json", {**beat, "id": "someone else"})
    assert lost
    assert storage.read_json("lease.json")["id"] == "someone else"


def test_a_run_is_found_by_name_path_or_as_the_newest(tmp_path, monkeypatch):
    runs = tmp_path / "runs"
    for name in ("a", "b"):
        Storage(runs / name).write_json("run.json", {"format": 1})
    os.utime(runs / "a" / "run.json", (2e9, 2e9))
    monkeypatch.chdir(runs / "b")
    for run in ("b", ".", "../b", "../b/", str(runs / "b"), (runs / "b").as_uri()):
        assert RunStore.find(run, str(runs)).name == "b"
    assert RunStore.find(None, str(runs)).name == "a"
    monkeypatch.chdir(runs)
    assert RunStore.find("b", "elsewhere").storage.root == str(runs / "b")  # a folder here, no name there
    Storage(tmp_path / "others" / "b").write_json("run.json", {"format": 1})
    assert RunStore.find("b", str(tmp_path / "others")).runs_dir == str(tmp_path / "others")
    with pytest.raises(StoreError, match=f"no run 'c' in {runs}; there are: a, b"):
        RunStore.find("c", str(runs))


def test_a_replaced_recording_is_refused_and_named(tmp_path):
    contents = {f"audio/{i}.wav": f"xxh3-{i}" for i in range(3)}
    store = RunStore.open_for(str(tmp_path), "r", make_table(tmp_path), "here")
    assert store.set_contents(contents) == ""
    assert store.set_contents(contents) == ""
    with pytest.raises(
        StoreError, match=r"'r' was made with other recordings: 1 were replaced \(audio/2.wav\).*--run"
    ):
        store.set_contents({**contents, "audio/2.wav": "xxh3-other"})
    assert store.contents() == contents


def test_an_old_run_without_contents_is_told_and_compared_from_then_on(tmp_path):
    store = RunStore.open_for(str(tmp_path), "r", make_table(tmp_path), "here")
    store.add(Experiment())
    assert "from before recordings were compared" in store.set_contents({"audio/0.wav": "a"})
    assert store.set_contents({"audio/0.wav": "a"}) == ""
    with pytest.raises(StoreError):
        store.set_contents({"audio/0.wav": "b"})


@pytest.mark.parametrize(
    "name", ["../x", "a/b", "a\\b", "/tmp/x", ".", "..", ".hidden", "", " x", "s3://b/x", "a?b"]
)
def test_names_that_are_no_folder_here_are_refused(name):
    with pytest.raises(ValueError, match=r"--run .*the name of a folder cannot"):
        check_name("--run", name)
    for good in ("run", "my run 2", "Läufe-1.2_a"):
        check_name("--run", good)
