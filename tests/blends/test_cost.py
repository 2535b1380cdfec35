"""The cost of a search, its shards, and what is promised where it costs too much."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raytag.blends import cost
from raytag.blends.cost import Speed, make_shards, measure_speed, score_bound, split_sizes
from raytag.blends.means import BLENDS
from raytag.blends.means.base import blend_scores
from raytag.blends.pairs import reduce_pairs
from raytag.blends.scorer import Scorer
from raytag.blends.subsets import TREE_LIMIT
from raytag.blends.trees import count_subsets, plan_trees
from tests.blends.problems import problems
from tests.ensemble.fakes import simulate


@pytest.mark.parametrize(
    "speed",
    [Speed(1e-4, 1e-6), Speed(1e-3, 1e-2), Speed(0.05, 3.0), Speed(1.0, 1.0, {2: (1e-3, 1e-3), 5: (1e-2, 0.3)})],
)
@pytest.mark.parametrize("slots", [1, 2, 16])
def test_shards_hold_every_subset_once(speed, slots):
    shards = make_shards(11, (2, 3, 5), speed, slots)
    trees = [tree for shard in shards for tree in shard]
    members = [tree.members(i) for tree in trees for i in range(tree.size)]
    assert len(members) == len(set(members)) == count_subsets(11, (2, 3, 5))
    assert all(shards)
    assert len(shards) >= min(slots, 2)


def test_long_searches_are_cut_into_shards_of_seconds():
    speed = Speed(0.02, 1e-6)
    costs = [speed.seconds(shard) for shard in make_shards(36, range(1, 8), speed, 2)]
    assert 2 * cost.SHARDS_PER_SLOT <= len(costs) <= 20
    assert max(costs) < 2 * cost.SHARD_SECONDS


def test_short_searches_are_cut_into_one_shard_a_slot():
    assert len(make_shards(12, range(1, 8), Speed(1e-3, 1e-6), 2)) == 2


def test_no_sizes_no_shards():
    assert make_shards(12, (), Speed(1e-3, 1e-6), 2) == []


def test_sizes_that_were_not_timed_lie_between_those_that_were():
    speed = Speed(9.0, 9.0, {2: (1.0, 10.0), 6: (3.0, 30.0)})
    assert [speed.of_size(size) for size in (1, 2, 4, 6, 9)] == [
        (1.0, 10.0), (1.0, 10.0), (2.0, 20.0), (3.0, 30.0), (3.0, 30.0)
    ]  # fmt: skip
    assert speed.seconds(plan_trees(8, [2, 4], 10**6)) == 1 + 28 * 10 + 2 + 70 * 20
    assert Speed(0.5, 2.0).seconds(plan_trees(8, [2], 10**6)) == 0.5 + 28 * 2


def test_measured_speed_covers_every_size_and_names_its_cost():
    probabilities, targets = simulate(10, 120, 8)
    pairs = reduce_pairs(blend_scores(probabilities), targets, np.arange(120) % 3)
    speed = measure_speed(pairs, range(1, 11))
    assert {1, 5, 10} <= set(speed.by_size)
    assert len(speed.by_size) <= cost.TIMED_SIZES + 1
    assert all(0 < a < 1 and 0 < b < 1e-2 for a, b in map(speed.of_size, range(1, 11)))
    assert (speed.per_tree, speed.per_subset) == speed.by_size[5]  # the commonest size
    assert measure_speed(reduce_pairs(blend_scores(probabilities[:1]), targets), [1]).per_subset > 0
    # of astronomically many subsets none is listed
    many = reduce_pairs(blend_scores(simulate(50, 4, 3)[0]), simulate(50, 4, 3)[1])
    assert measure_speed(many, [25]).per_subset > 0


@given(st.integers(1, 12), st.floats(0, 1.0), st.integers(1, 4), st.data())
@settings(max_examples=60)
def test_the_cheapest_sizes_that_fit_are_searched_exactly(n_models, budget, slots, data):
    sizes = sorted(data.draw(st.sets(st.integers(1, n_models), min_size=1)))
    speed = Speed(1e-2, 1e-3, {1: (1e-2, 1e-3), 12: (2e-2, 3e-3)})
    exact, other = split_sizes(n_models, sizes, speed, slots, budget)
    assert sorted((*exact, *other)) == sizes
    assert all(list(part) == sorted(part) for part in (exact, other))
    cost = {size: speed.seconds(plan_trees(n_models, [size], TREE_LIMIT)) for size in sizes}
    assert sum(cost[size] for size in exact) <= budget * slots * (1 + 1e-9)
    if other:
        cheapest = min(cost[size] for size in other)
        assert sum(cost[size] for size in exact) + cheapest > budget * slots * (1 - 1e-9)
        assert all(cost[size] <= cheapest for size in exact)


def test_sizes_of_astronomically_many_subsets_are_not_listed():
    assert split_sizes(200, [1, 2, 100, 199], Speed(1e-3, 1e-6), 2, 60.0) == ((1, 2, 199), (100,))


@pytest.mark.parametrize(("budget", "slots"), [(-1.0, 2), (math.nan, 2), (1.0, 0)])
def test_budgets_that_make_no_sense(budget, slots):
    with pytest.raises(ValueError, match="budget must be at least 0 s and slots at least 1"):
        split_sizes(5, [2], Speed(1e-3, 1e-6), slots, budget)


@settings(deadline=None, max_examples=40)
@given(problems(), st.sampled_from(list(BLENDS)), st.data())
def test_no_weights_exceed_the_bound(problem, blend, data):
    probabilities, targets = problem
    n = len(probabilities)
    scorer = Scorer(reduce_pairs(blend_scores(probabilities, blend), targets, np.arange(len(targets)) % 2))
    parts = data.draw(st.sampled_from([[0], list(range(scorer.pairs.n_parts))]))
    bag = data.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=9))
    bound = score_bound(scorer, parts)
    assert scorer.lwlrap(scorer.sums(bag), parts) <= bound <= 1
    for size in range(1, n + 1):
        best = max(scorer.lwlrap(scorer.sums(m), parts) for m in itertools.combinations(range(n), size))
        assert best <= score_bound(scorer, parts, size) <= bound
    assert score_bound(scorer, parts, n) == scorer.lwlrap(scorer.sums(range(n)), parts)
    if n == 1:
        assert bound == scorer.lwlrap(scorer.sums([0]), parts)


def test_the_bound_is_what_each_label_could_reach_by_itself():
    # model 0 ranks the label first of three, model 1 last: some blend might rank it first
    probabilities = np.array([[[0.7, 0.2, 0.1]], [[0.1, 0.3, 0.6]]])
    scorer = Scorer(reduce_pairs(blend_scores(probabilities), [[1, 0, 0]]))
    assert score_bound(scorer, [0]) == 1.0
    # beside a second label that model 1 alone puts above: 2 of 2 when it is above, and 1 of 1 when not
    scorer = Scorer(reduce_pairs(blend_scores(probabilities[:, :, [0, 1]]), [[1, 1]]))
    assert score_bound(scorer, [0]) == 1.0
    scorer = Scorer(reduce_pairs(blend_scores(probabilities), [[0, 1, 0]]))
    assert score_bound(scorer, [0]) == 1.0
    scorer = Scorer(reduce_pairs(blend_scores(probabilities[:1]), [[0, 1, 0]]))
    assert score_bound(scorer, [0]) == 0.5
