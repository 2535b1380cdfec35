"""Greedy selection and the fast scoring of neighbours, beside the plain way."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raytag.blends.greedy import FEW, best_few, best_single, greedy_selection, greedy_subset
from raytag.blends.means import BLENDS
from raytag.blends.means.base import blend_scores
from raytag.blends.pairs import reduce_pairs
from raytag.blends.scorer import FIXED, Scorer
from tests.blends.problems import problems
from tests.ensemble.fakes import simulate


def scorer_of(problem, blend="geometric", n_parts=3):
    probabilities, targets = problem
    return Scorer(reduce_pairs(blend_scores(probabilities, blend), targets, np.arange(len(targets)) % n_parts))


@settings(deadline=None, max_examples=40)
@given(problems(), st.sampled_from(list(BLENDS)), st.data())
def test_fixed_point_scores_are_within_a_unit_a_label(problem, blend, data):
    scorer = scorer_of(problem, blend)
    n = scorer.pairs.n_models
    parts = data.draw(st.sampled_from([[0], list(range(scorer.pairs.n_parts))]))
    bags = data.draw(st.lists(st.lists(st.integers(0, n - 1), max_size=4), min_size=1, max_size=3))
    scores = scorer.additions(np.stack([scorer.margin_sum(bag) for bag in bags]), parts)
    exact = np.array(
        [[scorer.total(scorer.sums([*bag, m]), parts) / scorer.scale for m in range(n)] for bag in bags]
    )
    assert np.abs(scores / FIXED - exact).max() <= len(scorer.pairs.hits) / FIXED + 1e-13
    best = max(scorer.total(scorer.sums([*bags[0], m]), parts) for m in range(n))
    winners = [m for m in range(n) if scorer.total(scorer.sums([*bags[0], m]), parts) == best]
    assert set(winners) <= set(scorer.leaders(scores[0]).tolist())


@settings(deadline=None, max_examples=30)
@given(problems(), st.sampled_from(list(BLENDS)), st.integers(1, 6))
def test_greedy_selection_is_that_of_the_plain_way(problem, blend, bag):
    scorer = scorer_of(problem, blend)
    parts, models = list(range(scorer.pairs.n_parts)), range(scorer.pairs.n_models)

    def total(members):
        return scorer.total(scorer.sums(members), parts)

    members: tuple[int, ...] = ()
    moments = []
    for _ in range(bag):
        members = max(((*members, m) for m in models), key=total)
        moments.append(members)
    found = greedy_selection(scorer, parts, bag)
    assert found.members == max(moments, key=total)
    assert found.sums == tuple(scorer.sums(found.members))
    assert best_single(scorer, parts).members == max(((m,) for m in models), key=total)


def test_greedy_without_replacement_takes_each_model_once():
    scorer = scorer_of(simulate(6, 40, 5, own=1.5))
    found = greedy_subset(scorer, [0, 1, 2], 6)
    assert found.members == tuple(range(6))
    assert found.sums == tuple(scorer.sums(range(6)))


@pytest.mark.parametrize("bag", [0, 1001])
def test_wrong_bags_are_named(bag):
    with pytest.raises(ValueError, match="bag"):
        greedy_selection(scorer_of(simulate(2, 8, 3)), [0], bag)


@settings(deadline=None, max_examples=30)
@given(problems(), st.sampled_from(list(BLENDS)))
def test_the_best_few_are_the_first_of_a_ranking_by_themselves(problem, blend):
    scorer = scorer_of(problem, blend)
    parts = list(range(scorer.pairs.n_parts))

    def total(members):
        return scorer.total(scorer.sums(members), parts)

    ranked = sorted(range(scorer.pairs.n_models), key=lambda m: (-total((m,)), m))
    options = [tuple(sorted(ranked[:n])) for n in range(2, FEW + 1) if n <= len(ranked)] or [(0,)]
    found = best_few(scorer, parts)
    assert found.members == max(options, key=total)  # of equals the first, which is the smallest
    assert found.sums == tuple(scorer.sums(found.members))
