"""The run store and its event log: finished work is kept, and once."""

from __future__ import annotations

import os
import time

import numpy as np
import pandas as pd
import pytest

from raytag.datasets.table import ClipTable
from raytag.experiment import Experiment
from raytag.store.events import EventLog, launch_command, read_events
from raytag.store.files import Storage, check_name
from raytag.store.run import RunStore, StoreError, list_runs
from raytag.train.sources import split


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
    assert EventLog(storage).damage == []


def test_damaged_lines_of_the_log_are_left_out_and_named(tmp_path, runs_dir):
    storage = Storage(runs_dir).sub("r")
    log = EventLog(storage)
    for n in range(4):
        log.append("fold", lwlrap=0.25 * n)
    whole = storage.read("events/001.jsonl")
    lines = whole.splitlines(keepends=True)
    end = len(lines[0]) + len(lines[1]) - 1  # a bit of any byte of the second line, its end excepted
    for position in range(len(lines[0]), end, 3):
        flipped = bytearray(whole)
        flipped[position] ^= 1 << position % 8
        storage.write("events/001.jsonl", bytes(flipped))
        again = EventLog(storage)
        told = [(e["n"], e["lwlrap"]) for e in again.past]
        assert told == [(0, 0.0), (2, 0.5), (3, 0.75)] or told == [(n, 0.25 * n) for n in range(4)], position
        assert len(told) == 4 or "001.jsonl line 2 is damaged" in again.damage[0]
    storage.write("events/001.jsonl", lines[0] + b"".join(lines[2:]))
    assert "line 2: events 1 to 1 are missing before it" in EventLog(storage).damage[0]
    assert [e["n"] for e in read_events(storage)] == [0, 2, 3]


def test_events_of_before_there_were_checksums_are_read(tmp_path):
    storage = Storage(tmp_path)
    storage.write("events/001.jsonl", b'{"n": 0, "time": "t", "event": "launch", "command": "launch.py -x"}\n')
    assert EventLog(storage).past == [{"n": 0, "time": "t", "event": "launch", "command": "launch.py -x"}]


def test_the_command_of_an_experiment_is_that_of_its_own_search():
    events = [
        {"event": "launch", "command": "launch.py --space a"},
        {"event": "race", "key": "a"},
        {"event": "propose", "key": "a", "experiment": "one"},
        {"event": "launch", "command": "launch.py --space b"},
        {"event": "race", "key": "b"},
        {"event": "propose", "key": "b", "experiment": "two"},
    ]
    assert launch_command(events, "r", "one") == "python launch.py --space a"
    assert launch_command(events, "r", "two") == launch_command(events, "r") == "python launch.py --space b"
    assert "launch.py --run r" in launch_command(events, "r", "three")


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


@pytest.fixture
def corrected(tmp_path) -> Experiment:
    path = tmp_path / "corrections.json"
    path.write_text('{"0.wav": "remove"}')
    return Experiment().replace({"sampling.curated_corrections": str(path)})


def test_corrections_are_taken_into_the_run(tmp_path, runs_dir, corrected):
    """Whoever edits the file makes another experiment, and moves no fold of this one."""
    store = RunStore.open_for(runs_dir, "r", make_table(tmp_path), "data")
    store.add(corrected)
    (tmp_path / "corrections.json").write_text('{"1.wav": "remove"}')
    found = RunStore(runs_dir, "r").experiment(corrected.id)
    assert found.id == corrected.id
    assert found.sampling.curated_corrections.text == '{"0.wav": "remove"}'
    edited = Experiment().replace({"sampling.curated_corrections": str(tmp_path / "corrections.json")})
    assert edited.hash != corrected.hash
    (tmp_path / "corrections.json").unlink()
    assert split(make_table(tmp_path), found.sampling, 0).validation.tolist() == [3, 6, 9]


@pytest.mark.parametrize("how", ["gone", "damaged"])
def test_lost_corrections_are_written_anew_by_who_knows_them_and_else_named(tmp_path, runs_dir, corrected, how):
    store = RunStore.open_for(runs_dir, "r", make_table(tmp_path), "data")
    store.add(corrected)
    name = f"experiments/{corrected.id}/curated_corrections.json"
    assert store.storage.exists(name)
    if how == "gone":
        store.storage.delete(name)
    else:
        store.storage.write(name, b'{"0.wav": "a"}')
    found = store.experiment(corrected.id)
    assert found.id == corrected.id
    with pytest.raises(ValueError, match=r"lost its copy of the corrections .*corrections\.json"):
        split(make_table(tmp_path), found.sampling, 0)
    store.add(found)  # it has no text to give
    assert store.take_mended() == []
    store.add(corrected)
    assert [words.endswith(f"{name} is {how}: written anew") for words in store.take_mended()] == [True]
    assert store.experiment(corrected.id).sampling.curated_corrections.text == '{"0.wav": "remove"}'


def test_a_run_of_format_1_is_read_and_takes_nothing_new(tmp_path, runs_dir):
    store = RunStore.open_for(runs_dir, "r", make_table(tmp_path), "data")
    run = store.storage.read_json("run.json")
    store.storage.write_json("run.json", {**run, "format": 1})
    assert RunStore(runs_dir, "r").n_folds == 3
    with pytest.raises(StoreError, match=r"named by what differs from the defaults.* another --run name"):
        RunStore.open_for(runs_dir, "r", make_table(tmp_path), "data")
    store.storage.write_json("run.json", {**run, "format": 3})
    with pytest.raises(StoreError, match="has format 3, this raytag reads 2"):
        RunStore(runs_dir, "r")
