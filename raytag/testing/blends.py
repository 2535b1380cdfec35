"""The contracts of a mean (`raytag.blends.means`) and of a way to choose a blend (`raytag.ensemble.choose`)."""

from __future__ import annotations

import numpy as np

from raytag.blends.means.base import blend, blend_scores
from raytag.blends.pairs import GRID, MOST_MEMBERS, SCORE_RANGE, log_probabilities, reduce_pairs
from raytag.blends.scorer import Scorer
from raytag.blends.subsets import Found
from raytag.ensemble.choose.ways import Way


def check_mean(kind: str) -> None:
    """Hold a mean in the table to its contract.

    Raises
    ------
    AssertionError
        The mean breaks it; the message says how.
    """
    rng = np.random.default_rng(0)
    for shape in ((3, 5, 7), (2, 3, 1), (2, 3, 300)):
        values = rng.random(shape, np.float32)
        values[0, 0], values[1, 1] = 0.0, 1.0
        scores = blend_scores(values, kind)
        assert scores.shape == shape, f"scores of {shape} have shape {scores.shape}"
        assert scores.dtype == np.float64, f"scores are {scores.dtype}"
        assert (scores / GRID == np.rint(scores / GRID)).all(), f"scores are no multiples of {GRID}"
        assert max(np.abs(scores).max(), np.ptp(scores)) <= SCORE_RANGE, f"scores leave a range of {SCORE_RANGE:g}"
    values = np.round(rng.random((5, 40, 9), np.float32) * 50) / np.float32(50)
    values[:, :, 0] = values[:, :, 1]
    total, result = blend_scores(values, kind).sum(axis=0), blend(values, kind)
    assert ((result >= 0) & (result <= 1)).all(), "a blend leaves [0, 1]"
    assert (result[:, 0] == result[:, 1]).all(), "what ties in every model does not tie in the blend"
    wanted, found = (np.argsort(v, axis=1, kind="stable") for v in (total, result))
    assert np.array_equal(wanted, found), "the blend ranks other than the sum of its scores"
    assert np.array_equal(blend(values[::-1], kind), result), "the order of models matters"
    assert np.array_equal(blend(values[:, :, ::-1], kind), result[:, ::-1]), "the order of classes matters"
    repeated = blend(values[[0, 2, 0]], kind)
    assert np.array_equal(blend(values[:3], kind, [2, 0, 1]), repeated), "weights are not repeats"
    assert np.allclose(blend(values[:3], kind, [0.5, 0, 0.25]), repeated, rtol=1e-12), "the weights' scale matters"
    values[0, 0, 0] = np.nan
    try:
        blend_scores(values, kind)
    except ValueError:
        return
    raise AssertionError("NaN is accepted")


def check_way(way: Way) -> None:
    """Hold a first-level way to its contract.

    Raises
    ------
    AssertionError
        The way breaks it; the message says how.
    """
    rng = np.random.default_rng(0)
    targets = (rng.random((40, 5)) < 0.3).astype(np.float32)
    logits = 1.5 * targets + rng.normal(0, 1.5, (6, 40, 5))
    scores, part = log_probabilities((1 / (1 + np.exp(-logits))).astype(np.float32)), np.arange(40) % 3
    scorer, parts = Scorer(reduce_pairs(scores, targets, part)), (0, 1)
    start = Found((0, 1), tuple(scorer.sums((0, 1))))
    found = way.choose(scorer, parts, start)
    members = list(found.members)
    assert members, "nothing is chosen"
    assert set(members) <= set(range(6)), f"members {members} are not among the models 0..5"
    assert len(members) <= MOST_MEMBERS, f"more than {MOST_MEMBERS} members cannot be summed exactly"
    assert found.sums == tuple(scorer.sums(members)), "the score that it states is not that of its members"
    assert way.choose(scorer, parts, start) == found, "a second call chooses something else"
    hidden = targets.copy()
    hidden[part == 2] = 1 - hidden[part == 2]
    other = way.choose(Scorer(reduce_pairs(scores, hidden, part)), parts, start)
    assert other.members == found.members, "labels of a fold that is left out change the choice"
    order = rng.permutation(40)
    moved = Scorer(reduce_pairs(scores[:, order], targets[order], part[order]))
    assert way.choose(moved, parts, start).members == found.members, "the order of clips changes the choice"
