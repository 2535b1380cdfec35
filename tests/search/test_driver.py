"""The driver: proposals, folds and facts, replayed from the log, without Ray Tune."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from raytag import space
from raytag.datasets.table import ClipTable
from raytag.errors import NoRoomError
from raytag.search import searchers
from raytag.search.budget import Budget
from raytag.search.race.replay import check
from raytag.space import choice
from raytag.store.events import read_events
from raytag.store.files import Storage
from raytag.store.run import RunStore
from tests.search.drives import Listening, make_driver, make_store, predictions, quality, run

SPACE = """
from raytag.experiment import Experiment, Training
from raytag.space import uniform
BASE = Experiment(training=Training(epochs=8))
VARY = {"model.dropout": uniform(0.0, 0.5)}
"""


@pytest.fixture
def chosen(tmp_path):
    path = tmp_path / "small.py"
    path.write_text(SPACE)
    return space.load(str(path))


@pytest.fixture
def store(tmp_path):
    return make_store(tmp_path)


def test_first_folds_come_first_and_survivors_complete(store, chosen):
    driver = make_driver(store, chosen)
    done = run(driver, store)
    assert [fold for _, fold in done[:6]] == [0] * 6
    for experiment_id in driver.experiments:
        own = [fold for e, fold in done if e == experiment_id]
        assert own == sorted(own)
    dropped = {e.id for e in driver.race.entries.values() if e.dropped}
    assert dropped
    assert len(store.complete()) == 6 - len(dropped) >= 2
    best = max(driver.experiments.values(), key=quality)
    assert best.id in store.complete()
    assert done[6][0] == best.id  # the best goes on first
    assert not {e for e, fold in done[6:]} & dropped


def test_a_second_launch_of_the_same_command_does_nothing(store, chosen):
    run(make_driver(store, chosen), store)
    again = make_driver(store, chosen)
    assert run(again, store) == []
    assert again.race.entries.keys() == set(store.experiments())


@pytest.mark.parametrize("search", ["random", "grid", "hyperopt"])
@pytest.mark.parametrize("killed_after", [1, 4, 8])
def test_a_killed_launch_continues_to_the_same_end(tmp_path, store, chosen, search, killed_after):
    whole_store = RunStore.open_for(
        str(tmp_path / "other"),
        "r",
        ClipTable(store.clips().assign(path="x"), ("a", "b"), None, tmp_path, "t"),
        "d",
    )
    whole = run(make_driver(whole_store, chosen, search=search), whole_store)
    before = run(make_driver(store, chosen, search=search), store, steps=killed_after)
    after = run(make_driver(store, chosen, search=search), store)
    assert before + after == whole
    assert store.complete() == whole_store.complete()


def test_a_larger_number_adds_to_the_run(store, chosen):
    run(make_driver(store, chosen, number=3), store)
    first = store.experiments()
    done = run(make_driver(store, chosen, number=5), store)
    assert len(store.experiments()) == 5
    assert set(first) < set(store.experiments())
    assert not {e for e, fold in done if fold == 0} & set(first)


def test_a_widened_space_trains_only_what_is_new(store, chosen):
    few = space.Space.of("few", "few.py", chosen.first, {"model.dropout": choice([0.1, 0.2])})
    before = run(make_driver(store, few, search="grid", stopping="none"), store)
    more = space.Space.of("few", "few.py", chosen.first, {"model.dropout": choice([0.1, 0.2, 0.3])})
    after = run(make_driver(store, more, search="grid", stopping="none"), store)
    assert len(before) == 3 * 3  # the base and two values on three folds
    assert [fold for _, fold in after] == [0, 1, 2]
    assert len(store.complete()) == 4


def test_a_smaller_number_leaves_the_others_alone(store, chosen):
    run(make_driver(store, chosen, number=5), store, steps=2)
    driver = make_driver(store, chosen, number=2)
    run(driver, store)
    assert len(driver.experiments) == 2
    assert len(store.complete()) == 2


@pytest.mark.parametrize("change", [{"stopping": "none"}, {"keep": 6}])
def test_other_rules_open_dropped_experiments_again(store, chosen, change):
    run(make_driver(store, chosen), store)
    run(make_driver(store, chosen, **change), store)
    assert len(store.complete()) == 6
    events = read_events(store.storage)
    dropped = {e["experiment"] for e in events if e["event"] == "drop"}
    assert dropped
    assert {e["experiment"] for e in events if e["event"] == "reopen"} == dropped


@pytest.mark.parametrize("stopping", ["none", "asha", "exact", "paired"])
@pytest.mark.parametrize("kills", [(), (1,), (3, 2, 4)])
def test_the_log_explains_every_decision(store, chosen, stopping, kills):
    """Also when the launch was killed several times: decisions follow from facts, not from a process."""
    for steps in kills:
        run(make_driver(store, chosen, stopping=stopping, number=8), store, steps=steps)
    driver = make_driver(store, chosen, stopping=stopping, number=8)
    run(driver, store)
    decisions, wrong = check(read_events(store.storage), driver.key)
    assert wrong == []
    assert bool(decisions) == (stopping != "none")
    assert len(store.complete()) == 8 - len(decisions)


def test_a_decision_that_a_kill_swallowed_is_taken_by_the_next_launch(store, chosen):
    driver = make_driver(store, chosen)
    append, stopped = driver.log.append, []

    def die_before_a_drop(event, **fields):
        if event == "drop":
            raise KeyboardInterrupt
        return append(event, **fields)

    driver.log.append = die_before_a_drop
    with pytest.raises(KeyboardInterrupt):
        run(driver, store)
    again = make_driver(store, chosen)
    drops = [e for e in read_events(store.storage) if e["event"] == "drop"]
    assert len(drops) == 1
    assert again.race.entries[drops[0]["experiment"]].dropped
    stopped += run(again, store)
    assert drops[0]["experiment"] not in {e for e, _ in stopped}
    assert check(read_events(store.storage), again.key)[1] == []


def test_a_finished_fold_that_the_log_missed_is_found(store, chosen):
    import torch

    driver = make_driver(store, chosen, stopping="none", number=1)
    trial = driver.next_trial("x")
    store.fold(trial.experiment.id, trial.fold).finish(
        weights={"w": torch.ones(1)},
        oof=predictions(store, trial.fold, 0.5),
        test=None,
        curve=pd.DataFrame(),
        result={"lwlrap": 0.5, "labels": 2, "epochs": 8, "seconds": 8.0},
    )  # and the driver is killed before it hears of it
    again = make_driver(store, chosen, stopping="none", number=1)
    assert again.race.entries[trial.experiment.id].folds == {trial.fold: 0.5}
    assert (trial.experiment.id, trial.fold) not in run(again, store)
    assert check(read_events(store.storage), again.key)[1] == []


def test_the_searcher_hears_one_fold_corrected_value_an_experiment(store, chosen):
    driver = make_driver(store, chosen, search="hyperopt")
    run(driver, store)
    estimates = driver.race.state.estimates()
    assert len(driver.told) == 6  # dropped ones too
    for experiment_id in store.complete():
        entry = driver.race.entries[experiment_id]
        assert driver.told[entry.index] == pytest.approx(estimates[experiment_id])
        assert estimates[experiment_id] == pytest.approx(quality(driver.experiments[experiment_id]))
    assert make_driver(store, chosen, search="hyperopt").told == driver.told


def test_an_easy_first_fold_does_not_favour_the_dropped(store, chosen):
    """What was told when only the first fold was known is corrected before more is proposed."""

    def easy_first(experiment, fold):
        return quality(experiment) + 0.08 * (fold == 0)

    run(make_driver(store, chosen, search="hyperopt"), store, value=easy_first)
    more = make_driver(store, chosen, search="hyperopt", number=8)
    run(more, store, value=easy_first)
    offset = 0.08 / 3  # of the mean over folds
    first = [e for e in more.race.entries.values() if e.index < 6]
    assert any(e.dropped for e in first)
    for entry in first:
        assert more.told[entry.index] == pytest.approx(quality(more.experiments[entry.id]) + offset, abs=2e-3)


def test_a_time_budget_ends_where_every_training_is_one_epoch(store, chosen):
    """No epoch follows a first one, which otherwise is not counted."""
    clock = [0.0]
    budget = Budget(20.0, lambda: 1, prior=1.0, now=lambda: clock[0])
    driver = make_driver(store, chosen.fix({"training.epochs": 1}), number=None, stopping="none", budget=budget)

    def tick():
        assert len(driver.trials) < 100
        clock[0] += 1.0

    run(driver, store, tick=tick)
    assert len(driver.experiments) == 6  # of three folds and seconds each


def test_a_search_ends_when_the_space_has_no_more(store, chosen, monkeypatch):
    monkeypatch.setattr("raytag.search.driver.REPEATS", 7)
    few = space.Space.of("few", "few.py", chosen.first, {"model.dropout": choice([0.1, 0.2])})
    driver = make_driver(store, few, number=None, stopping="none", budget=Budget(1e9, lambda: 1, prior=1.0))
    driver.listener = Listening(said := [])
    assert len(run(driver, store)) == 9  # the base and two values, three folds each
    assert said == ["7 proposals in a row were made before: no more are made"]


def test_a_time_budget_stops_proposing_in_time_for_the_survivors(store, chosen):
    """A trial takes 8 seconds of a clock that only training moves."""
    clock = [0.0]
    budget = Budget(200.0, lambda: 1, prior=1.0, now=lambda: clock[0])
    driver = make_driver(store, chosen, number=None, budget=budget)

    def tick():
        clock[0] += 1.0

    run(driver, store, tick=tick)
    assert 160.0 < clock[0] <= 200.0
    open_folds = [e.id for e in driver.race.active if e.open and len(e.folds) < 3]
    assert open_folds == []
    assert driver.proposed > 200 / (3 * 8)  # more than complete experiments fit: some were dropped


def test_a_search_without_an_end_is_refused(store, chosen):
    with pytest.raises(ValueError, match="time budget"):
        make_driver(store, chosen, number=None)


def test_a_failed_trial_stops_its_experiment_and_is_tried_again(store, chosen):
    driver = make_driver(store, chosen, number=2)
    trial = driver.next_trial("x")
    driver.on_end("x", "failed", {}, "FloatingPointError: diverged")
    run(driver, store)
    assert trial.experiment.id in driver.failed
    assert trial.experiment.id not in store.complete()
    again = make_driver(store, chosen, number=2)
    run(again, store)
    assert trial.experiment.id in store.complete()


def test_an_interrupted_driver_starts_nothing(store, chosen):
    driver = make_driver(store, chosen)
    driver.next_trial("x")
    driver.interrupt()
    assert driver.next_trial("y") is None
    driver.on_end("x", "interrupted", {})
    assert run(make_driver(store, chosen), store)


def test_tpe_learns_from_what_it_is_told(tmp_path, store, chosen):
    """With low dropout best, TPE's late proposals lie lower than a random search's on average."""

    def late(search):
        found = []
        for seed in range(6):
            s = searchers.build(search, chosen, seed, 40)
            for i in range(40):
                e = s.propose(i)
                s.tell(i, quality(e))
                found += [e.model.dropout] * (i >= 20)
        return np.mean(found)

    assert late("hyperopt") < 0.85 * late("random")


def test_what_a_searcher_needs(tmp_path):
    path = tmp_path / "fixed.py"
    path.write_text("from raytag.experiment import Experiment\nEXPERIMENTS = [Experiment()]")
    fixed = space.load(str(path))
    with pytest.raises(ValueError, match="nothing varies that --search hyperopt could choose"):
        searchers.build("hyperopt", fixed, 0, 3)
    with pytest.raises(ValueError, match="random, grid, hyperopt"):
        searchers.build("best", fixed, 0, 3)


def spoil(store, experiment_id, fold, name, how):
    path = Path(store.fold(experiment_id, fold).storage.root) / name
    if how == "folder":
        shutil.rmtree(path)
    elif how == "gone":
        path.unlink()
    else:
        data = path.read_bytes()
        path.write_bytes(data[:-9] if how == "cut" else data[:9] + bytes([data[9] ^ 1]) + data[10:])


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("result.json", "gone"),
        ("result.json", "cut"),
        ("oof.parquet", "gone"),
        ("oof.parquet", "flip"),
        ("weights.safetensors", "gone"),
        ("weights.safetensors", "cut"),
        ("", "folder"),
    ],
)
def test_a_finished_fold_that_is_lost_or_damaged_is_trained_again(store, chosen, name, how):
    first = make_driver(store, chosen, number=4, keep=1)
    weak = chosen.first.id  # best in its first fold, worst in the second
    run(first, store, value=lambda e, fold: 0.3 if (e.id, fold) == (weak, 1) else quality(e) + 0.1 * (e.id == weak))
    complete = store.complete()
    assert first.race.entries[weak].dropped
    lost = [(complete[0], 1), (complete[0], 2), (weak, 0)]
    for experiment_id, fold in lost:
        spoil(store, experiment_id, fold, name, how)
    said = []
    again = make_driver(store, chosen, number=4, keep=1, said=said)
    told = [line for line in said if "is lost, and open again" in line]
    assert [f"{e} fold {k}" in " ".join(told) for e, k in lost] == [True] * 3
    assert [e["event"] for e in read_events(store.storage) if e["event"] == "lost"] == ["lost"] * 3
    assert sorted(run(again, store)) == lost[:2]  # a dropped experiment stays dropped
    assert store.complete() == complete
    assert check(read_events(store.storage), again.key)[1] == []
    quiet = []
    assert run(make_driver(store, chosen, number=4, keep=1, said=quiet), store) == []
    assert quiet == []


def test_an_experiment_that_lost_a_fold_is_not_dropped_where_it_had_passed(store, chosen):
    """Complete in an easy race, it would fail the bar that later experiments set."""
    run(make_driver(store, chosen, number=1), store)
    (weak,) = store.complete()
    run(make_driver(store, chosen, number=6, keep=1), store)
    assert weak in store.complete()
    spoil(store, weak, 1, "result.json", "gone")
    spoil(store, weak, 2, "result.json", "gone")
    assert sorted(run(make_driver(store, chosen, number=6, keep=1), store)) == [(weak, 1), (weak, 2)]


def damaged_log(store, lost):
    """Flip a bit of every line of the log that ``lost`` names."""
    for name in store.storage.files("events"):
        lines = store.storage.read(f"events/{name}").splitlines()
        for i, line in enumerate(lines):
            if lost(json.loads(line)):
                lines[i] = line[:30] + bytes([line[30] ^ 1]) + line[31:]
        store.storage.write(f"events/{name}", b"\n".join(lines) + b"\n")


@pytest.mark.parametrize("search", ["random", "hyperopt"])
@pytest.mark.parametrize("what", ["propose", "rung", "fold", "drop", "tell", "race", "all"])
def test_nothing_is_trained_again_whatever_line_of_the_log_is_damaged(store, chosen, what, search):
    first = make_driver(store, chosen, search=search)
    run(first, store)
    complete, experiments = store.complete(), set(first.experiments)
    damaged_log(store, lambda event: event["event"] == what or what == "all")
    again = make_driver(store, chosen, search=search)
    assert again.log.damage
    done = run(again, store)
    assert not {e for e, _ in done} & set(complete)
    assert set(complete) <= set(store.complete())
    if what not in ("propose", "all"):
        assert set(again.experiments) == experiments
        assert what in ("drop", "race") or done == []


def test_proposals_whose_lines_are_damaged_are_found_again(store, chosen):
    for search in ("random", "hyperopt"):
        first = make_driver(store, chosen, search=search)
        run(first, store)
        damaged_log(store, lambda event: event["event"] == "propose" and event["index"] in (2, 4))
        again = make_driver(store, chosen, search=search)
        assert {e.id: e.index for e in again.race.entries.values()} == {
            e.id: e.index for e in first.race.entries.values()
        }
        assert run(again, store) == []
        once_more = make_driver(store, chosen, search=search)
        proposed = [e["index"] for e in once_more.log.past if e["event"] == "propose" and e["key"] == again.key]
        assert sorted(proposed) == list(range(6))


def test_an_experiment_whose_file_is_gone_is_taken_from_the_log(store, chosen):
    first = make_driver(store, chosen)
    run(first, store)
    for experiment_id in first.experiments:
        store.storage.delete(f"experiments/{experiment_id}/experiment.json")
    said = []
    again = make_driver(store, chosen, said=said)
    assert again.experiments == first.experiments
    assert len([line for line in said if "experiment.json is gone: written anew" in line]) == 6
    assert {e: store.experiment(e) for e in first.experiments} == first.experiments


def test_a_full_disk_stops_the_search_and_the_same_command_continues(store, chosen, monkeypatch):
    driver = make_driver(store, chosen, number=2, stopping="none", said=(said := []))
    run(driver, store, steps=2)
    driver.next_trial("x")

    def full(storage, name, line):
        raise NoRoomError(28, "/runs has no room")

    with monkeypatch.context() as patch:
        patch.setattr(Storage, "append", full)
        driver.on_end("x", "failed", {}, "NoRoomError: /runs has no room")
        driver.end()
    assert driver.full == "/runs has no room"
    assert [line for line in said if "/runs has no room" in line] == ["Nothing more is started: /runs has no room"]
    assert driver.next_trial("y") is None
    again = make_driver(store, chosen, number=2, stopping="none")
    assert len(run(again, store)) == 4
    assert len(store.complete()) == 2


def test_a_trial_that_waits_for_room_says_so_once(store, chosen):
    driver = make_driver(store, chosen, number=1, stopping="none", said=(said := []))
    driver.next_trial("x")
    driver.on_start("x")
    for free in (20, 10):
        assert driver.on_wait("x", f"/runs has no room: {free} are free") is False
    epoch = {"epoch": 1, "epochs": 3, "seconds": 1.0, "lwlrap": 0.5, "best": 0.5, "resumed_from": 0}
    driver.on_epoch("x", epoch)
    driver.on_wait("x", "/runs has no room: 5 are free")
    assert [line.partition("no room: ")[2] for line in said if "waits" in line] == ["20 are free", "5 are free"]
    driver.interrupt()
    assert driver.on_wait("x", "/runs has no room") is True
