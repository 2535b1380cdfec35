"""Overdrive, loudness in time, noise."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Samples = NDArray[np.float32]
_TINY = np.float32(1e-20)  # keeps the filter of silence from denormal numbers, which would take most of the time


def overdriven(samples: Samples, gain_db: float, colour: float = 20.0) -> Samples:
    """Amplified by ``gain_db`` and bent, half as loud, with the samples themselves.

    With u = gain x + colour / 200, cut off at ±1, the bent signal is b = u - u³ / 3, and z what a filter that
    blocks its mean makes of it, ``z[t] = b[t] - b[t - 1] + 0.995 z[t - 1]`` from rest; the result is
    x / 2 + 3 z / 4. The constants are those of SoX's effect of that name. ``colour`` (0 to 100) makes even
    harmonics; without it there are odd ones only.
    """
    made = np.empty_like(samples)
    _bend(np.ascontiguousarray(samples), np.float32(10 ** (gain_db / 20)), np.float32(colour / 200), made)
    return made


@njit(cache=True, nogil=True, fastmath={"contract"})
def _bend(samples: Samples, gain: np.float32, offset: np.float32, out: Samples) -> None:
    one, third, pole = np.float32(1), np.float32(1 / 3), np.float32(0.995)
    before = offset - offset * offset * offset * third  # as if silence came before: no click at the start
    z = np.float32(0)
    for t in range(len(samples)):
        u = samples[t] * gain + offset
        u = one if u > one else (-one if u < -one else u)
        bent = u - u * u * u * third
        z = pole * z + (bent - before + _TINY)
        before = bent
        out[t] = samples[t] * np.float32(0.5) + np.float32(0.75) * z


def enveloped(samples: Samples, levels: NDArray[np.float64]) -> Samples:
    """As loud as ``levels`` say: dB at points that divide the samples evenly, (at least two,), straight between."""
    level = np.interp(np.linspace(0, len(levels) - 1, len(samples)), np.arange(len(levels)), levels)
    return samples * np.power(np.float32(10), level.astype(np.float32) / 20)


def with_noise(samples: Samples, snr_db: float, rng: np.random.Generator) -> Samples:
    """With white Gaussian noise, ``snr_db`` below the samples' own power; to silence none is added."""
    power = np.mean(np.square(samples, dtype=np.float64))
    noise = rng.standard_normal(len(samples), np.float32)
    return samples + noise * np.float32(np.sqrt(power) * 10 ** (-snr_db / 20))
