"""Parts of a waveform: kept, moved, silenced."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]
AnySamples = TypeVar("AnySamples", NDArray[np.float32], NDArray[np.int16])


def piece(samples: AnySamples, length: int, rng: np.random.Generator) -> AnySamples:
    """``length`` samples in a row from anywhere, the first and the last possible start included; all if fewer."""
    start = int(rng.integers(max(0, len(samples) - length) + 1))
    return samples[start : start + length]


def shuffled(samples: Samples, length: int, rng: np.random.Generator) -> Samples:
    """In pieces of about ``length`` samples, floor(n / length) of them, which come in any order."""
    number = len(samples) // max(1, length)
    if number < 2:
        return samples
    pieces = np.array_split(samples, number)
    return np.concatenate([pieces[i] for i in rng.permutation(number)])


def silenced(samples: Samples, length: int, rng: np.random.Generator) -> Samples:
    """With ``length`` samples in a row replaced by zeros."""
    start = int(rng.integers(max(0, len(samples) - length) + 1))
    made = samples.copy()
    made[start : start + length] = 0
    return made


def rolled(samples: Samples, rng: np.random.Generator) -> Samples:
    """Later by any number of samples; what leaves at the end begins it."""
    return np.roll(samples, int(rng.integers(len(samples))))
