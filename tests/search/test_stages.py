"""Stages: what an experiment learns from is trained before it, fold by fold, and stages race by themselves."""

from __future__ import annotations

import pytest

from raytag import space
from raytag.search.leaderboard import leaderboard
from raytag.search.race.replay import check
from raytag.store.events import read_events
from raytag.train.stages.lineage import Cell
from tests.search.drives import make_driver, make_store, quality, run

HEAD = """
from raytag.experiment import Experiment, Init, Model, Pseudo, Sampling, Schedule, Training
from raytag.space import uniform
def first(dropout=0.4, name="first", **more):
    more |= {"model": Model(dropout=dropout), "schedule": Schedule("OneCycle")}
    return Experiment(name=name, training=Training(epochs=8, keep_epoch="last", early_stopping=None), **more)
def second(dropout=0.3, parent=first(), **more):
    return first(dropout, "second", init=Init("ParentWeights", parent=parent), **more)
def third(dropout, parent=first(), reader="same_fold"):
    pseudo = Pseudo("Top", parent=parent, reader=reader)
    return first(dropout, "third", sampling=Sampling(noisy_prob=0.5), pseudo=pseudo)
"""


@pytest.fixture
def store(tmp_path):
    return make_store(tmp_path)


def load(tmp_path, text):
    path = tmp_path / "stages.py"
    path.write_text(HEAD + text)
    return space.load(str(path))


def names(done):
    return [(experiment.rpartition("-")[0], cell) for experiment, cell in done]


def fail(driver, trial_id, reason="ValueError: it does not train"):
    driver.on_end(trial_id, "failed", {}, reason)


def test_a_fold_starts_when_what_it_learns_from_is_finished(store, tmp_path):
    chosen = load(tmp_path, "EXPERIMENTS = [second()]")
    done = names(run(make_driver(store, chosen, number=1), store))
    assert done == [(name, k) for k in range(3) for name in ("first", "second")]
    assert len(store.complete()) == 2
    assert run(make_driver(store, chosen, number=1), store) == []


def test_while_parents_train_those_of_other_folds_go_ahead(store, tmp_path):
    driver = make_driver(store, load(tmp_path, "EXPERIMENTS = [second()]"), number=1)
    started = [driver.next_trial(f"t{i}") for i in range(4)]
    assert [(t.experiment.name, t.fold) for t in started[:3]] == [("first", 0), ("first", 1), ("first", 2)]
    assert started[3] is None  # all that can be trained is under way


@pytest.mark.parametrize("killed_after", [1, 3, 4])
def test_a_launch_that_was_killed_between_the_stages_goes_on(store, tmp_path, killed_after):
    chosen = load(tmp_path, "EXPERIMENTS = [third(0.2, second(), 'cross_fit')]")
    before = run(make_driver(store, chosen, number=1), store, steps=killed_after)
    after = run(make_driver(store, chosen, number=1), store)
    assert len(before) == killed_after
    assert not set(before) & set(after)
    whole = make_store(tmp_path / "whole")
    assert before + after == run(make_driver(whole, chosen, number=1), whole)


def test_cross_fit_trains_the_inner_models_of_the_whole_ancestry_once(store, tmp_path):
    chosen = load(tmp_path, "EXPERIMENTS = [third(0.2, second(), 'cross_fit')]")
    done = names(run(make_driver(store, chosen, number=1), store))
    pairs = [Cell(0, (1,)), Cell(0, (2,)), Cell(1, (2,))]
    assert sorted(done, key=str) == sorted(
        [(name, pair) for name in ("first", "second") for pair in pairs] + [("third", k) for k in range(3)], key=str
    )
    events = [e for e in read_events(store.storage) if e["event"] == "inner"]
    assert len(events) == 6
    assert len(store.complete()) == 1  # an inner model is no fold of its experiment


def test_the_leaderboard_knows_the_stage_of_what_has_no_fold_yet(store, tmp_path):
    chosen = load(tmp_path, "EXPERIMENTS = [third(0.2, second(), 'cross_fit'), third(0.1, second(), 'oof')]")
    driver = make_driver(store, chosen, number=2)
    for i in range(12):
        driver.next_trial(f"t{i}")
    board = leaderboard(store)
    stages = {(e.partition("-")[0], k, leaky) for e, k, leaky in board[["experiment", "stage", "leaky"]].to_numpy()}
    assert stages == {("first", 1, False), ("second", 2, False), ("third", 3, False), ("third", 3, True)}


@pytest.mark.parametrize("stopping", ["none", "paired", "exact"])
def test_a_fold_of_a_parent_that_fails_stops_that_fold_of_its_child_alone(store, tmp_path, stopping):
    chosen = load(tmp_path, "EXPERIMENTS = [second(d) for d in (0.1, 0.2, 0.3, 0.4)]")
    said, done = [], []
    driver = make_driver(store, chosen, number=4, keep=2, stopping=stopping, said=said)
    while True:
        trial = driver.next_trial(trial_id := f"t{len(driver.trials)}")
        if trial is None:
            break
        if (trial.experiment.name, trial.fold) == ("first", 1):
            fail(driver, trial_id)
            continue
        done += [(trial.experiment.id, trial.fold)]
        result = {"lwlrap": quality(trial.experiment), "labels": 2, "epochs": 8, "seconds": 8.0}
        finish(store, trial, result)
        driver.on_end(trial_id, "finished", result)
    children = {e for e, _ in done if e.startswith("second")}
    assert len(children) == 4
    assert not [fold for e, fold in done if e in children and fold == 1]
    stay = [e for e in children if driver.race.entries[e].open]
    assert len(stay) >= 2
    assert all((e, 2) in done for e in stay)  # fold 2 waits for nobody
    assert all("learns from first-" in driver.failed[e] and "fold 1" in driver.failed[e] for e in stay)
    assert any("fold 1 is left out of this launch" in words for words in said)
    again = make_driver(store, chosen, number=4, keep=2, stopping=stopping)
    rest = names(run(again, store))
    assert rest[0] == ("first", 1)
    assert ("second", 1) in rest
    assert not again.failed


