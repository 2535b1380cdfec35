"""Stages by the command line: kill -9 between them, races by stage, and what is leaky stays out of ensembles."""

from __future__ import annotations

import json
import signal
import time

import pandas as pd
import pytest

from raytag.search.race.replay import check
from raytag.store.events import read_events
from raytag.store.files import Storage
from raytag.store.run import RunStore
from tests.cli import call, run, start
from tests.recordings import make_folder

SPACE = """
from raytag.experiment import Experiment, Init, Input, Model, Optimizer, Pseudo, Sampling, Schedule, Training
SMALL = {
    "input": Input("LogMelImages", crop_frames=32),
    "schedule": Schedule("OneCycle"),
    "optimizer": Optimizer("Adam", lr=3e-3),
    "training": Training(epochs=EPOCHS, batch_size=4, early_stopping=None, keep_epoch="last"),
}
def first(dropout):
    return Experiment(name="first", model=Model("AuxSkipAttention", base_size=4, dropout=dropout), **SMALL)
def second(parent, reader="same_fold", name="second"):
    noisy, pseudo = Sampling(noisy_prob=0.3), Pseudo("Top", parent=parent, reader=reader)
    init = Init("ParentWeights", parent=parent)
    return Experiment(name=name, model=parent.model, init=init, pseudo=pseudo, sampling=noisy, **SMALL)
PARENTS = [first(d) for d in (0.1, 0.2, 0.3, 0.4)]
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("data") / "recordings", folds=3)


def write(folder, experiments, epochs=2):
    (folder / "stages.py").write_text(SPACE.replace("EPOCHS", str(epochs)) + f"EXPERIMENTS = {experiments}\n")


def test_stages_are_trained_in_order_and_what_is_leaky_stays_out(ray_session, data, tmp_path):
    write(tmp_path, "[second(PARENTS[0]), second(PARENTS[0], 'oof', 'published')]")
    launch = ["--space", "stages.py", "--data", data, "--run", "r"]
    code, said = call("launch.py", *launch, cwd=tmp_path)
    assert code == 0, said
    assert "2 stages (stage 1: 1 experiment (first-" in said
    assert said.index("stage 1: first-") < said.index("stage 2: second-")
    board = pd.read_csv(tmp_path / "runs" / "r" / "leaderboard.csv").set_index("experiment")
    parent, child, published = (next(e for e in board.index if e.startswith(n)) for n in ("first", "sec", "pub"))
    assert board["stage"].to_dict() == {parent: 1, child: 2, published: 2}
    assert board["leaky"].to_dict() == {parent: False, child: False, published: True}
    assert board.index[-1] == published
    costs = board["seconds"]
    assert board.loc[child, "total_seconds"] == pytest.approx(costs[child] + costs[parent], abs=0.11)
    assert board.loc[parent, "total_seconds"] == costs[parent]
    store = RunStore(str(tmp_path / "runs"), "r")
    lineage = store.fold(child, 2).result()["lineage"]
    assert list(lineage["read"]) == [f"{parent}/fold_2"]
    assert lineage["pseudo"]["kept"] == 3
    code, said = call("ensemble_search.py", "--run", "r", "--stackers", "0", cwd=tmp_path)
    assert code == 0, said
    assert f"1 leaky experiment ({published})" in said
    assert "2 models" in said
    code, said = call("ensemble_search.py", "--run", "r", "--stackers", "0", "--leaky", cwd=tmp_path)
    assert code == 0, said
    assert "3 models" in said
    code, said = call("launch.py", *launch, "--dry-run", cwd=tmp_path)
    assert code == 0, said
    assert "9 trials (3 of earlier stages)" in said
    assert f"after {parent}" in said


@pytest.mark.long
def test_a_launch_that_is_killed_between_stages_goes_on_and_stages_race_by_themselves(data, tmp_path):
    write(tmp_path, "PARENTS + [second(p) for p in PARENTS]", epochs=4)
    launch = ["--space", "stages.py", "--data", data, "--run", "r", "--keep", "1", "--stopping", "paired"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
        write(folder, "PARENTS + [second(p) for p in PARENTS]", epochs=4)
    process = start("launch.py", *launch, cwd=killed)
    storage = Storage(str(killed / "runs" / "r"))
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline:
        events = read_events(storage) if storage.exists("run.json") else []
        finished = {e["experiment"].split("-")[0] for e in events if e["event"] == "fold"}
        if finished:  # a first fold of a parent, and none of a child
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert finished == {"first"}
    code, said = run("launch.py", *launch, cwd=killed)
    assert code == 0, said
    events = read_events(storage)
    folds = [(e["experiment"], e["fold"]) for e in events if e["event"] == "fold"]
    assert len(set(folds)) == len(folds)
    assert {e["stage"] for e in events if e["event"] == "propose"} == {"1", "2"}
    key = next(e["key"] for e in events if e["event"] == "race")
    decisions, wrong = check(events, key)
    assert wrong == []
    store = RunStore(str(killed / "runs"), "r")
    for name in ("first", "second"):
        assert any(e.startswith(name) for e in store.complete())
    assert all(f"stage {k}: " in said for k in (1, 2))
    assert all(decision["experiment"] in said for decision in decisions)
    # each child's fold began when its parent's was finished
    order = {(e["experiment"], e["fold"]): e["n"] for e in events if e["event"] == "fold"}
    for experiment, fold in folds:
        for parent in store.experiment(experiment).parents:
            assert order[parent.id, fold] < order[experiment, fold]
    assert json.loads((killed / "runs" / "r" / "run.json").read_text())["name"] == "r"
