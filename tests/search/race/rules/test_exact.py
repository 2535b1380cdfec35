"""Dropped is only what perfect scores could not save."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raytag.search.race.race import Race
from raytag.search.race.settings import Settings
from raytag.testing.rules import feed
from tests.search.race.races import SEEDS, dropped, finish, made, propose


def weighted_cv(final, weights):
    """Exact: fractions of fractions."""
    total = sum(map(Fraction, weights))
    return [sum(Fraction(v) * Fraction(w) for v, w in zip(row, weights, strict=True)) / total for row in final]


def exact_race(final, weights, keep, rng):
    """Folds of experiments finish in any order that a driver with many slots could see."""
    experiments, folds = final.shape
    race = Race()
    feed(
        race,
        "race",
        settings=Settings("exact", keep).plain(),
        folds=list(range(folds)),
        weights=weights,
        number=None,
    )
    propose(race, [str(e) for e in range(experiments)])
    while (
        left := [(e, k) for e in race.entries.values() if e.open for k in range(folds) if k not in e.folds]
    ) != []:
        entry, fold = left[rng.integers(len(left))] if rng.random() < 0.3 else left[0]
        finish(race, entry.id, fold, float(final[int(entry.id), fold]))
    return race


@settings(max_examples=50, deadline=None)
@given(SEEDS, st.integers(1, 4))
def test_exact_never_drops_one_of_the_true_best(seed, keep):
    rng = np.random.default_rng(seed)
    experiments, folds = int(rng.integers(2, 9)), int(rng.integers(1, 6))
    final = rng.beta(*((5, 0.5), (0.5, 5), (1, 1))[seed % 3], (experiments, folds)).clip(0.01, 1.0)
    weights = [float(w) for w in rng.integers(0 if seed % 2 else 1, 50, folds)]
    weights[int(rng.integers(folds))] += 40.0
    race = exact_race(final, weights, keep, rng)
    scores = weighted_cv(final.tolist(), weights)
    for name in dropped(race):
        better = sum(s > scores[int(name)] for s in scores)
        assert better >= keep  # true places 1..keep, ties included, are all kept


def test_exact_drops_as_soon_as_perfect_scores_would_not_do():
    race = made(Settings("exact", 1), "ab", (0, 1), weights=[3.0, 1.0])
    finish(race, "a", 0, 0.9)
    assert finish(race, "a", 1, 0.9) == []  # b has not begun: it could still score 1
    (drop,) = finish(race, "b", 0, 0.8)  # (3 · 0.8 + 1) / 4 = 0.85 < 0.9
    assert (drop["event"], drop["experiment"], drop["fold"], drop["rung"]) == ("drop", "b", None, None)
    assert (drop["value"], drop["bar"]) == pytest.approx((0.85, 0.9))
    assert "at most 0.8500 with perfect scores on the other folds, below 0.9000" in drop["reason"]


def test_exact_weighs_folds_by_their_labels():
    for weights, lost in (([1.0, 1.0], set()), ([9.0, 1.0], {"b"})):
        race = made(Settings("exact", 1), "ab", (0, 1), weights=weights)
        for name, value in (("a", 0.7), ("b", 0.5)):
            finish(race, name, 0, value)
        finish(race, "a", 1, 0.3)
        assert dropped(race) == lost


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_exact_follows_the_weights_when_folds_change_places(seed):
    """The weights of the race event belong to the folds that stand at their places."""
    rng = np.random.default_rng(seed)
    final, weights = rng.uniform(0.3, 1, (6, 3)), [float(w) for w in rng.integers(1, 30, 3)]
    permuted = [int(k) for k in rng.permutation(3)]
    plain, other = Race(), Race()
    rules = Settings("exact", 1).plain()
    feed(plain, "race", settings=rules, folds=[0, 1, 2], weights=weights, number=None)
    feed(other, "race", settings=rules, folds=permuted, weights=[weights[k] for k in permuted], number=None)
    for race in (plain, other):
        propose(race, "abcdef")
        for i, name in enumerate("abcdef"):
            finish(race, name, 0, float(final[i, 0]))
            finish(race, name, permuted[0], float(final[i, permuted[0]]))
    for name in "abcdef":  # the same cells are known: where both judge, they agree
        depths = [race.state.depth(race.entries[name]) for race in (plain, other)]
        if min(depths) > 0 and max(depths) < 3:
            assert plain.entries[name].dropped == other.entries[name].dropped


def test_a_failed_experiment_bounds_nobody():
    race = made(Settings("exact", 1), "abc", (0, 1))
    finish(race, "a", 0, 0.9)
    feed(race, "fail", experiment="a", fold=1)
    finish(race, "a", 1, 0.9)  # found finished later: it is of use, but not of those that this launch completes
    assert finish(race, "b", 0, 0.7) == []
