"""Honest scores: nested choice, baselines, epoch optimism, geometric means."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raytag.blends.greedy import best_single, greedy_selection
from raytag.blends.means.base import geometric_mean
from raytag.blends.pairs import TINY, log_probabilities, reduce_pairs
from raytag.blends.scorer import Scorer
from raytag.blends.subsets import Found, search_trees
from raytag.blends.trees import plan_trees
from raytag.ensemble.choose.left_out import (
    best_by_goal,
    best_found,
    epoch_optimism,
    frequency,
    frequency_by_name,
    goals,
    kept_parts,
    left_out_sets,
)
from raytag.metrics import lwlrap
from tests.ensemble.fakes import simulate


def test_what_is_left_out():
    assert left_out_sets([3, 4, 5]) == [(), (0,), (1,), (2,), (0, 1), (0, 2), (1, 2)]
    assert left_out_sets([3, 4, 5], pairs=False) == [(), (0,), (1,), (2,)]
    assert left_out_sets([3, 0, 5]) == [(), (0,), (2,)]  # a fold without labels scores nothing
    assert left_out_sets([3, 0, 0]) == [()]
    assert kept_parts(4, (1, 2)) == (0, 3)


def test_one_walk_finds_the_best_of_every_size_without_any_fold():
    probabilities, targets = simulate(6, 80, 5, own=1.5, signal=1.0)
    fold, sizes = np.arange(80) % 4, (1, 2, 3)
    logs = log_probabilities(probabilities)
    pairs = reduce_pairs(logs, targets, fold)
    left_outs = left_out_sets(Scorer(pairs).labels)
    boards = search_trees(pairs, plan_trees(6, sizes, 10**6), goals(4, left_outs, 5, sizes))
    found = best_by_goal(boards, 4, left_outs)
    assert list(found) == left_outs

    def score(members, rows):
        return lwlrap(targets[rows], logs[list(members)].sum(axis=0)[rows])

    for left_out, best in found.items():
        rows = ~np.isin(fold, left_out)
        by_size = {size: max(score(c, rows) for c in itertools.combinations(range(6), size)) for size in sizes}
        any_size = best_found(best.values(), kept_parts(4, left_out))
        assert score(any_size.members, rows) == pytest.approx(max(by_size.values()))
        assert set(best) == {None} if len(left_out) == 2 else set(sizes) <= set(best)
        for size in set(best) - {None}:
            assert len(best[size].members) == size
            assert score(best[size].members, rows) == pytest.approx(by_size[size])
    assert len(boards[0]) == 5


def test_of_equal_blends_the_fewest_members_then_the_lowest_numbers():
    options = [Found((1, 2), (5, 5)), Found((3,), (4, 6)), Found((2,), (6, 4)), Found((0,), (9, 0))]
    assert best_found(options, (0, 1)).members == (2,)
    assert best_found(options, (1,)).members == (3,)
    assert best_found(options, (0,)).members == (0,)


def test_member_frequency_counts_folds_not_weights():
    chosen = [Found((0, 0, 0, 2), ()), Found((2, 3), ()), Found((2,), ()), Found((0, 2), ())]
    assert frequency(chosen) == {0: 0.5, 2: 1.0, 3: 0.25}
    assert list(frequency_by_name(frequency(chosen), "abcd")) == ["c", "a", "d"]


def test_baselines():
    probabilities, targets = simulate(7, 120, 6, own=1.5, signal=1.5)
    logs = log_probabilities(probabilities)
    scorer = Scorer(reduce_pairs(logs, targets))
    single = best_single(scorer, [0])
    scores = [lwlrap(targets, values) for values in logs]
    assert single.members == (int(np.argmax(scores)),)
    assert scorer.lwlrap(single.sums) == pytest.approx(max(scores), abs=1e-12)
    greedy = greedy_selection(scorer, [0], bag=10)
    assert scorer.lwlrap(greedy.sums) == pytest.approx(
        lwlrap(targets, logs[list(greedy.members)].sum(axis=0)), abs=1e-12
    )
    # each draw is the best continuation, repeats allowed
    for i, drawn in enumerate(greedy.members):
        options = [lwlrap(targets, logs[[*greedy.members[:i], m]].sum(axis=0)) for m in range(7)]
        assert options[drawn] == pytest.approx(max(options), abs=1e-12)
    assert scorer.lwlrap(greedy.sums) >= scorer.lwlrap(single.sums)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**31), st.lists(st.integers(0, 4), min_size=1, max_size=9))
def test_reduced_pairs_are_exact_for_any_weights(seed, members):
    probabilities, targets = simulate(5, 15, 5, own=3.0, seed=seed)
    logs = log_probabilities(np.round(probabilities, 1))
    scorer = Scorer(reduce_pairs(logs, targets))
    expected = lwlrap(targets, logs[members].sum(axis=0))
    assert scorer.lwlrap(scorer.sums(members)) == pytest.approx(expected, abs=1e-12)


def test_epoch_optimism_by_hand():
    # fold 0 peaks at epoch 1, fold 1 at epoch 3; each would be given the other's epoch
    curves = [pd.DataFrame({"epoch": [1, 2, 3], "lwlrap": v}) for v in ([0.9, 0.5, 0.6], [0.2, 0.3, 0.7])]
    assert epoch_optimism(curves, [30, 10]) == pytest.approx(((0.9 - 0.6) * 30 + (0.7 - 0.2) * 10) / 40)
    assert epoch_optimism([curves[0], curves[0]], [1, 1]) == 0
    # a curve that stopped early keeps its last value
    short = pd.DataFrame({"epoch": [1], "lwlrap": [0.4]})
    assert epoch_optimism([curves[0], short], [1, 1]) == pytest.approx(0.0)
    assert epoch_optimism([curves[1], short], [1, 1]) == pytest.approx((0.7 - 0.2) / 2)
    assert math.isnan(epoch_optimism([short], [3]))


def test_geometric_mean_of_the_published_system(shared):
    """In argus-freesound's a single probability of zero rules a class out."""
    case = np.load(shared / "golden" / "12_gmean.npz")
    ours, theirs = geometric_mean(case["in_probs"]), case["out"]
    small = (case["in_probs"] < TINY).any(axis=0)
    assert small.any()
    np.testing.assert_allclose(ours[~small], theirs[~small], rtol=1e-10)
    # theirs is 0 where any table is; ours raises such values to the least normal float32 first
    zero = (case["in_probs"] == 0).any(axis=0)
    assert (theirs[zero] == 0).all()
    assert (ours[small] < 1e-11).all()
    assert (ours[small] > 0).all()


def test_geometric_mean_refuses_what_is_no_probability():
    with pytest.raises(ValueError, match="at least one"):
        geometric_mean(np.zeros((0, 3)))
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        geometric_mean([[0.5, np.nan]])
