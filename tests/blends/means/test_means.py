"""Blends and the scores that they add up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import gmean, rankdata

from raytag.blends.means import BLENDS
from raytag.blends.means.base import blend, blend_scores, geometric_mean
from raytag.blends.pairs import reduce_pairs


def draw(seed, shape=(4, 9, 6), steps=None):
    values = np.random.default_rng(seed).random(shape, np.float32)
    return values if steps is None else np.round(values * steps) / steps


@given(st.integers(0, 10**6), st.sampled_from([None, 1, 4]))
@settings(deadline=None, max_examples=20)
def test_ranks_are_those_of_scipy(seed, steps):
    values = draw(seed, steps=steps)
    np.testing.assert_array_equal(blend_scores(values, "rank"), rankdata(values, axis=-1))
    np.testing.assert_allclose(blend(values, "rank"), rankdata(values, axis=-1).mean(axis=0) / 6, rtol=1e-15)


def test_means_are_those_of_numpy_and_scipy():
    values, weights = draw(1), [3, 0, 1, 2]
    np.testing.assert_allclose(blend(values), gmean(values.astype(float)), rtol=1e-10)
    expected = np.exp(np.average(np.log(values.astype(float)), axis=0, weights=weights))
    np.testing.assert_allclose(blend(values, weights=weights), expected, rtol=1e-10)
    np.testing.assert_allclose(blend(values, "arithmetic"), values.astype(float).mean(axis=0), atol=1e-13)
    np.testing.assert_allclose(
        blend(values, "arithmetic", [0.5, 0.1, 0.2, 0.2]),
        np.average(values.astype(float), axis=0, weights=[0.5, 0.1, 0.2, 0.2]),
        atol=1e-13,
    )
    np.testing.assert_array_equal(geometric_mean(values), blend(values))


@pytest.mark.parametrize("kind", BLENDS)
def test_blends_of_certainties(kind):
    ones = np.ones((7, 1, 1), np.float32)
    assert blend(ones, kind, [0.1] * 7) == 1.0
    assert blend(np.zeros((3, 2, 4)), kind).max() <= 0.625  # all tied: mean rank 2.5 of 4


@pytest.mark.parametrize("kind", BLENDS)
def test_one_probability_of_zero_rules_no_class_out(kind):
    """In argus-freesound's geometric mean a class that one model gives a zero is nil, whatever the others say."""
    sure = [[0.9, 0.2, 0.0], [0.9, 0.2, 0.0], [0.9, 0.2, 0.0], [0.0, 0.2, 0.0]]
    first, second, third = blend(np.array(sure, np.float32), kind)
    assert first > third
    assert second > third
    two_zeros = blend(np.array([*sure[:2], [0.0, 0.2, 0.0], sure[3]], np.float32), kind)[0]
    assert first > two_zeros > third


def test_vanishing_probabilities_tie():
    assert len(set(blend_scores([[0.0, 1e-40, 1e-38]], "rank")[0])) == 1
    assert len(set(blend_scores([[0.0, 5e-14, 1e-13]], "arithmetic")[0])) == 2


def test_scores_that_cannot_be_summed_exactly_are_refused():
    targets = [[1, 0]]
    with pytest.raises(ValueError, match=r"no multiple of 2\^-36, in model 0, clip 0"):
        reduce_pairs(np.log([[[0.3, 0.7]]]), targets)
    with pytest.raises(ValueError, match="NaN in model 1, clip 0"):
        reduce_pairs([[[0.0, 1.0]], [[0.0, np.nan]]], targets)
    with pytest.raises(ValueError, match="from -90 to 90"):
        reduce_pairs([[[-90.0, 90.0]]], targets)
    with pytest.raises(ValueError, match="n_models, n_clips, n_classes"):
        reduce_pairs([[0.0, 1.0]], targets)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((draw(0), "median"), "geometric, arithmetic, rank"),
        ((np.zeros((0, 3)), "rank"), "at least one"),
        ((draw(0) + 1, "arithmetic"), r"\[0, 1\]"),
        ((draw(0), "rank", [1, 1, 1]), "4 numbers"),
        ((draw(0), "rank", [1, 1, 1, -1]), "none negative"),
        ((draw(0), "rank", [0, 0, 0, 0]), "not all 0"),
        ((draw(0), "rank", [1, 1, 1, np.nan]), "none negative"),
    ],
)
def test_wrong_arguments_are_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        blend(*arguments)


def test_a_model_of_no_weight_must_hold_probabilities_too():
    values = draw(0).copy()
    values[1, 0, 0] = np.nan
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        blend(values, "arithmetic", [1, 0, 1, 1])
