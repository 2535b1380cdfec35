"""Racing: who goes on is a function of what was reported, and of nothing else."""

from __future__ import annotations

import random

import pytest

from raytag.search.racing import RUNGS, Race


def first_folds(order, curves, stopping="asha", keep=3):
    """Run the first fold of every experiment one after another; the race and the epochs each one got."""
    race, spent = Race([0, 1, 2], stopping, keep), {}
    for e in order:
        race.add(e, "one_cycle", len(curves[e]))
        best = -1.0
        for epoch, value in enumerate(curves[e], 1):
            best = max(best, value)
            spent[e] = epoch
            decision = race.report(e, 0, epoch, best)
            if decision is not None and decision.stop:
                race.drop(e)
                break
        else:
            race.finish(e, 0, curves[e][-1])
    return race, spent


def flat_curves(n, epochs=8):
    return {f"e{i:02d}": [i / n] * epochs for i in range(n)}


@pytest.mark.parametrize("keep", [1, 3, 5])
@pytest.mark.parametrize("seed", range(5))
def test_the_best_always_survive_whatever_the_order(keep, seed):
    curves = flat_curves(16)
    order = list(curves)
    random.Random(seed).shuffle(order)
    race, _ = first_folds(order, curves, keep=keep)
    alive = [e.id for e in race.entries.values() if not e.dropped]
    assert len(alive) >= keep
    assert set(sorted(curves)[-keep:]) <= set(alive)


def test_weak_experiments_stop_at_the_first_rung():
    curves = flat_curves(12)
    race, spent = first_folds(sorted(curves, reverse=True), curves, keep=3)
    dropped = [e.id for e in race.entries.values() if e.dropped]
    assert len(dropped) >= 5
    assert {spent[e] for e in dropped} <= {2, 4}  # a quarter and a half of 8 epochs
    assert sum(spent.values()) < 0.7 * 12 * 8


def test_none_stops_nothing():
    curves = flat_curves(12)
    race, spent = first_folds(sorted(curves, reverse=True), curves, stopping="none")
    assert set(spent.values()) == {8}
    assert not any(e.dropped for e in race.entries.values())


def test_other_folds_are_never_judged():
    race = Race([0, 1], "asha", 1)
    for e, value in (("a", 0.9), ("b", 0.8)):
        race.add(e, "one_cycle", 8)
        race.report(e, 0, 2, value)
    race.add("c", "one_cycle", 8)
    assert race.report("c", 1, 2, 0.0) is None


def test_only_like_schedules_are_compared():
    race = Race([0], "asha", 1)
    for e in "abcd":
        race.add(e, "plateau", 8)
        race.report(e, 0, 2, 0.9)
    race.add("z", "one_cycle", 8)
    decision = race.report("z", 0, 2, 0.1)
    assert decision is not None
    assert (decision.bar, decision.stop) == (None, False)


def test_a_resumed_trial_is_judged_once_at_the_highest_rung():
    race = Race([0], "asha", 1)
    for e in "abc":
        race.add(e, "plateau", 8)
        for epoch in range(1, 8):
            race.report(e, 0, epoch, 0.9)
    race.add("late", "plateau", 8)
    decision = race.report("late", 0, 5, 0.2)
    assert (decision.rung, decision.stop) == (len(RUNGS) - 1, True)
    assert race.report("late", 0, 6, 0.2) is None


def test_later_folds_run_fold_by_fold_best_first():
    race = Race([2, 0, 1], "asha", 1)
    for e, value in (("a", 0.5), ("b", 0.9), ("c", 0.7)):
        race.add(e, "plateau", 4)
        race.finish(e, 2, value)
    race.drop("c")
    order, running = [], []
    while (found := race.next_fold(running)) is not None:
        order.append(found)
        running.append(found)
    assert order == [("b", 0), ("a", 0), ("b", 1), ("a", 1)]


def test_no_later_fold_before_the_first_is_done():
    race = Race([0, 1], "asha", 1)
    race.add("a", "plateau", 4)
    assert race.next_fold([("a", 0)]) is None
    assert race.next_fold([]) == ("a", 0)


@pytest.mark.parametrize(("stopping", "number"), [("none", 9), ("asha", 3)])
def test_where_nothing_can_be_stopped_no_fold_waits(stopping, number):
    race = Race([0, 1], stopping, 3)
    race.number = number
    race.add("a", "plateau", 4)
    assert race.next_fold([("a", 0)]) == ("a", 1)


def test_replay_of_the_events_gives_the_same_state():
    curves = flat_curves(10)
    race, events = Race([0], "asha", 2), []
    for e in sorted(curves, reverse=True):
        race.add(e, "plateau", 8)
        for epoch, value in enumerate(curves[e], 1):
            decision = race.report(e, 0, epoch, value)
            if decision is not None:
                events.append({"event": "rung", **decision.event(0)})
                if decision.stop:
                    events.append({"event": "drop", "experiment": e})
                    race.drop(e)
                    break
    again = Race([0], "asha", 2)
    for e in curves:
        again.add(e, "plateau", 8)
    again.replay(events)
    for e in curves:
        assert again.entries[e].rungs == race.entries[e].rungs
        assert again.entries[e].dropped == race.entries[e].dropped


@pytest.mark.parametrize(("stopping", "keep", "words"), [("sometimes", 3, "stopping"), ("asha", 0, "keep")])
def test_arguments_are_checked(stopping, keep, words):
    with pytest.raises(ValueError, match=words):
        Race([0], stopping, keep)
