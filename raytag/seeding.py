"""Random streams that are a pure function of what they are for.

A stream is named by integers such as (seed, epoch, step), so an interrupted training continues with the very
numbers that it would have drawn. Where torch draws from its global generator (initial weights, dropout), that
generator is seeded from such a name first. Names that must not meet have the same length: short ones are as if
padded with zeros.
"""

from __future__ import annotations

import numpy as np


def generator(*keys: int) -> np.random.Generator:
    """A fresh numpy generator for a tuple of non-negative integers, the same on every machine."""
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(list(keys))))


def torch_seed(*keys: int) -> int:
    """A 63-bit seed for ``torch.manual_seed`` from a tuple of non-negative integers."""
    return int(np.random.SeedSequence(list(keys)).generate_state(1, np.uint64)[0] >> np.uint64(1))
