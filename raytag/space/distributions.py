"""Distributions of a field: what a space varies, and what a part says is worth varying in it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


class SpaceError(ValueError):
    """A space that cannot be found or does not make sense; the message names the file and the key."""


def plain(value: Any) -> str:
    """A value as ``--set`` takes it."""
    if value is None:
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def listed(values: Sequence[Any]) -> str:
    """Values as ``--set`` takes them, none twice."""
    return ", ".join(dict.fromkeys(plain(value) for value in values))


@dataclass(frozen=True)
class Uniform:
    """A float between ``low`` and ``high``, on a logarithmic scale if ``log``."""

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        if not (self.low < self.high and (self.low > 0 or not self.log)):
            raise SpaceError(f"{self!r}: needs low < high" + (" and low > 0" if self.log else ""))

    def __str__(self) -> str:
        return f"from {self.low:g} to {self.high:g}" + ", logarithmically" * self.log

    def at(self, share: float) -> float:
        """The value below which ``share`` of the distribution lies, to four significant digits.

        Rounding keeps names and hashes of experiments readable; no field needs more.
        """
        if self.log:
            value = math.exp(math.log(self.low) + share * (math.log(self.high) - math.log(self.low)))
        else:
            value = self.low + share * (self.high - self.low)
        return min(max(float(f"{value:.4g}"), self.low), self.high)

    def sample(self, rng: np.random.Generator) -> float:
        return self.at(float(rng.random()))

    def grid(self) -> list[float]:
        return [self.at(share) for share in (0.0, 0.5, 1.0)]


@dataclass(frozen=True)
class Choice:
    """One of ``values``; values may be tuples."""

    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise SpaceError("choice([]): needs at least one value")

    def __str__(self) -> str:
        return f"over {listed(self.values)}"

    def sample(self, rng: np.random.Generator) -> Any:
        return self.values[int(rng.integers(len(self.values)))]

    def grid(self) -> list[Any]:
        return list(self.values)


Distribution = Uniform | Choice


def uniform(low: float, high: float) -> Uniform:
    """A float, all values between ``low`` and ``high`` equally likely."""
    return Uniform(low, high)


def loguniform(low: float, high: float) -> Uniform:
    """A positive float, all orders of magnitude between ``low`` and ``high`` equally likely."""
    return Uniform(low, high, log=True)


def choice(values: Sequence[Any]) -> Choice:
    """One of a list of values, equally likely."""
    return Choice(tuple(values))


def pick(rng: np.random.Generator, weights: Sequence[float]) -> int:
    """A number below ``len(weights)``, by weight; nothing is drawn where there is only one."""
    if len(weights) == 1:
        return 0
    edges = np.cumsum(weights)
    return int(min(np.searchsorted(edges, rng.random() * edges[-1], side="right"), len(edges) - 1))
