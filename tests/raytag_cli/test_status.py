"""raytag status: what a run does and has done, also where files are damaged, without Ray and torch."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time

import pandas as pd
import pytest

from raytag.cli import main
from raytag.store.files import Storage
from raytag.store.lease import Lease
from raytag.store.run import RunStore
from tests.conftest import REPOSITORY
from tests.ensemble.fakes import experiment, make_store

IDS = [experiment(i).id for i in range(5)]


def put(event, **fields):
    return {"event": event, "key": "k", **fields}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Two complete experiments; one dropped, one failed and one begun in its first two folds."""
    store = make_store(tmp_path_factory.mktemp("status"), n_models=2)
    for i in (2, 3, 4):
        store.add(experiment(i))
    events = [
        {"event": "launch", "command": "launch.py --data here"},
        put("race", settings={"stopping": "paired", "keep": 2}, folds=[0, 1, 2, 3], number=8),
        *(put("propose", experiment=e, index=i) for i, e in enumerate(IDS)),
        put("drop", experiment=IDS[2], rung=0, reason="below the bar"),
        put("fail", experiment=IDS[3], fold=1, reason="OSError: disk full", trace=""),
    ]
    lines = "".join(json.dumps({"n": n, "time": f"t{n}", **e}) + "\n" for n, e in enumerate(events))
    store.storage.write("events/001.jsonl", lines.encode())
    curve = pd.DataFrame({"epoch": [1, 2], "lr": 0.1, "train_loss": 1.0, "lwlrap": [0.6, 0.5], "seconds": 1.0})
    for fold, at in ((0, -1e4), (1, 1e4)):
        store.fold(IDS[4], fold).storage.write_csv("curve.csv", curve)
        path = f"{store.storage.root}/experiments/{IDS[4]}/fold_{fold}/curve.csv"
        os.utime(path, (time.time() + at, time.time() + at))
    store.fold(IDS[2], 0).storage.write("checkpoint.safetensors", b"x" * 1000)
    report = {"way": "subset", "ways": {"subset": {"title": "best subset"}}, "members": {IDS[0]: 1, IDS[1]: 1}}
    report |= {"in_sample": 0.8, "nested": 0.7, "search": {"runs": ["fake"]}, "stackers": {}}
    store.storage.write_json("ensembles/ensemble-001/ensemble.json", report)
    return store


@pytest.fixture
def store(whole, tmp_path):
    shutil.copytree(whole.runs_dir, tmp_path / "runs")
    return RunStore(str(tmp_path / "runs"), whole.name)


def status(store, capsys, *options):
    code = main(["status", store.name, "--runs-dir", store.runs_dir, *options])
    return code, capsys.readouterr().out


def as_json(store, capsys, code=0):
    found, out = status(store, capsys, "--json")
    assert found == code, out
    return json.loads(out)


def test_scripts_learn_everything(store, capsys):
    root = store.storage.root
    with Lease(store.storage, "the run", "wait"):
        report = as_json(store, capsys)
        size = sum(os.path.getsize(f"{folder}/{name}") for folder, _, names in os.walk(root) for name in names)
    assert report["lease"]["pid"] == os.getpid()
    assert report["lease"]["alive"]
    assert report["experiments"] == {"total": 5, "complete": 2, "dropped": 1, "failed": 1, "open": 1}
    (search,) = report["searches"]
    assert (search["drawn"], search["number"], search["open_experiments"], search["open_folds"]) == (5, 8, 1, 4)
    assert report["dropped"] == [{"experiment": IDS[2], "reason": "below the bar"}]
    assert report["failed"] == [{"experiment": IDS[3], "reason": "fold 1: OSError: disk full"}]
    (running,), (begun,) = report["running"], report["begun"]  # the other was heard of before this launch
    assert (running["experiment"], running["fold"], running["epoch"], running["epochs"]) == (IDS[4], 1, 2, 700)
    assert (running["lwlrap"], running["best"]) == (0.5, 0.6)
    assert begun["fold"] == 0
    assert [row["experiment"] for row in report["best"]] == sorted(IDS[:2])
    assert report["best"][0]["cv_lwlrap"] == pytest.approx(0.5)
    (ensemble,) = report["ensembles"]
    assert (ensemble["name"], ensemble["members"], ensemble["nested"]) == ("ensemble-001", 2, 0.7)
    disk = report["disk"]
    assert disk["checkpoints"] == 1000
    assert disk["total"] == size == sum(disk[kind] for kind in ("weights", "checkpoints", "predictions", "rest"))
    assert report["damaged"] == []


