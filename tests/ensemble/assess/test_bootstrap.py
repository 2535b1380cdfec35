"""Intervals over clips and groups."""

from __future__ import annotations

import numpy as np
import pytest

from raytag.ensemble.assess.bootstrap import Bootstrap


def test_a_mean_of_independent_labels_has_the_textbook_interval():
    values = np.random.default_rng(0).normal(0.5, 0.2, 400)
    found = Bootstrap([""] * 400, np.arange(400)).interval(values)
    half = 1.96 * values.std(ddof=1) / np.sqrt(400)
    assert found.value == values.mean()
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.08)


def test_copies_of_a_clip_do_not_narrow_the_interval_when_they_are_a_group():
    values = np.random.default_rng(1).normal(0.5, 0.2, 50)
    copies = np.repeat(values, 8)
    group = np.repeat([f"g{i}" for i in range(50)], 8)
    alone = Bootstrap([""] * 50, np.arange(50)).interval(values)
    grouped = Bootstrap(group.tolist(), np.arange(400)).interval(copies)
    naive = Bootstrap([""] * 400, np.arange(400)).interval(copies)
    assert grouped.high - grouped.low == pytest.approx(alone.high - alone.low, rel=0.1)
    assert naive.high - naive.low < 0.5 * (grouped.high - grouped.low)
    assert Bootstrap(group.tolist(), np.arange(400)).grouped


def test_labels_of_one_clip_are_drawn_together():
    clip = np.repeat(np.arange(30), 3)
    values = np.repeat(np.random.default_rng(2).normal(size=30), 3)
    one = Bootstrap([""] * 30, clip)
    assert one.n_groups == 30
    assert not one.grouped
    assert one.interval(values) == Bootstrap([""] * 30, clip).interval(values)  # seeded
    assert one.interval(values) != Bootstrap([""] * 30, clip, seed=1).interval(values)


def test_equal_ensembles_differ_by_nothing():
    found = Bootstrap([""] * 10, np.arange(10)).interval(np.zeros(10))
    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)


def test_a_single_group_says_nothing():
    found = Bootstrap(["a"] * 5, np.arange(5)).interval(np.ones(5))
    assert (found.low, found.high) == (-np.inf, np.inf)


def test_folds_that_differ_widen_the_interval_as_far_as_the_textbook_says():
    """Clips vary little within a fold, folds vary much: what is left are so many values as there are folds."""
    rng = np.random.default_rng(3)
    fold = np.repeat(np.arange(10), 60)
    effect = rng.normal(0, 0.1, 10)
    values = effect[fold] + rng.normal(0, 0.01, 600)
    found = Bootstrap([""] * 600, np.arange(600), 0, fold)
    assert found.n_folds == 10
    assert found.error(values) == pytest.approx(effect.std() / np.sqrt(10), rel=0.05)
    assert Bootstrap([""] * 600, np.arange(600)).error(values) < 0.2 * found.error(values)


def test_a_group_in_two_folds_is_drawn_in_each():
    fold = np.array([0, 0, 1, 1])
    assert Bootstrap(["a", "b", "a", "c"], np.arange(4), 0, fold).n_groups == 4
    assert Bootstrap(["a", "a", "a", "c"], np.arange(4), 0, fold).n_groups == 3
