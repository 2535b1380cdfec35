"""Sixteen transforms at once against numpy's in float64."""

from __future__ import annotations

import numpy as np
import pytest

from raytag.compiled import fft


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 7, 8, 10, 16, 30, 97, 200, 512, 551, 1024, 1280, 1470])
def test_equals_numpy(length):
    rng = np.random.default_rng(length)
    z = rng.standard_normal((length, 16)) + 1j * rng.standard_normal((length, 16))
    x = np.stack([z.real, z.imag], axis=1).astype(np.float32).reshape(-1)
    result = fft.transform(x, np.empty_like(x), fft.plan(length)).reshape(length, 2, 16)
    expected = np.fft.fft(z, axis=0)
    assert np.abs(result[:, 0] + 1j * result[:, 1] - expected).max() < 1e-6 * np.abs(expected).max()


@pytest.mark.parametrize("length", [*range(1, 200), 1102, 1280, 4096, 7919])
def test_radices_multiply_to_the_length(length):
    assert np.prod(fft.radices(length)) == length


def test_a_length_must_be_positive():
    with pytest.raises(ValueError, match="positive"):
        fft.plan(0)
