"""Folds: each clip in one, groups whole, labels balanced, and the published ones to the row."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raytag.datasets import DatasetError, folds


@pytest.fixture(scope="module")
def golden(shared):
    return np.load(shared / "golden" / "11_folds.npz")


def test_kfold_is_the_published_one(golden):
    """Blind to labels and uploaders: argus-freesound's, by name only."""
    np.testing.assert_array_equal(folds.kfold(4970), golden["kfold_n4970_seed42"])
    np.testing.assert_array_equal(folds.kfold(19815), golden["ex4_noisy_kfold_n19815_seed42"])
    by_name = folds.assign(np.ones((4970, 2)), method="kfold", seed=3)
    np.testing.assert_array_equal(by_name, golden["kfold_n4970_seed42"])


@pytest.mark.parametrize("seed", [416, 0])
def test_stratified_is_the_published_one(golden, seed):
    found = folds.assign(golden["in_Y"], n_folds=5, method="stratified", seed=seed)
    np.testing.assert_array_equal(found, golden[f"mskf_seed{seed}"])


targets_strategy = st.tuples(
    st.integers(2, 6), st.integers(1, 8), st.integers(6, 80), st.integers(0, 2**31)
)  # n_folds, classes, clips, seed


def draw_targets(n: int, n_classes: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    targets = (rng.random((n, n_classes)) < rng.uniform(0.05, 0.6, n_classes)).astype(np.float32)
    targets[np.arange(n), rng.integers(0, n_classes, n)] = 1
    return targets


@given(targets_strategy)
@settings(max_examples=60, deadline=None)
def test_stratified_puts_each_clip_in_one_fold_and_spreads_labels(case):
    """argus-freesound leaves it to chance how many clips of a rare class a fold gets."""
    n_folds, n_classes, n, seed = case
    targets = draw_targets(n, n_classes, seed)
    found = folds.stratified(targets, n_folds, seed % 1000)
    assert found.dtype == np.int64
    assert found.shape == (n,)
    assert set(found.tolist()) == set(range(n_folds))
    totals = targets.sum(axis=0)
    rarest = np.flatnonzero(totals == totals.min())
    if len(rarest) == 1:  # it is distributed first, so its counts differ by at most one
        counts = np.bincount(found[targets[:, rarest[0]] > 0], minlength=n_folds)
        assert counts.max() - counts.min() <= 1


@given(targets_strategy, st.integers(1, 7))
@settings(max_examples=60, deadline=None)
def test_grouped_keeps_groups_whole_and_fills_every_fold(case, group_size):
    """argus-freesound spreads the clips of an uploader over its folds."""
    n_folds, n_classes, n, seed = case
    rng = np.random.default_rng(seed)
    groups = [f"g{g}" for g in rng.integers(0, max(n // group_size, 1), n)]
    targets = draw_targets(n, n_classes, seed)
    if len(set(groups)) < n_folds:
        with pytest.raises(DatasetError, match="too few"):
            folds.grouped(targets, groups, n_folds)
        return
    found = folds.grouped(targets, groups, n_folds, seed)
    assert set(found.tolist()) == set(range(n_folds))
    fold_of = dict(zip(groups, found.tolist(), strict=True))
    assert [fold_of[g] for g in groups] == found.tolist()
    np.testing.assert_array_equal(found, folds.grouped(targets, groups, n_folds, seed))


@given(st.integers(2, 6), st.integers(10, 60), st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_grouped_balances_sizes_to_within_one_group(n_folds, n_groups, seed):
    # with one label there is one quantity to balance, and greedy filling cannot end further apart than this
    sizes = np.random.default_rng(seed).integers(1, 9, n_groups)
    groups = [f"g{g}" for g, size in enumerate(sizes) for _ in range(size)]
    found = folds.grouped(np.ones((len(groups), 1)), groups, n_folds, seed)
    filled = np.bincount(found, minlength=n_folds)
    assert filled.max() - filled.min() <= sizes.max()


def spread(targets: np.ndarray, found: np.ndarray, n_folds: int) -> float:
    """Mean over labels of the standard deviation over folds of the label's share."""
    counts = np.stack([targets[found == k].sum(axis=0) for k in range(n_folds)])
    return float((counts / counts.sum(axis=0)).std(axis=0).mean())


def test_grouped_balances_labels_better_than_chance():
    rng = np.random.default_rng(0)
    home = rng.integers(0, 12, 120)  # most clips of a group share a label, as those of one uploader do
    group = rng.integers(0, 120, 600)
    targets = np.eye(12)[np.where(rng.random(600) < 0.8, home[group], rng.integers(0, 12, 600))]
    ours = spread(targets, folds.grouped(targets, [str(g) for g in group], 5), 5)
    blind = [spread(targets, rng.integers(0, 5, 120)[group], 5) for _ in range(20)]
    assert ours < 0.25 * min(blind)
    sizes = np.bincount(folds.grouped(targets, [str(g) for g in group], 5))
    assert sizes.max() - sizes.min() <= 12


def test_clips_without_a_group_are_groups_of_their_own():
    groups = ["", "", "a", "", "a", ""]
    found = folds.grouped(np.ones((6, 1)), groups, 5, seed=1)
    assert len(set(found.tolist())) == 5
    assert found[2] == found[4]


def test_a_seed_makes_other_folds():
    targets = np.eye(4)[np.arange(40) % 4]
    groups = [str(i) for i in range(40)]
    for method in ("group", "stratified"):
        first, second = (folds.assign(targets, groups=groups, method=method, seed=seed) for seed in (0, 1))
        assert (first != second).any()
        np.testing.assert_array_equal(first, folds.assign(targets, groups=groups, method=method, seed=0))


def test_auto_prefers_given_folds_then_groups_then_labels():
    """argus-freesound's folds are neither stratified nor grouped by uploader."""
    targets = np.eye(3)[np.arange(12) % 3]
    given_folds, groups = np.array([4, 9] * 6), ["a", "b", "c", "d"] * 3
    np.testing.assert_array_equal(folds.assign(targets, given=given_folds, groups=groups), [0, 1] * 6)
    by_group = folds.assign(targets, groups=groups, n_folds=2)
    np.testing.assert_array_equal(by_group, folds.grouped(targets, groups, 2))
    np.testing.assert_array_equal(folds.assign(targets, n_folds=2), folds.stratified(targets, 2))
