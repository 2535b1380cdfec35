"""The exact search beside brute force with scikit-learn and exact fractions."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import label_ranking_average_precision_score

from raytag.blends.kernel import upper_bounds
from raytag.blends.means import BLENDS
from raytag.blends.means.base import blend_scores
from raytag.blends.pairs import log_probabilities, reduce_pairs
from raytag.blends.scorer import Scorer
from raytag.blends.subsets import Board, Found, Objective, merge, search_trees
from raytag.blends.trees import Tree, count_subsets, plan_trees, tree_at
from raytag.ensemble import search_subsets
from tests.blends.problems import exact_lwlrap, problems
from tests.ensemble.fakes import simulate


def brute_force(logs, targets, sizes):
    """Every subset with its exact score, in the order that `search_subsets` promises."""
    found = []
    for size in sizes:
        for members in itertools.combinations(range(len(logs)), size):
            found.append((-exact_lwlrap(targets, logs[list(members)].sum(axis=0)), size, members))
    return [(members, float(-score)) for score, _, members in sorted(found)]


def check(probabilities, targets, sizes, top=None, blend="geometric"):
    expected = brute_force(blend_scores(probabilities, blend), targets, sizes)
    top = len(expected) if top is None else top
    with np.errstate(divide="ignore"):
        logs = np.log(probabilities.astype(np.float64))
    result = search_subsets(logs, targets, sizes, top, blend)
    assert list(result["members"]) == [members for members, _ in expected[:top]]
    assert list(result["score"]) == [score for _, score in expected[:top]]


@pytest.mark.parametrize("size", range(1, 11))
def test_equals_brute_force_for_ten_models_at_every_size(size):
    """How argus-freesound chose its seven models: the script was not published."""
    check(*simulate(10, 24, 6, own=1.5, signal=1.5), [size])


def test_scores_are_those_of_scikit_learn():
    probabilities, targets = simulate(6, 60, 8, own=1.5)
    result = search_subsets(np.log(probabilities), targets, range(1, 7), 63)
    assert len(result) == 63
    for row in result.itertuples():
        blend = np.log(probabilities.astype(float))[list(row.members)].sum(axis=0)
        score = label_ranking_average_precision_score(targets, blend, sample_weight=targets.sum(axis=1))
        assert row.score == pytest.approx(score, abs=1e-12)


@settings(deadline=None, max_examples=150)
@given(problems(), st.integers(1, 40), st.sampled_from(list(BLENDS)))
def test_equals_brute_force_whatever_the_predictions(problem, top, blend):
    probabilities, targets = problem
    check(probabilities, targets, range(1, len(probabilities) + 1), min(top, 2 ** len(probabilities) - 1), blend)


@pytest.mark.parametrize("blend", BLENDS)
def test_equals_brute_force_with_every_blend_of_eight_models(blend):
    check(*simulate(8, 30, 7, own=1.5, signal=1.5, seed=3), range(1, 9), 100, blend)


def test_ranks_of_more_classes_than_scores_reach():
    probabilities, targets = simulate(4, 12, 300, own=2.0, signal=2.0)
    check(np.round(probabilities, 2), targets, [2, 3], blend="rank")


@settings(deadline=None, max_examples=60)
@given(problems(), st.sampled_from(list(BLENDS)), st.data())
def test_bounds_hold_for_every_subset_of_every_tree(problem, blend, data):
    probabilities, targets = problem
    n = len(probabilities)
    parts = np.arange(len(targets)) % 3
    pairs = reduce_pairs(blend_scores(probabilities, blend), targets, parts)
    scorer = Scorer(pairs)
    size = data.draw(st.integers(1, n))
    for tree in plan_trees(n, [size], data.draw(st.integers(1, 20))):
        if tree.size == 1:
            continue
        bounds, all_equal = upper_bounds(pairs, tree)
        exact = np.array([scorer.sums(tree.members(i)) for i in range(tree.size)]).T / scorer.scale
        assert (bounds >= exact).all()
        assert not all_equal or (exact == exact[:, :1]).all()


def test_bounds_are_tight():
    probabilities, targets = simulate(12, 400, 20)
    pairs = reduce_pairs(log_probabilities(probabilities), targets)
    scorer, tree = Scorer(pairs), Tree((), 0, 5, 12)
    bounds = upper_bounds(pairs, tree)[0][0] / len(pairs.hits)
    exact = np.array([scorer.lwlrap(scorer.sums(tree.members(i))) for i in range(tree.size)])
    assert (bounds - exact).mean() < 1e-4
    assert (bounds - exact).max() < 5e-3  # two labels of 480, one rank each


def test_models_that_contradict_each_other_beyond_int16():
    """Margins of 1e-9 beside margins of 80: no common scale shows both."""
    rng = np.random.default_rng(0)
    probabilities = rng.random((7, 30, 5)) * 1e-9 + 0.5
    probabilities[:3][rng.random((3, 30, 5)) < 0.3] = 1e-36
    targets = (rng.random((30, 5)) < 0.3).astype(np.float32)
    targets[0, 0] = 1
    check(probabilities, targets, range(1, 8))


def test_copies_of_one_model_are_ordered_by_number_and_cost_nothing():
    one, targets = simulate(1, 200, 10, own=2.0)
    result = search_subsets(np.log(np.repeat(one, 20, axis=0)), targets, range(1, 20), 25)
    assert list(result["members"][:21]) == [*((m,) for m in range(20)), (0, 1)]
    assert result["score"].nunique() == 1


def test_many_classes():
    check(*simulate(5, 20, 150, own=2.0, signal=2.0), [2, 3])


@pytest.mark.parametrize("limit", [1, 7, 50, 10_000])
def test_however_the_tree_is_cut_the_result_is_the_same(limit):
    probabilities, targets = simulate(9, 40, 6, own=1.5, signal=1.0)
    pairs = reduce_pairs(log_probabilities(probabilities), targets, np.arange(40) % 4)
    objectives = [Objective((0, 1, 2, 3), 25), Objective((0, 2), 3)]
    trees = plan_trees(9, [3, 4, 7], limit)
    assert sum(tree.size for tree in trees) == count_subsets(9, [3, 4, 7])
    whole = search_trees(pairs, plan_trees(9, [3, 4, 7], 10**9), objectives)
    third = len(trees) // 3 + 1
    shards = [search_trees(pairs, trees[i : i + third], objectives) for i in range(0, len(trees), third)]
    for merged in (merge(shards), merge(shards[::-1])):
        assert [list(board) for board in merged] == [list(board) for board in whole]


@settings(deadline=None, max_examples=40)
@given(problems(), st.integers(1, 30), st.data())
def test_boards_of_one_size_hold_its_best(problem, limit, data):
    probabilities, targets = problem
    n = len(probabilities)
    pairs = reduce_pairs(blend_scores(probabilities), targets, np.arange(len(targets)) % 2)
    scorer = Scorer(pairs)
    parts = data.draw(st.sampled_from([(0,), tuple(range(pairs.n_parts))]))
    keep = data.draw(st.integers(1, 4))
    sizes = sorted(data.draw(st.sets(st.integers(1, n), min_size=1)))
    objectives = [Objective(parts, keep), *(Objective(parts, keep, size) for size in range(1, n + 2))]
    for board in search_trees(pairs, plan_trees(n, sizes, limit), objectives):
        asked = [size for size in sizes if board.objective.size in (None, size)]
        subsets = [members for size in asked for members in itertools.combinations(range(n), size)]
        subsets.sort(key=lambda members: (-scorer.total(scorer.sums(members), parts), len(members), members))
        assert [found.members for found in board] == subsets[:keep]


def test_trees_number_their_subsets_in_lexicographic_order():
    for tree in plan_trees(8, [1, 4, 8], 9):
        expected = [(*tree.prefix, *rest) for rest in itertools.combinations(range(tree.start, 8), tree.choose)]
        assert [tree.members(i) for i in range(tree.size)] == expected
    assert sorted(m for t in plan_trees(8, [4], 9) for m in map(t.members, range(t.size))) == sorted(
        itertools.combinations(range(8), 4)
    )


def test_a_board_orders_equals_by_size_and_then_by_members():
    board = Board(Objective((0,), 3))
    for members in [(2, 3), (0, 1, 2), (1, 2), (4,), (0, 5)]:
        board.offer(Found(members, (7,)))
    board.offer(Found((0, 1, 2, 3), (8,)))
    board.offer(Found((4,), (7,)))  # a second time
    assert [f.members for f in board] == [(0, 1, 2, 3), (4,), (0, 5)]


def test_pairs_on_which_models_agree_are_counted_once():
    probabilities = np.array([[[0.9, 0.5, 0.1]], [[0.8, 0.3, 0.2]]], np.float32)
    pairs = reduce_pairs(log_probabilities(probabilities), [[0, 1, 0]])
    assert pairs.margins.shape == (2, 0)
    assert pairs.rank.tolist() == [2]
    assert pairs.n_tested == 2


def test_zero_and_one_are_no_infinities():
    probabilities = np.array([[[0.0, 1.0]], [[1.0, 0.0]], [[0.0, 0.0]]], np.float32)
    with np.errstate(divide="ignore"):
        logs = np.log(probabilities)
    result = search_subsets(logs, [[1, 0]], [1, 2, 3], 7)
    assert np.isfinite(result["score"]).all()
    assert result["members"][0] == (1,)
    # sum of (1, 0) and (0, 1) is a tie, and a tie counts against the label
    assert result.set_index("members")["score"].loc[[(0, 1)]].item() == 0.5


def test_a_tree_is_found_by_the_number_of_its_subset():
    place = 0
    for tree in plan_trees(9, [4], 12):
        for index in {place, place + tree.size - 1}:
            assert tree_at(9, 4, index, 12) == tree
        place += tree.size


def test_a_seven_of_twenty_search_finds_the_planted_subset():
    rng = np.random.default_rng(5)
    probabilities, targets = simulate(20, 300, 12, own=2.5, seed=5)
    planted = np.sort(rng.choice(20, 7, replace=False))
    # errors of the planted models cancel out
    noise = rng.normal(size=(7, *targets.shape))
    noise -= noise.mean(axis=0)
    logits = 4 * targets + 6 * noise - 2
    probabilities[planted] = 1 / (1 + np.exp(-logits))
    result = search_subsets(np.log(np.maximum(probabilities, 1e-38)), targets, 7, 3)
    assert result["members"][0] == tuple(planted)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sizes": [0]}, "sizes go from 1 to 3"),
        ({"sizes": 4}, "cannot choose 4 of 3"),
        ({"sizes": []}, "at least one subset size"),
        ({"top": 0}, "top must be at least 1"),
        ({"log_probs": np.full((3, 2, 2), 0.5)}, "np.log"),
        ({"log_probs": np.full((3, 2, 2), np.nan)}, "NaN"),
        ({"log_probs": np.zeros((2, 2))}, "n_models, n_clips, n_classes"),
        ({"blend": "median"}, "geometric, arithmetic, rank"),
        ({"targets": np.zeros((2, 2))}, "no clip has a label"),
        ({"targets": np.full((2, 2), 0.5)}, "0 or 1"),
        ({"targets": np.ones((2, 3))}, r"\(2, 2\)"),
    ],
)
def test_wrong_arguments_are_named(change, words):
    arguments = {"log_probs": np.full((3, 2, 2), -1.0), "targets": np.eye(2), "sizes": 2, "top": 1} | change
    with pytest.raises(ValueError, match=words):
        search_subsets(**arguments)


def test_probabilities_outside_zero_to_one_are_refused():
    for wrong in (np.nan, -0.1, 1.1):
        with pytest.raises(ValueError, match=r"\[0, 1\]"):
            log_probabilities([0.5, wrong])


def test_sums_do_not_depend_on_their_order():
    """The tie of three models that vote in a circle is a tie in whatever order they are added."""
    p = np.array([0.3, 0.6, 0.7])
    logs = log_probabilities(np.stack([np.roll(p, k) for k in range(3)]))[:, None]
    for order in itertools.permutations(range(3)):
        total = logs[list(order)].sum(axis=0)
        assert len(set(total[0])) == 1
    assert math.isclose(search_subsets(logs, [[1, 0, 0]], 3, 1)["score"][0], 1 / 3)
