"""Rungs of the first fold: what passes, and when it is judged."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from raytag.search.race.race import Race
from raytag.search.race.replay import simulate
from raytag.search.race.rules.rungs import rung_bar
from raytag.search.race.settings import Settings
from raytag.testing.rules import random_curves
from tests.search.race.oracle import MODES
from tests.search.race.races import SEEDS, dropped, finish, made, propose, rung, start, what

SCORES = st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]), max_size=30)  # with many ties


@given(SCORES, st.integers(1, 12), st.sampled_from([1.0, 1.5, 2.0, 3.0, 4.0]))
def test_a_rung_lets_the_best_of_its_share_pass_and_never_fewer_than_keep(values, keep, eta):
    bar = rung_bar(values, keep, eta)
    places = max(keep, math.ceil(len(values) / eta))
    if len(values) <= places:
        assert bar is None
        return
    passed = [v for v in values if v >= bar]
    assert len(passed) >= places
    assert sum(v > bar for v in values) < places  # the bar is not lower than it need be
    assert len(passed) >= keep


@given(SCORES, st.integers(1, 12), st.sampled_from([1.5, 2.0, 3.0]))
def test_a_rung_does_not_look_at_the_order_of_arrival(values, keep, eta):
    assert rung_bar(values, keep, eta) == rung_bar(sorted(values), keep, eta) == rung_bar(values[::-1], keep, eta)


def test_eta_of_one_lets_all_pass():
    assert rung_bar([0.1, 0.9, 0.5, 0.4], 1, 1.0) is None


def test_half_pass_a_rung():
    assert rung_bar([0.1, 0.4, 0.2, 0.3], 1, 2.0) == 0.3
    assert rung_bar([0.1, 0.4, 0.2, 0.3], 3, 2.0) == 0.2
    assert rung_bar([0.1, 0.4, 0.2, 0.3], 4, 2.0) is None
    assert rung_bar([0.1, 0.4, 0.2, 0.3, 0.5], 1, 2.0) == 0.3  # the upper half of five is three


@settings(max_examples=50, deadline=None)
@given(SEEDS, st.sampled_from([0.02, 0.2]), st.integers(1, 3))
def test_asha_drops_in_the_first_fold_only(seed, spread, slots):
    curves = random_curves(seed, 16, 3, kinds=2, spread=spread, variance=1e-6)
    drops = [e for e in simulate(curves, Settings("asha", 2), range(16), slots).events if e["event"] == "drop"]
    assert drops
    assert {d["fold"] for d in drops} == {0}
    assert {d["rung"] for d in drops} <= {0, 1}


def test_the_weak_half_stops_at_the_first_rung():
    curves = random_curves(11, 16, 2, spread=0.2)
    order = np.argsort(-curves.final[:, 0])
    found = simulate(curves, Settings("asha", 2), [int(e) for e in order])
    epochs = found.epochs[:, 0]
    assert set(epochs.tolist()) <= {2, 4, 8}  # a quarter and a half of 8 epochs
    assert epochs.sum() < 0.7 * 16 * 8


def test_rungs_compare_like_kinds_only_and_fold_ends_compare_all():
    race = Race()
    start(race, Settings("paired", 1))
    propose(race, "abcd", kind="plateau")
    propose(race, "z", kind="one_cycle")
    for name in "abcd":
        assert rung(race, name, 0.9) == []
    assert rung(race, "z", 0.1) == []  # the only one of its kind
    for name in "abcd":
        finish(race, name, 0, 0.9, 1e-6)
    (drop,) = finish(race, "z", 0, 0.1, 1e-6)
    assert (drop["event"], drop["experiment"], drop["rung"], drop["fold"]) == ("drop", "z", None, 0)


def test_a_rung_is_judged_when_it_is_reached_and_not_again():
    race = made(Settings("asha", 1), "abcdefgh")
    assert rung(race, "a", 0.5) == []
    assert rung(race, "b", 0.4) != []
    for name, value in zip("cdef", (0.6, 0.7, 0.8, 0.9), strict=True):
        assert rung(race, name, value) == []
    assert dropped(race) == {"b"}  # a is below the bar by now, but it has passed


def test_only_the_first_fold_has_rungs():
    race = made(Settings("asha", 1), folds=(2, 0, 1))
    assert race.rung("a", 2, 2) == 0
    assert race.rung("a", 2, 4) == 1
    assert race.rung("a", 2, 1) is None
    assert race.rung("a", 0, 4) is None
    assert race.rung("a", 2, 8) is None  # the end is no rung


def test_the_end_of_a_short_training_is_no_rung():
    race = Race()
    start(race, Settings("asha", 1))
    propose(race, "a", epochs=1)
    propose(race, "b", epochs=2)
    assert race.rung("a", 0, 1) is None
    assert race.rung("b", 0, 1) == 1  # both rungs at once


def test_several_rungs_at_once_are_judged_once_at_the_highest():
    """A training that continues from its checkpoint after a kill may come in beyond rungs that nobody saw."""
    race = made(Settings("asha", 1), "abcd")
    assert race.rung("a", 0, 5) == 1
    rung(race, "a", 0.5, 1)
    assert [race.rung("a", 0, epoch) for epoch in range(1, 9)] == [None] * 8
    for name, value in (("b", 0.8), ("c", 0.7)):
        assert rung(race, name, value, 1) == []
    assert what(rung(race, "d", 0.1, 1)) == [("drop", "d")]


def test_a_value_from_a_late_epoch_is_no_bar_for_an_early_rung():
    race = made(Settings("asha", 1), "abc")
    for name in "ab":  # resumed beyond the first rung: their values there are not known
        rung(race, name, 0.9, 1)
    assert rung(race, "c", 0.3, 0) == []


def test_a_rung_is_told_once_even_if_the_trial_starts_again():
    race = made(Settings("asha", 1), "abcd")
    rung(race, "a", 0.5)
    assert race.rung("a", 0, 2) is None
    assert race.rung("a", 0, 4) == 1


def test_rungs_are_recorded_in_every_mode_but_judged_in_two():
    for stopping in MODES:
        race = made(Settings(stopping, 1), "abcdef")
        assert race.rung("a", 0, 4) is not None
        for name, value in zip("abcdef", (0.9, 0.8, 0.7, 0.3, 0.2, 0.1), strict=True):
            rung(race, name, value)
        assert bool(dropped(race)) == (stopping in ("asha", "paired"))


def test_a_rung_at_another_share_is_another_rung():
    """``paired`` has a rung at a half, ``asha`` its first at a quarter: they share a number and nothing else."""
    race = made(Settings("paired", 1), "abc")
    for name, value in zip("abc", (0.9, 0.8, 0.7), strict=True):
        rung(race, name, value)  # after half the epochs
    start(race, Settings("asha", 1))
    propose(race, "d")
    assert race.rung("d", 0, 2) == 0
    assert rung(race, "d", 0.3, 0) == []  # after a quarter of them: nobody is known there
    assert race.rung("d", 0, 4) == 1
    assert what(rung(race, "d", 0.3, 1)) == [("drop", "d")]


def test_rungs_of_another_first_fold_are_other_rungs():
    race = made(Settings("asha", 1), "abc", (0, 1, 2))
    for name in "abc":
        rung(race, name, 0.9)  # an easy fold
    start(race, Settings("asha", 1), (1, 0, 2))
    propose(race, "d")
    assert rung(race, "d", 0.3, 0, fold=1) == []
    assert race.rung("a", 1, 2) == 0  # and a is judged there, too
