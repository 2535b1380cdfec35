"""The rules of a race, as plain functions of numbers."""

from __future__ import annotations

import json
import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raytag.search.race.rules import (
    MIN_DOF,
    PRIOR_DOF,
    RUNGS,
    STOPPING,
    Settings,
    paired_margin,
    pooled_variance,
    portfolio_bar,
    rung_bar,
    rung_epoch,
)

SCORES = st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]), max_size=30)  # with many ties


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"stopping": "hyperband"}, "stopping must be one of none, asha, exact, paired, not 'hyperband'"),
        ({"keep": 0}, "keep must be at least 1, not 0"),
        ({"rungs": (0.5, 0.25)}, r"rungs must be ascending shares between 0 and 1, not \(0.5, 0.25\)"),
        ({"rungs": (0.5, 0.5)}, "rungs must be ascending"),
        ({"rungs": (0.0,)}, "between 0 and 1"),
        ({"rungs": (1.0,)}, "between 0 and 1"),
        ({"rungs": (math.nan,)}, "between 0 and 1"),
        ({"eta": 0.5}, "eta must be at least 1, not 0.5"),
        ({"eta": math.nan}, "eta must be at least 1, not nan"),
        ({"z": -0.1}, "z must be finite and not negative, not -0.1"),
        ({"z": math.nan}, "z must be finite and not negative, not nan"),
        ({"z": math.inf}, "z must be finite and not negative, not inf"),
    ],
)
def test_a_value_out_of_range_is_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        Settings(**wrong)


@pytest.mark.parametrize("stopping", STOPPING)
def test_settings_come_back_from_the_log_as_they_were(stopping):
    for chosen in (
        Settings(stopping),
        Settings(stopping, 7, [0.1, 0.7], 3.3, 0.1 + 0.2),
        Settings(stopping, rungs=()),
    ):
        assert Settings.from_plain(json.loads(json.dumps(chosen.plain()))) == chosen


def test_rungs_are_known_in_every_mode():
    assert Settings("asha").shares == RUNGS["asha"] == (0.25, 0.5)
    for stopping in ("none", "exact", "paired"):
        assert Settings(stopping).shares == RUNGS["paired"] == (0.5,)
    assert Settings(rungs=()).shares == ()
    assert [s for s in STOPPING if Settings(s).has_rungs] == ["asha", "paired"]


@pytest.mark.parametrize(
    ("share", "epochs", "epoch"),
    [(0.5, 16, 8), (0.25, 16, 4), (0.5, 7, 4), (0.25, 1, 1), (0.5, 2, 1), (0.1, 30, 3)],
)
def test_a_rung_is_reached_at_the_end_of_an_epoch(share, epochs, epoch):
    assert rung_epoch(share, epochs) == epoch


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


def test_without_resampling_few_residuals_are_not_believed():
    assert pooled_variance(0.5, 0, []) is None
    assert pooled_variance(0.5, MIN_DOF - 1, []) is None
    assert pooled_variance(0.5, MIN_DOF, []) == 0.5 / MIN_DOF


def test_resampling_alone_gives_its_mean():
    assert pooled_variance(0.0, 0, [0.001, 0.003]) == pytest.approx(0.002)


def test_residuals_outweigh_resampling_as_they_grow():
    prior, truth = 0.001, 0.009
    found = [pooled_variance(truth * dof, dof, [prior]) for dof in (0, PRIOR_DOF, 1000 * PRIOR_DOF)]
    assert found == pytest.approx([prior, (prior + truth) / 2, truth], rel=2e-3)
