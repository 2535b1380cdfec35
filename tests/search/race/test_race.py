"""What holds in every race, whatever its rule."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from raytag.search.race.race import Race
from raytag.search.race.replay import simulate
from raytag.search.race.rules import RULES
from raytag.search.race.settings import Settings
from raytag.testing.rules import feed, random_curves, random_order
from tests.search.race.oracle import MODES, passes
from tests.search.race.races import (
    NAMES,
    SEEDS,
    all_next,
    dropped,
    finish,
    made,
    propose,
    raced,
    relaunch,
    rung,
    start,
    what,
)

# -- what holds in every race -----------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(
    SEEDS,
    NAMES,
    st.integers(1, 14),
    st.integers(1, 4),
    st.integers(1, 5),
    st.integers(1, 12),
)
def test_enough_complete_and_the_dropped_start_nothing(seed, stopping, keep, slots, folds, experiments):
    curves = random_curves(seed, experiments, folds, kinds=2, variance=(None, 1e-4)[seed % 2])
    found = simulate(curves, Settings(stopping, keep), random_order(seed, curves), slots)
    out, started = set(), {}
    for event in found.events:
        name = event.get("experiment")
        if event["event"] == "drop":
            out.add(name)
            started[name] = {e for e in range(folds) if found.race.entries[name].folds.get(e) is not None}
        elif event["event"] in ("rung", "fold") and name in out:
            assert slots > 1  # only a trial that was under way ends after a drop
    assert len(found.complete) >= min(keep, experiments)
    assert len(out) <= max(0, experiments - keep)
    for entry in found.race.entries.values():
        epochs = found.epochs[int(entry.id)]
        if not entry.dropped:
            assert len(entry.folds) == folds
            assert (epochs == curves.best.shape[2]).all()
        elif slots == 1:  # nothing was under way but what it was dropped for
            depth = found.race.state.depth(entry)
            assert (epochs[depth + 1 :] == 0).all()
    assert not any(e["event"] == "reopen" for e in found.events)


@settings(max_examples=15, deadline=None)
@given(SEEDS, st.sampled_from(["asha", "paired", "exact"]), st.integers(2, 4))
def test_a_dropped_experiment_is_never_asked_for_again(seed, stopping, slots):
    curves = random_curves(seed, 12, 4, variance=1e-4)
    race = Race()
    for event in simulate(curves, Settings(stopping, 2), range(12), slots).events:
        race.apply(event)
        busy = []
        while (found := race.next_trial(busy)) is not None:
            assert race.entries[found[0]].open
            assert found[1] not in race.entries[found[0]].folds
            assert found not in busy
            busy.append(found)


@pytest.mark.parametrize("stopping", RULES)
def test_a_portfolio_as_large_as_the_search_is_full_cross_validation(stopping):
    curves = random_curves(5, 5, 3, spread=0.3)
    for keep in (5, 9):
        found = simulate(curves, Settings(stopping, keep), range(5))
        assert sorted(found.complete) == list(range(5))
        ends = [(int(e["experiment"]), e["fold"]) for e in found.events if e["event"] == "fold"]
        assert ends == [(e, k) for e in range(5) for k in range(3)]


def test_the_worst_goes_first_when_not_all_may_go():
    race = made(Settings("exact", 2), "dabg", (0, 1))
    race.apply({"event": "drop", "experiment": "d"})  # its folds were under way and finish
    for name, fold, value in (("d", 0, 0.9), ("d", 1, 0.9), ("a", 0, 0.5), ("b", 0, 0.1), ("g", 0, 0.9)):
        assert finish(race, name, fold, value) == []
    assert what(finish(race, "g", 1, 0.9)) == [("drop", "b")]  # a and b are both hopeless, one has to stay
    assert race.next_trial([]) == ("a", 1)


# -- facts that a run may hold ----------------------------------------------------------------------------


def test_one_fold_is_a_race_of_rungs_alone():
    curves = random_curves(3, 12, 1, spread=0.2, variance=1e-9)
    for stopping in ("paired", "exact", "asha"):
        found = simulate(curves, Settings(stopping, 2), range(12))
        assert all(e["rung"] is not None for e in found.events if e["event"] == "drop")
        assert len(found.complete) == 12 - sum(e.dropped for e in found.race.entries.values()) >= 2


def test_a_second_proposal_of_an_experiment_changes_nothing():
    race = made(Settings("paired", 1), "abc", number=4)
    finish(race, "b", 0, 0.5)
    feed(race, "propose", experiment="b", index=3, kind="one_cycle", epochs=8)
    assert [e.id for e in race.active] == ["a", "b", "c"]
    assert race.entries["b"].index == 1
    assert race.entries["b"].folds == {0: 0.5}


def test_nothing_waits_for_a_proposal_that_repeated_another():
    """Four proposals are three experiments: once two of them are left, all their folds may run at once."""
    race = made(Settings("exact", 2), "abc", (0, 1, 2), number=4)
    feed(race, "propose", experiment="b", index=3, kind="one_cycle", epochs=8)
    race.apply({"event": "drop", "experiment": "a"})
    for name, fold in (("a", 0), ("a", 1), ("b", 0), ("c", 0)):  # a came further than they
        finish(race, name, fold, 0.5)
    assert sorted(all_next(race)) == [("b", 1), ("b", 2), ("c", 1), ("c", 2)]


def test_folds_that_were_found_finished_count_at_once():
    race = made(Settings("paired", 1), "abcd")
    for name, value in zip("abc", (0.9, 0.8, 0.79), strict=True):
        finish(race, name, 0, value, 1e-6)
    propose(race, "z")
    assert race.state.depth(race.entries["z"]) == 0
    finish(race, "z", 1, 0.99)
    finish(race, "z", 2, 0.99)
    assert race.state.depth(race.entries["z"]) == 0  # a gap: not comparable yet
    assert race.next_trial([("d", 0)]) == ("z", 0)
    assert not race.entries["z"].dropped
    finish(race, "z", 0, 0.3, 1e-6)  # complete: of use, however bad
    assert race.state.depth(race.entries["z"]) == 3
    assert not race.entries["z"].dropped


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_no_number_is_refused_by_name(value):
    race = made(Settings("paired", 1))
    with pytest.raises(ValueError, match=r"fold 0 of a: its fold value .* is not a finite number"):
        finish(race, "a", 0, value)
    with pytest.raises(ValueError, match=r"fold 0 of a: its rung value .* is not a finite number"):
        rung(race, "a", value)
    assert race.entries["a"].folds == race.entries["a"].rungs == {}


def test_other_events_and_unknown_experiments_are_ignored():
    race = made()
    for event in ({"event": "launch"}, {"event": "tell", "experiment": "a"}, {"event": "end"}):
        race.apply(event)
    assert finish(race, "nobody", 0, 0.5) == []
    assert race.next_trial([]) == ("a", 0)


def test_experiments_beyond_the_number_take_no_part():
    race = made(Settings("paired", 1), "abcdef")
    for name, value in zip("abcdef", (0.5, 0.4, 0.3, 0.95, 0.96, 0.97), strict=True):
        finish(race, name, 0, value)
    start(race, Settings("paired", 1), number=3)
    assert [e.id for e in race.active] == ["a", "b", "c"]
    (drop, *_) = finish(race, "c", 1, 0.3, 1e-6)
    assert drop["bar"] <= 0.5  # not that of the others
    assert not dropped(race) & set("def")
    assert set(race.state.estimates()) == set("abc")
    assert {race.next_trial([])[0]} <= set("abc")
    start(race, Settings("paired", 1), number=6)
    assert len(race.active) == 6


# -- later launches ---------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.sampled_from(MODES), st.integers(1, 4), st.sampled_from(MODES), st.integers(0, 4))
@example(1380, "exact", 1, "exact", 2)  # a tie but for the rounding of a sum
def test_new_rules_reopen_exactly_those_that_pass_under_them(seed, old, keep, new, more):
    race = raced(seed, Settings(old, keep)).race
    rules, before = Settings(new, keep + more), dropped(race)
    expected = {e.id for e in race.entries.values() if e.dropped and passes(race, e, rules)}
    decisions = relaunch(race, rules)
    reopened = {d["experiment"] for d in decisions if d["event"] == "reopen"}
    if (old, more) == (new, 0):
        assert decisions == []
        return
    words = f"the rules are now --stopping {new} --keep {keep + more}"
    assert {d["experiment"] for d in decisions if d.get("reason") == words} == expected
    assert expected <= reopened <= before
    # the others come back only where the portfolio is short of experiments
    if reopened != expected:
        assert sum(e.open for e in race.active) == keep + more
    assert relaunch(race, rules) == []  # and that is all


@settings(max_examples=40, deadline=None)
@given(SEEDS, NAMES, st.integers(2, 6), st.booleans())
def test_the_same_rules_or_a_smaller_portfolio_reopen_nothing(seed, stopping, keep, same):
    race = raced(seed, Settings(stopping, keep)).race
    decisions = relaunch(race, Settings(stopping, keep if same else keep - 1))
    assert not [d for d in decisions if d["event"] == "reopen"]


def test_a_larger_portfolio_has_as_many_experiments():
    race = raced(5, Settings("paired", 2)).race
    relaunch(race, Settings("paired", 9))
    assert sum(e.open for e in race.active) >= 9


def test_a_launch_that_died_before_it_reopened_anything_is_made_up_for():
    race = raced(5, Settings("paired", 2)).race
    rules = Settings("none", 2)
    race.apply(
        {"event": "race", "settings": rules.plain(), "folds": [0, 1, 2, 3], "weights": [1.0] * 4, "number": 12}
    )
    race.apply(race.next_decision())  # the first of several; then a kill
    assert dropped(race)
    relaunch(race, rules)
    assert not dropped(race)


def test_new_rules_are_applied_to_the_dropped_once():
    race = made(Settings("asha", 1), "abc")
    rung(race, "a", 0.9)
    assert what(rung(race, "b", 0.5)) == [("drop", "b")]
    assert start(race, Settings("asha", 1, z=1.0)) == []
    # b would be in the better half of three: a drop is not undone by what comes later
    assert what(rung(race, "c", 0.1)) == [("drop", "c")]


def test_a_launch_that_died_before_it_judged_a_rung_is_made_up_for():
    race = made(Settings("asha", 1), "abc", number=12)
    rung(race, "a", 0.9)
    rung(race, "b", 0.8)
    race.apply({"event": "rung", "experiment": "c", "fold": 0, "rung": 0, "epoch": 2, "value": 0.1})  # a kill
    assert not race.entries["c"].dropped
    assert what(start(race, Settings("asha", 1), number=12)) == [("drop", "c")]


# -- failures ---------------------------------------------------------------------------------------------


def test_a_failed_experiment_leaves_its_place_to_the_best_that_was_dropped():
    race = made(Settings("paired", 2), "abcde", number=5)
    for name, value in zip("abcde", (0.9, 0.8, 0.7, 0.6, 0.5), strict=True):
        finish(race, name, 0, value, 1e-6)
    assert dropped(race) == {"c", "d", "e"}
    (reopen,) = feed(race, "fail", experiment="a", fold=1, reason="ValueError: diverged")
    assert what([reopen]) == [("reopen", "c")]
    assert reopen["reason"] == "only 1 of 2 experiments to keep are left"
    assert race.next_trial([])[0] in "bc"
    assert feed(race, "fail", experiment="b", fold=1)[0]["experiment"] == "d"
    # nobody is left to come back: what there is goes on
    for name in "cde":
        feed(race, "fail", experiment=name, fold=1)
    assert race.next_trial([]) is None
    assert race.next_decision() is None


def test_what_was_dropped_and_failed_besides_does_not_come_back():
    race = made(Settings("paired", 1), "abc", number=3)
    for name, value in zip("abc", (0.9, 0.8, 0.7), strict=True):
        finish(race, name, 0, value, 1e-6)
    feed(race, "fail", experiment="b", fold=1)  # it was ahead when it was dropped
    assert what(feed(race, "fail", experiment="a", fold=1)) == [("reopen", "c")]
    assert feed(race, "fail", experiment="c", fold=1) == []


def test_the_deepest_of_the_dropped_comes_back_first():
    race = made(Settings("asha", 2), "abcdef")
    for name in "ab":
        finish(race, name, 0, 0.9)
    rung(race, "c", 0.8, 0)
    rung(race, "d", 0.1, 1)
    finish(race, "e", 0, 0.05)
    for name in "cdef":
        race.apply({"event": "drop", "experiment": name})
    back = []
    for name in "abedc":
        back += [d["experiment"] for d in feed(race, "fail", experiment=name, fold=1)]
    assert back == ["e", "d", "c", "f"]  # a fold, the second rung, the first rung, nothing


def test_a_failed_experiment_is_no_bar_and_the_next_launch_tries_it_again():
    race = made(Settings("paired", 1), "abcd")
    finish(race, "a", 0, 0.9, 1e-6)
    feed(race, "fail", experiment="a", fold=1)
    for name, value in zip("bc", (0.5, 0.4), strict=True):
        assert finish(race, name, 0, value, 1e-6) == []  # two of three: no bar without a
    assert race.next_trial([("d", 0)]) != ("a", 1)
    decisions = start(race, Settings("paired", 1))
    assert race.entries["a"].open
    assert what(decisions) == [("drop", "c"), ("drop", "b")]  # a is back, and with it the bar
    assert race.next_trial([("d", 0)]) == ("a", 1)


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.sampled_from(["asha", "exact", "paired"]), st.integers(1, 4))
def test_the_portfolio_is_full_as_long_as_enough_have_not_failed(seed, stopping, keep):
    race, rng = raced(seed, Settings(stopping, keep)).race, np.random.default_rng(seed)
    names = list(race.entries)
    for name in rng.permutation(names):
        feed(race, "fail", experiment=str(name), fold=0)
        left = [e for e in race.active if not e.failed]
        assert sum(e.open for e in race.active) >= min(keep, len(left))


# -- what to train next -----------------------------------------------------------------------------------


def test_first_folds_come_first_in_order_of_proposal():
    race = made(Settings("paired", 1), "cab", (2, 0, 1))
    finish(race, "c", 2, 0.5)
    assert race.next_trial([]) == ("a", 2)
    assert race.next_trial([("a", 2)]) == ("b", 2)


def test_then_the_best_goes_on_with_its_next_fold():
    race = made(Settings("paired", 1), "abcd", (2, 0, 1))
    for name, value in zip("abcd", (0.5, 0.8, 0.7, 0.6), strict=True):
        finish(race, name, 2, value)
    assert race.next_trial([]) == ("b", 0)
    assert all_next(race)[:4] == [("b", 0), ("c", 0), ("d", 0), ("a", 0)]
    finish(race, "b", 0, 0.7)  # a hard fold: b is worth 0.75, c 0.65, as if it had run this fold as well
    assert race.next_trial([]) == ("b", 1)
    finish(race, "c", 0, 0.9)  # 0.8 on average
    assert race.next_trial([]) == ("c", 1)
    finish(race, "c", 1, 0.1)
    assert race.next_trial([]) == ("b", 1)


def test_a_fold_waits_for_the_judgement_of_the_one_before():
    race = made(Settings("paired", 1), "abc")
    for name, value in zip("abc", (0.5, 0.6, 0.7), strict=True):
        finish(race, name, 0, value)
    running = [("a", 1), ("b", 1)]
    assert race.next_trial(running) == ("c", 1)  # there is something ready: nobody goes ahead
    assert race.next_trial([*running, ("c", 1)]) == ("c", 2)  # nothing is: he who holds the place does
    assert all_next(race, [*running, ("c", 1)]) == [("c", 2)]  # and he alone


def test_nobody_goes_ahead_before_his_first_fold():
    race = made(Settings("paired", 2), "abc")
    assert all_next(race) == [("a", 0), ("b", 0), ("c", 0)]


def test_nothing_waits_once_all_that_are_left_will_complete():
    race = made(Settings("paired", 2), "abcd", number=4)
    for name, value in zip("abcd", (0.9, 0.8, 0.2, 0.1), strict=True):
        finish(race, name, 0, value, 1e-6)
    assert dropped(race) == {"c", "d"}
    assert all_next(race) == [("a", 1), ("a", 2), ("b", 1), ("b", 2)]


def test_as_long_as_more_may_be_proposed_nothing_is_certain():
    race = made(Settings("paired", 2), "abcd", (0, 1, 2, 3), number=None)
    for name, value in zip("abcd", (0.9, 0.8, 0.2, 0.1), strict=True):
        finish(race, name, 0, value, 1e-6)
    assert not race._certain
    race = made(Settings("paired", 2), "abcd", (0, 1, 2, 3), number=5)
    for name, value in zip("abcd", (0.9, 0.8, 0.2, 0.1), strict=True):
        finish(race, name, 0, value, 1e-6)
    assert not race._certain
    propose(race, "e")
    assert not race._certain  # one of three may still go
    finish(race, "e", 0, 0.1, 1e-6)
    assert race._certain


@settings(max_examples=40, deadline=None)
@given(SEEDS, NAMES, st.integers(1, 4), st.integers(1, 5))
def test_there_is_always_something_to_do_until_all_is_done(seed, stopping, keep, slots):
    """No race stands still: as long as an open experiment lacks a fold that is not running, one may start."""
    race = Race()
    for event in raced(seed, Settings(stopping, keep), 8, slots).events:
        race.apply(event)
        if race.next_decision() is None:
            lacking = [e for e in race.active if e.open and len(e.folds) < 4]
            assert (race.next_trial([]) is None) == (not lacking)


def test_an_empty_race():
    race = Race()
    assert race.next_decision() is None
    assert race.next_trial([]) is None
    assert race.state.variance is None
