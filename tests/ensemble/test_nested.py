"""Honest scores: nested choice, baselines, epoch optimism, geometric means."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raytag.ensemble.blend import geometric_mean
from raytag.ensemble.greedy import best_single, greedy_selection
from raytag.ensemble.nested import epoch_optimism, evaluate, objectives
from raytag.ensemble.pairs import TINY, log_probabilities, reduce_pairs
from raytag.ensemble.scoring import Scorer
from raytag.ensemble.subsets import search_trees
from raytag.ensemble.trees import plan
from raytag.metrics import lwlrap
from tests.ensemble.fakes import simulate


def nested_search(probabilities, targets, fold, sizes):
    pairs = reduce_pairs(log_probabilities(probabilities), targets, fold)
    scorer = Scorer(pairs)
    boards = search_trees(pairs, plan(pairs.n_models, sizes, 10**6), objectives(pairs.n_parts, 1))
    final, *without = [next(iter(board)) for board in boards]
    return scorer, final, evaluate(scorer, final, without)


def test_nested_repeats_the_choice_without_each_fold():
    probabilities, targets = simulate(6, 80, 5, own=1.5, signal=1.0)
    fold = np.arange(80) % 4
    logs = log_probabilities(probabilities)
    _, final, nested = nested_search(probabilities, targets, fold, [1, 2, 3])
    subsets = [c for size in (1, 2, 3) for c in itertools.combinations(range(6), size)]

    def score(members, rows):
        return lwlrap(targets[rows], logs[list(members)].sum(axis=0)[rows])

    assert score(final.members, fold >= 0) == pytest.approx(max(score(s, fold >= 0) for s in subsets))
    left_out = np.zeros_like(targets)
    for k, members in enumerate(nested.chosen):
        assert score(members, fold != k) == pytest.approx(max(score(s, fold != k) for s in subsets))
        left_out[fold == k] = logs[list(members)].sum(axis=0)[fold == k]
    assert nested.nested == pytest.approx(lwlrap(targets, left_out), abs=1e-12)
    assert nested.in_sample == pytest.approx(lwlrap(targets, logs[list(final.members)].sum(axis=0)), abs=1e-12)
    assert nested.optimism == nested.in_sample - nested.nested
    counts = {m: sum(m in chosen for chosen in nested.chosen) / 4 for m in range(6)}
    assert nested.frequency == {m: share for m, share in counts.items() if share}


def test_on_noise_the_best_subset_is_lucky_and_nested_is_at_chance():
    rng = np.random.default_rng(0)
    n_clips, n_classes = 200, 8
    probabilities = rng.random((12, n_clips, n_classes)).astype(np.float32)
    targets = np.eye(n_classes, dtype=np.float32)[rng.integers(0, n_classes, n_clips)]
    _, _, nested = nested_search(probabilities, targets, np.arange(n_clips) % 4, range(1, 8))
    chance = np.mean([1 / rank for rank in range(1, n_classes + 1)])
    assert nested.optimism > 0.03
    assert nested.in_sample > chance + 0.03
    assert abs(nested.nested - chance) < 0.06  # about three standard errors


def test_a_single_fold_cannot_be_left_out():
    probabilities, targets = simulate(3, 20, 4)
    _, _, nested = nested_search(probabilities, targets, np.zeros(20, int), [1, 2])
    assert math.isnan(nested.nested)
    assert nested.in_sample > 0


def test_a_fold_without_labels_changes_nothing():
    probabilities, targets = simulate(5, 60, 4, own=2.0)
    fold = np.arange(60) % 3
    with_empty = np.where(fold == 1, 3, fold)  # fold 1 is empty now
    targets_of = {0: fold, 1: with_empty}
    a, b = (nested_search(probabilities, targets, f, [1, 2, 3])[2] for f in targets_of.values())
    assert (a.in_sample, a.nested) == (b.in_sample, b.nested)


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
