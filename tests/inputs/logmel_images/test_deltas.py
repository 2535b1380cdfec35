"""Deltas against librosa and the published system's model input."""

from __future__ import annotations

import librosa
import numpy as np
import pytest

from raytag.inputs.logmel_images.deltas import EDGE, WIDTH, delta, delta_coefficients, model_input


def test_model_input_equals_the_published_system(shared):
    reference = np.load(shared / "golden" / "02_delta.npz")
    result = model_input(reference["in_mel"])
    assert result.dtype == np.float32
    assert np.abs(result - reference["out"]).max() < 1e-6


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("frames", [9, 10, 17, 256])
def test_equals_librosa(order, frames):
    x = np.random.default_rng(frames).normal(-50, 20, (7, frames)).astype(np.float32)
    assert np.abs(delta(x, order) - librosa.feature.delta(x, order=order)).max() < 1e-4


def test_a_line_has_its_slope_and_a_parabola_its_curvature_everywhere():
    t = np.arange(30.0)
    assert np.allclose(delta(3 * t - 7, 1), 3, atol=1e-5)
    assert np.allclose(delta(3 * t - 7, 2), 0, atol=1e-5)
    assert np.allclose(delta(0.5 * t**2 + t, 2), 1, atol=1e-5)


@pytest.mark.parametrize("order", [1, 2])
def test_coefficients_reproduce_delta_at_every_frame(order):
    taps, left_edge, right_edge = delta_coefficients(order)
    assert taps.shape == (WIDTH,)
    assert left_edge.shape == right_edge.shape == (EDGE, WIDTH)
    x = np.random.default_rng(0).normal(size=20)
    expected = librosa.feature.delta(x, order=order)
    assert np.allclose(left_edge @ x[:WIDTH], expected[:EDGE], atol=1e-6)
    assert np.allclose(right_edge @ x[-WIDTH:], expected[-EDGE:], atol=1e-6)
    assert np.allclose(np.correlate(x, taps), expected[EDGE:-EDGE], atol=1e-6)


def test_wrong_orders_and_short_clips_are_refused():
    with pytest.raises(ValueError, match="order"):
        delta(np.zeros((2, 20)), 3)
    with pytest.raises(ValueError, match="9 frames, not 8"):
        delta(np.zeros((2, 8)), 1)
