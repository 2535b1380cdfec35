"""The weight search beside brute force along its lines."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raytag.blends import weights as module
from raytag.blends.greedy import greedy_selection
from raytag.blends.means import BLENDS
from raytag.blends.means.base import blend, blend_scores
from raytag.blends.pairs import MOST_MEMBERS, reduce_pairs
from raytag.blends.scorer import FIXED, Scorer
from raytag.blends.weights import line_scores, weight_search
from raytag.metrics import lwlrap
from tests.blends.problems import problems
from tests.ensemble.fakes import simulate


@settings(deadline=None, max_examples=60)
@given(problems(4), st.sampled_from(list(BLENDS)), st.data())
def test_a_line_search_is_trying_every_weight(problem, kind, data):
    probabilities, targets = problem
    n, most = len(probabilities), data.draw(st.sampled_from([1, 12, 60]))
    scorer = Scorer(reduce_pairs(blend_scores(probabilities, kind), targets, np.arange(len(targets)) % 2))
    parts = data.draw(st.sampled_from([[0], list(range(scorer.pairs.n_parts))]))
    weights = data.draw(st.lists(st.integers(0, 9), min_size=n, max_size=n))
    model = data.draw(st.integers(0, n - 1))
    rest = np.array([w * (m != model) for m, w in enumerate(weights)], float) @ scorer.pairs.margins
    scores, turned = line_scores(scorer, rest, model, most, scorer.labels_of(parts))
    sums = [rest + w * scorer.pairs.margins[model] for w in range(most + 1)]
    exact = [scorer.total(scorer.sums_of(s), parts) / scorer.scale for s in sums]
    assert np.abs(scores / FIXED - exact).max() <= len(scorer.pairs.hits) / FIXED + 1e-13
    wanted = np.repeat(scorer.labels_of(parts), np.diff(scorer.pairs.offsets))
    changes = [bool((((a <= 0) != (b <= 0)) & wanted).any()) for a, b in itertools.pairwise(sums)]
    assert turned.tolist() == [True, *changes]


@settings(deadline=None, max_examples=25)
@given(problems(4), st.sampled_from(list(BLENDS)), st.data())
def test_no_weight_can_be_improved_and_no_start_was_better(problem, kind, data):
    """Within a total of a thousand: 0, 0, 300, which is told as 0, 0, 1, may not become 0, 1200, 300."""
    probabilities, targets = problem
    n = len(probabilities)
    scorer = Scorer(reduce_pairs(blend_scores(probabilities, kind), targets))
    start = data.draw(st.none() | st.lists(st.integers(0, n - 1), min_size=1, max_size=5))
    with mock.patch.object(module, "_reduced", wraps=module._reduced) as reduced:
        found = weight_search(scorer, [0], start)
    assert found.sums == tuple(scorer.sums(found.members))
    assert list(found.members) == sorted(found.members)
    weights = np.array([found.members.count(m) for m in range(n)])
    assert math.gcd(*weights.tolist()) == 1
    assert weights.sum() <= MOST_MEMBERS
    starts = [greedy_selection(scorer, [0]).members, range(n), start or [0]]
    assert all(scorer.sums(members)[0] <= found.sums[0] for members in starts)
    ends = [call.args[0] for call in reduced.call_args_list[1::2]]  # the other calls are of starts
    scale = min(gcd for end in ends if (end == (gcd := math.gcd(*end.tolist())) * weights).all())
    for model in range(n):
        rest = weights @ scorer.pairs.margins - weights[model] * scorer.pairs.margins[model]
        others = weights.sum() - weights[model]
        for weight in range(0 if others else 1, min(39, MOST_MEMBERS // scale - others) + 1):
            assert scorer.sums_of(rest + weight * scorer.pairs.margins[model])[0] <= found.sums[0]


def test_weights_beat_equal_ones_and_score_as_their_blend_does():
    probabilities, targets = simulate(7, 150, 8, own=1.8, signal=1.5)
    parts = np.arange(150) % 3
    scorer = Scorer(reduce_pairs(blend_scores(probabilities), targets, parts))
    found = weight_search(scorer, [0, 1, 2], [0, 1])
    greedy = greedy_selection(scorer, [0, 1, 2])
    assert scorer.total(found.sums, [0, 1, 2]) > scorer.total(greedy.sums, [0, 1, 2])
    weights = [Counter(found.members)[m] for m in range(7)]
    assert scorer.lwlrap(found.sums) == pytest.approx(
        lwlrap(targets, blend(probabilities, weights=weights)), abs=1e-12
    )
    assert found == weight_search(scorer, [0, 1, 2], [0, 1])


def test_labels_of_other_parts_do_not_matter():
    probabilities, targets = simulate(6, 90, 6, own=2.0, signal=1.5)
    parts = np.arange(90) % 3
    changed = np.where((parts == 1)[:, None], np.roll(targets, 1, axis=1), targets)
    scores = blend_scores(probabilities)
    found = [weight_search(Scorer(reduce_pairs(scores, t, parts)), [0, 2]).members for t in (targets, changed)]
    assert found[0] == found[1]


@pytest.mark.parametrize("start", [[], [3], [-1], [0] * 1001])
def test_wrong_starts_are_named(start):
    scorer = Scorer(reduce_pairs(blend_scores(simulate(3, 8, 4)[0]), simulate(3, 8, 4)[1]))
    with pytest.raises(ValueError, match=r"start must name 1 to 1000 of the models 0\.\.2"):
        weight_search(scorer, [0], start)
