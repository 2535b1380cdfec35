"""The paired comparison: the portfolio's bar and the margin below it."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raytag.search.race.replay import simulate
from raytag.search.race.rules.paired import paired_margin, portfolio_bar
from raytag.search.race.settings import Settings
from raytag.testing.rules import random_curves, random_order
from tests.search.race.races import SEEDS, dropped, finish, made, what

SCORES = st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]), max_size=30)  # with many ties


def test_no_portfolio_bar_before_two_more_than_the_portfolio_holds():
    means = [(0.5, "a"), (0.7, "b"), (0.6, "c"), (0.4, "d")]
    assert portfolio_bar(means[:3], 2) is None
    assert portfolio_bar(means, 2) == (0.6, "c")
    assert portfolio_bar(means, 3) is None
    assert portfolio_bar([], 1) is None


@given(SCORES, st.integers(1, 8), st.sampled_from([0.0, 0.35, 0.8]))
def test_the_portfolio_bar_never_falls_as_experiments_arrive(values, keep, new):
    means = [(v, f"e{i}") for i, v in enumerate(values)]
    before, after = portfolio_bar(means, keep), portfolio_bar([*means, (new, "new")], keep)
    if before is not None:
        assert after is not None
        assert after[0] >= before[0]
    assert portfolio_bar(means[::-1], keep) == before


def test_the_margin_is_the_formula():
    # z s √(2 (1/d − 1/K)) by hand: s = 0.1, d = 2 of 5, z = 0.5: 0.5 · 0.1 · √0.6
    assert paired_margin(0.01, 2, 5, 0.5) == pytest.approx(0.05 * math.sqrt(0.6), rel=1e-12)
    assert paired_margin(0.01, 1, 4, 1.0) == pytest.approx(0.1 * math.sqrt(1.5), rel=1e-12)


@given(st.floats(1e-8, 0.1), st.integers(1, 12), st.floats(0.01, 4))
def test_the_margin_shrinks_with_folds_and_is_zero_with_all_of_them(variance, folds, z):
    margins = [paired_margin(variance, d, folds, z) for d in range(1, folds + 1)]
    assert margins[-1] == 0.0
    assert all(a > b for a, b in pairwise(margins))
    assert paired_margin(0.0, 1, folds, z) == 0.0
    assert paired_margin(-1e-20, 1, folds, z) == 0.0  # rounding below zero


@given(st.floats(0.01, 3), st.integers(2, 8))
def test_the_margin_covers_the_difference_that_the_other_folds_may_make(z, folds):
    """Its square is z² times the variance of (mean over d folds − mean over K), exactly, for independent cells."""
    for d in range(1, folds):
        both = 2 * ((1 / d - 1 / folds) ** 2 * d + (folds - d) / folds**2)  # two experiments, s² = 1
        assert paired_margin(1.0, d, folds, z) == pytest.approx(z * math.sqrt(both), rel=1e-9)


def test_ties_with_the_bar_go_on_when_there_is_no_noise_at_all():
    race = made(Settings("paired", 1, z=0.0), "abcd")
    for name, value in zip("abcd", (0.8, 0.8, 0.8, 0.7999), strict=True):
        finish(race, name, 0, value, 0.0)
    assert dropped(race) == {"d"}


@settings(max_examples=50, deadline=None)
@given(SEEDS, st.integers(1, 5), st.integers(1, 4))
def test_the_paired_bar_never_falls(seed, keep, slots):
    curves = random_curves(seed, 14, 4, variance=1e-4)
    bars = {}
    for event in simulate(curves, Settings("paired", keep, z=0.1), random_order(seed, curves), slots).events:
        if event["event"] == "drop" and event["rung"] is None:
            assert event["bar"] >= bars.get(event["fold"], -1.0)
            bars[event["fold"]] = event["bar"]


def test_there_is_no_bar_before_two_more_than_the_portfolio_holds():
    race = made(Settings("paired", 2), "abcdef")
    for name, value in zip("abc", (0.9, 0.8, 0.1), strict=True):
        assert finish(race, name, 0, value, 1e-6) == []
    decisions = finish(race, "d", 0, 0.7, 1e-6)
    assert [(d["experiment"], d["bar"]) for d in decisions] == [("c", 0.8), ("d", 0.8)]


def test_dropped_experiments_keep_their_place_in_the_bar():
    race = made(Settings("paired", 1, z=0.0), "abcdef", (0, 1))
    for name, value in zip("abc", (0.9, 0.8, 0.7), strict=True):
        finish(race, name, 0, value, 1e-6)
    assert dropped(race) == {"b", "c"}
    finish(race, "a", 1, 0.1)  # complete with a mean of 0.5; nobody is judged by folds that he has not run
    assert what(finish(race, "d", 0, 0.85, 1e-6)) == [("drop", "d")]


def test_reasons_name_the_numbers():
    race = made(Settings("paired", 1), "abcd", (3, 4, 5))
    for name, value in zip("abc", (0.9, 0.8, 0.7), strict=True):
        last = finish(race, name, 3, value, 0.0003)
    # s² = 0.0003, d = 1 of 3: 0.5 · √(0.0003 · 2 · 2/3) = 0.01
    reasons = {d["experiment"]: d["reason"] for d in last}
    assert reasons["c"] == (
        "mean lwlrap 0.7000 on fold 3 is 0.2000 below a, which holds place 1; allowed are 0.0100"
    )


def test_without_any_variance_nothing_is_dropped_at_fold_ends():
    race = made(Settings("paired", 1), "abcd")
    for name, value in zip("abcd", (0.9, 0.8, 0.7, 0.1), strict=True):
        assert finish(race, name, 0, value) == []
    assert race.state.variance is None