def test_people_are_told_in_tables(store, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    code, out = status(store, capsys)
    assert code == 0
    for words in (
        "No launch works on it; the last one, of t0, did not say how it ended (killed?). "
        "Continue with: python launch.py --data here",
        "5 of 8 experiments drawn, 1 open with 4 folds to train",
        "5 experiments: 2 complete, 1 dropped, 1 failed, 1 open",
        "Begun, to be continued from a checkpoint (2)",
        "below the bar",
        "fold 1: OSError: disk full",
        "Disk: ",
        "checkpoints 1.0 kB",
    ):
        assert words in out
    with Lease(store.storage, "the run", "wait"):
        _, out = status(store, capsys)
    assert f"A launch works on it: process {os.getpid()} on " in out
    assert "Running (1)" in out


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("run.json", b"{"),
        ("lease.json", b"{}"),
        ("events/001.jsonl", b"{}\n"),
        (f"experiments/{IDS[0]}/fold_1/result.json", b"[]"),
        (f"experiments/{IDS[0]}/fold_1/result.json", b""),
        (f"experiments/{IDS[4]}/experiment.json", b'{"training": 3}'),
        (f"experiments/{IDS[4]}/fold_0/curve.csv", b"epoch,lwlrap\n1,high\n"),
        ("ensembles/ensemble-001/ensemble.json", b"null"),
    ],
)
def test_a_damaged_file_is_named_and_the_rest_is_shown(store, capsys, name, content):
    store.storage.write(name, content)
    report = as_json(store, capsys, code=1)
    assert len(report["damaged"]) == 1
    folder = name.rpartition("/")[0] or name
    assert folder in report["damaged"][0]
    assert IDS[1] in [row["experiment"] for row in report["best"]]
    assert report["disk"]["total"] > 0


def test_another_run_is_refused_and_a_wrong_watch_too(store, capsys):
    for options, words in (
        (["other"], "no run 'other'"),
        ([store.name, "--watch", "0"], "--watch 0: give seconds"),
    ):
        with pytest.raises(SystemExit, match="2"):
            main(["status", *options, "--runs-dir", store.runs_dir])
        assert words in capsys.readouterr().err


def test_watching_looks_again_until_ctrl_c(store, capsys, monkeypatch):
    naps = iter([None, KeyboardInterrupt])

    def sleep(seconds):
        assert seconds == 0.5
        if (error := next(naps)) is not None:
            raise error
        Storage(store.storage.root).delete(f"experiments/{IDS[0]}/fold_1/result.json")

    monkeypatch.setattr("raytag.cli.status.time.sleep", sleep)
    code, out = status(store, capsys, "--watch", "0.5", "--json")
    assert code == 0
    first, second = map(json.loads, out.splitlines())
    assert (first["experiments"]["complete"], second["experiments"]["complete"]) == (2, 1)


def test_neither_ray_nor_torch_is_waited_for(store):
    program = (
        "import sys\nfrom raytag.cli import main\n"
        f"assert main(['status', '--runs-dir', {store.runs_dir!r}]) == 0\n"
        "print(sorted({'ray', 'torch', 'numba', 'scipy', 'sklearn'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=REPOSITORY
    )
    assert done.stdout.endswith("[]\n")
