"""What is known of a race: rungs, and what a searcher is told."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raytag.search.race.race import Race
from raytag.search.race.replay import simulate
from raytag.search.race.settings import Settings
from raytag.search.race.state import rung_epoch
from raytag.testing.rules import random_curves
from tests.search.race.races import SEEDS, finish, made, propose, raced, rung, start, what


@pytest.mark.parametrize(
    ("share", "epochs", "epoch"),
    [(0.5, 16, 8), (0.25, 16, 4), (0.5, 7, 4), (0.25, 1, 1), (0.5, 2, 1), (0.1, 30, 3)],
)
def test_a_rung_is_reached_at_the_end_of_an_epoch(share, epochs, epoch):
    assert rung_epoch(share, epochs) == epoch


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(1, 8), st.integers(1, 5))
def test_estimates_of_a_complete_table_are_plain_means(seed, experiments, folds):
    curves = random_curves(seed, experiments, folds)
    estimates = simulate(curves, Settings("none", 1), range(experiments)).race.state.estimates()
    assert estimates == pytest.approx({str(e): curves.final[e].mean() for e in range(experiments)}, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(1, 3))
def test_estimates_of_complete_experiments_are_their_means_in_any_race(seed, slots):
    found = raced(seed, Settings("paired", 2), slots=slots)
    estimates, curves = found.race.state.estimates(), random_curves(seed, 12, 4, spread=0.15, variance=1e-4)
    for e in found.complete:
        assert estimates[str(e)] == pytest.approx(curves.final[e].mean(), abs=1e-12)
    assert set(estimates) == {e.id for e in found.race.active}  # every experiment has one


def test_estimates_are_freed_from_the_folds_that_were_run():
    race = made(Settings("none", 1), "abc", (0, 1))
    for name, values in (("a", (0.9, 0.5)), ("b", (0.8, 0.4))):
        for fold in (0, 1):
            finish(race, name, fold, values[fold])
    finish(race, "c", 0, 0.85)  # on the easy fold, 0.2 above the average one
    assert race.state.estimates() == pytest.approx({"a": 0.7, "b": 0.6, "c": 0.65}, abs=1e-12)


def test_an_experiment_dropped_at_a_rung_counts_with_the_average_gain_of_its_like():
    race = Race()
    start(race, Settings("asha", 1), (0, 1))
    propose(race, "abc")
    propose(race, "z", kind="other")
    for name, early, late in (("a", 0.5, 0.7), ("b", 0.5, 0.8), ("z", 0.1, 0.9)):
        rung(race, name, early)
        finish(race, name, 0, late)
    assert what(rung(race, "c", 0.4)) == [("drop", "c")]
    assert race.state.estimates()["c"] == pytest.approx(0.4 + 0.25)  # z's gain of 0.8 is of another kind
    finish(race, "a", 1, 0.5)  # the first fold lies 0.1 above the average one
    assert race.state.estimates()["c"] == pytest.approx(0.4 + 0.25 - 0.1)


def test_an_experiment_under_way_has_no_estimate_yet():
    race = made(Settings("asha", 1), "ab")
    assert race.state.estimates() == {}
    rung(race, "a", 0.5)
    assert race.state.estimates() == {}
    assert Race().state.estimates() == {}


def test_a_rung_that_nobody_has_finished_after_gains_nothing():
    race = made(Settings("asha", 1), "abc")
    for name, value in zip("abc", (0.5, 0.4, 0.3), strict=True):
        rung(race, name, value)
    assert race.state.estimates() == {"b": 0.4, "c": 0.3}
