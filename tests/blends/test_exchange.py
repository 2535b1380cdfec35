"""The search by exchange, beside brute force over its neighbourhood."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raytag.blends.exchange import best_exchange, swap_search
from raytag.blends.greedy import greedy_subset
from raytag.blends.means import BLENDS
from raytag.blends.means.base import blend_scores
from raytag.blends.pairs import reduce_pairs
from raytag.blends.scorer import Scorer
from raytag.blends.subsets import Found
from tests.blends.problems import problems
from tests.ensemble.fakes import simulate


def neighbours(members, n_models):
    others = [m for m in range(n_models) if m not in members]
    return [tuple(sorted({*members, new} - {out})) for out in members for new in others]


def totals(scorer, subsets, parts):
    return {members: scorer.total(scorer.sums(members), parts) for members in subsets}


@settings(deadline=None, max_examples=50)
@given(problems(), st.sampled_from(list(BLENDS)), st.data())
def test_the_best_exchange_is_that_of_brute_force(problem, blend, data):
    probabilities, targets = problem
    n = len(probabilities)
    scorer = Scorer(reduce_pairs(blend_scores(probabilities, blend), targets, np.arange(len(targets)) % 2))
    parts = data.draw(st.sampled_from([[0], list(range(scorer.pairs.n_parts))]))
    members = tuple(sorted(data.draw(st.sets(st.integers(0, n - 1), min_size=1))))
    found = best_exchange(scorer, parts, Found(members, tuple(scorer.sums(members))))
    around = totals(scorer, neighbours(members, n), parts)
    best = min(around, key=lambda m: (-around[m], m), default=None)
    if best is None or around[best] <= scorer.total(scorer.sums(members), parts):
        assert found is None
    else:
        assert found == Found(best, tuple(scorer.sums(best)))


@settings(deadline=None, max_examples=25)
@given(problems(), st.integers(0, 3), st.data())
def test_ends_where_no_exchange_helps(problem, seed, data):
    probabilities, targets = problem
    n = len(probabilities)
    scorer = Scorer(reduce_pairs(blend_scores(probabilities), targets))
    size = data.draw(st.integers(1, n))
    found = swap_search(scorer, [0], size, starts=3, seed=seed)
    assert len(set(found.members)) == size
    assert list(found.members) == sorted(found.members)
    assert found.sums == tuple(scorer.sums(found.members))
    around = totals(scorer, neighbours(found.members, n), [0])
    assert max(around.values(), default=0) <= found.sums[0]
    assert found.sums[0] >= greedy_subset(scorer, [0], size).sums[0]


def test_finds_the_best_subset_where_greedy_does_not():
    probabilities, targets = simulate(12, 80, 6, own=2.0, signal=1.5, seed=2)
    scorer = Scorer(reduce_pairs(blend_scores(probabilities), targets))
    best = max(itertools.combinations(range(12), 4), key=lambda members: scorer.sums(members)[0])
    found = swap_search(scorer, [0], 4)
    assert found.sums[0] == scorer.sums(best)[0] > greedy_subset(scorer, [0], 4).sums[0]
    assert found == swap_search(scorer, [0], 4)


def test_sees_only_its_parts():
    probabilities, targets = simulate(8, 60, 6, own=2.0, signal=1.5)
    parts = np.arange(60) % 3
    changed = np.where((parts == 2)[:, None], np.roll(targets, 1, axis=1), targets)
    found = [
        swap_search(Scorer(reduce_pairs(blend_scores(probabilities), t, parts)), [0, 1], 3).members
        for t in (targets, changed)
    ]
    assert found[0] == found[1]


def test_wrong_arguments_are_named():
    scorer = Scorer(reduce_pairs(blend_scores(simulate(3, 8, 4)[0]), simulate(3, 8, 4)[1]))
    with pytest.raises(ValueError, match="cannot choose 4 of 3"):
        swap_search(scorer, [0], 4)
    with pytest.raises(ValueError, match="starts"):
        swap_search(scorer, [0], 2, starts=0)