def finish(store, trial, result):
    import pandas as pd
    import torch

    from tests.search.drives import predictions

    store.model(trial.experiment.id, trial.cell.folder).finish(
        weights={"w": torch.ones(1)},
        oof=predictions(store, trial.fold, 0.5),
        test=None,
        curve=pd.DataFrame(),
        result=result,
    )


PARENTS = "PARENTS = [first(d) for d in (0.1, 0.2, 0.3, 0.4, 0.45, 0.48)]\n"


def drops(events):
    return [(e["experiment"], e["fold"], e["rung"], e["bar"]) for e in events if e["event"] == "drop"]


@pytest.mark.parametrize("stopping", ["paired", "asha", "exact"])
def test_stages_race_by_themselves_and_the_log_explains_it(store, tmp_path, stopping):
    both = load(tmp_path, PARENTS + "EXPERIMENTS = PARENTS + [second(p.model.dropout, p) for p in PARENTS]")

    def better(experiment, fold):
        return quality(experiment) - 0.4 * (experiment.stage == 1) + 0.01 * fold

    driver = make_driver(store, both, number=12, keep=2, stopping=stopping)
    run(driver, store, value=better)
    events = read_events(store.storage)
    assert {e["stage"] for e in events if e["event"] == "propose"} == {"1", "2"}
    assert check(events, driver.key)[1] == []
    alone, other = load(tmp_path, PARENTS + "EXPERIMENTS = PARENTS"), make_store(tmp_path / "alone")
    run(make_driver(other, alone, number=6, keep=2, stopping=stopping), other, value=better)
    first = [drop for drop in drops(events) if drop[0].startswith("first")]
    # bars of asha are those of the moment a rung is reached, and children come between
    assert {d[0] for d in first} == {d[0] for d in drops(read_events(other.storage))}
    if stopping != "exact":
        assert first
        assert any(drop[0].startswith("second") for drop in drops(events))
    for name in ("first", "second"):
        assert sum(e.startswith(name) for e in store.complete()) >= 2


def test_a_parent_that_is_dropped_is_trained_on_for_its_children(store, tmp_path):
    text = PARENTS + "EXPERIMENTS = PARENTS + [second(0.1, PARENTS[5]), second(0.15, PARENTS[5])]"
    driver = make_driver(store, load(tmp_path, text), number=8, keep=2)
    run(driver, store)
    worst = next(e for e in driver.race.entries if e.startswith("first") and quality(driver.experiments[e]) < 0.43)
    assert driver.race.entries[worst].dropped
    assert worst in store.complete()  # what its children learned from
    assert all(e in store.complete() for e in driver.race.entries if e.startswith("second"))


def test_a_parent_that_nothing_needs_any_more_is_stopped(store, tmp_path):
    driver = make_driver(store, load(tmp_path, "EXPERIMENTS = [second()]"), number=1)
    trial = driver.next_trial("t0")
    assert trial.experiment.name == "first"
    result = {"epoch": 1, "seconds": 1.0, "lwlrap": 0.5, "best": 0.5, "resumed_from": 0}
    assert not driver.on_epoch("t0", result)
    driver.race.entries[next(iter(driver.experiments))].dropped = True
    assert driver.on_epoch("t0", result | {"epoch": 2})
    assert "learns from it" in driver.trials["t0"].reason


@pytest.mark.parametrize("damaged", ["result.json", "weights.safetensors"])
def test_a_fold_of_a_parent_that_is_lost_is_trained_again_where_a_child_needs_it(store, tmp_path, damaged):
    chosen = load(tmp_path, "EXPERIMENTS = [second()]")
    run(make_driver(store, chosen, number=1), store, steps=4)  # folds 0 and 1 of both
    parent = next(e for e in store.experiments() if e.startswith("first"))
    for fold in (0, 1):
        storage = store.fold(parent, fold).storage
        storage.write(damaged, bytes(byte ^ 1 for byte in storage.read(damaged)))
    child = next(e for e in store.experiments() if e.startswith("second"))
    store.fold(child, 1).storage.delete("result.json")
    said = []
    again = make_driver(store, chosen, number=1, said=said)
    assert names(run(again, store)) == [("first", 1), ("second", 1), ("first", 2), ("second", 2)]
    assert any(words.startswith(f"{parent} fold 1 is lost, and trained again: ") for words in said)


def test_what_is_left_counts_what_is_learned_from(store, tmp_path):
    driver = make_driver(store, load(tmp_path, "EXPERIMENTS = [second(0.3), second(0.2)]"), number=2)
    started = [driver.next_trial(f"t{i}").experiment.name for i in range(2)]
    assert started == ["first", "first"]  # the first child waits; another is not proposed before there is room
    assert len(driver.experiments) == 1
    assert driver.open_epochs() == 8 * (3 + 3)
    started = [driver.next_trial(f"t{i}").experiment.name for i in range(2, 3)]
    assert driver.next_trial("t3") is None
    assert len(driver.experiments) == 2
    assert driver.open_epochs() == 8 * (3 + 3 + 3)  # they share a parent
    result = {"epoch": 4, "seconds": 4.0, "lwlrap": 0.5, "best": 0.5, "resumed_from": 0}
    driver.on_epoch("t0", result)
    assert driver.open_epochs() == 8 * 9 - 4
