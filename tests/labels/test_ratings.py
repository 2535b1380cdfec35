"""How labels agree with predictions, and which clips are trusted."""

from __future__ import annotations

import numpy as np
import pytest

from raytag.blends.means.base import geometric_mean
from raytag.labels.ratings import predicted_words, rated, summed, table, trusted
from raytag.metrics import clip_precisions


def test_each_clip_gets_the_geometric_mean_of_the_models_that_predict_it():
    rng = np.random.default_rng(0)
    p = rng.uniform(0.01, 0.99, (3, 5, 4)).astype(np.float32)
    rows = [np.array([0, 1, 3]), np.array([1, 3]), np.array([3, 4])]
    logs, models = summed(((own, p[m][own]) for m, own in enumerate(rows)), 5, 4)
    assert models.tolist() == [1, 2, 0, 3, 1]
    np.testing.assert_allclose(np.exp(logs[1]), geometric_mean(p[:2, 1]), rtol=1e-6)
    np.testing.assert_allclose(np.exp(logs[3]), geometric_mean(p[:, 3]), rtol=1e-6)
    np.testing.assert_allclose(np.exp(logs[4]), p[2, 4], rtol=1e-6)
    targets = np.eye(4, dtype=np.float32)[[0, 1, 2, 3, 0]]
    scores, _, _ = rated(targets, logs)
    np.testing.assert_array_equal(
        scores[[0, 4]], clip_precisions(targets, np.stack([p[0, 0]] * 4 + [p[2, 4]]))[[0, 4]]
    )


def test_clips_are_ranked_by_how_far_the_least_likely_label_stands_above_the_rest():
    p = np.array(
        [[0.9, 0.1, 0.1], [0.99, 0.1, 0.1], [0.2, 0.8, 0.1], [0.9, 0.1, 0.1], [0.9, 0.5, 0.1], [0.9, 0.2, 0.1]]
    )
    targets = np.array([[1, 0, 0]] * 4 + [[1, 1, 0], [1, 1, 1]], np.float32)
    scores, margins, order = rated(targets, np.log(p))
    assert scores.tolist() == [1, 1, 0.5, 1, 1, 1]
    expected = np.log([9, 9.9, 0.25, 9, 5])
    np.testing.assert_allclose(margins[:5], expected)
    assert np.isfinite(margins[5])  # it has all labels
    assert margins[5] > margins[:5].max()
    assert order.tolist() == [5, 1, 0, 3, 4, 2]
    assert table(list("abcd"), ["x"] * 4, scores[:4], order[[1, 2, 3, 5]], models=[4, 3, 2, 1]).values.tolist() == [
        ["b", "x", 1.0, 3],
        ["a", "x", 1.0, 4],
        ["d", "x", 1.0, 1],
        ["c", "x", 0.5, 2],
    ]
    assert predicted_words(np.log(p[2:3]), ("x", "y", "z")) == ["y 0.80, x 0.20, z 0.10"]


def test_a_margin_is_above_zero_exactly_where_the_score_is_one():
    rng = np.random.default_rng(0)
    targets = (rng.random((300, 6)) < 0.3).astype(np.float32)
    targets[~targets.any(axis=1), 0] = 1
    scores, margins, _ = rated(targets, np.log(rng.random((300, 6))))
    assert 0.05 < (scores == 1).mean() < 0.95
    np.testing.assert_array_equal(scores == 1, margins > 0)


@pytest.mark.parametrize(
    ("how", "kept"),
    [
        ({"share": 0.4}, [1, 2]),
        ({"share": 0.01}, [1]),
        ({"share": 1}, [0, 1, 2, 3, 4]),
        ({"count": 3}, [0, 1, 2]),
        ({"above": 0.5}, [1, 2]),
    ],
)
def test_the_best_are_trusted_and_of_equal_ones_the_first(how, kept):
    assert np.flatnonzero(trusted([0.5, 1.0, 1.0, 0.5, 0.2], **how)).tolist() == kept


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"share": 0}, "--share 0:"),
        ({"share": 1.1}, "--share 1.1:"),
        ({"count": 0}, "--count 0: there are 2"),
        ({"count": 3}, "--count 3: there are 2"),
        ({"above": 1.0}, "the highest is 1"),
        ({}, "one of"),
        ({"share": 0.5, "count": 1}, "one of"),
    ],
)
def test_what_keeps_nothing_or_means_nothing_is_refused(how, words):
    with pytest.raises(ValueError, match=words):
        trusted([1.0, 0.5], **how)
