"""How much of a difference between two ensembles is the luck of the folds and the clips.

Clips of one group (one source, site or uploader) are not independent, so whole groups are drawn; and groups of one
fold may have more in common than those of two (where no groups are known, folds alone are independent samples of
new sources), so folds are drawn first, then groups within them: the two-stage bootstrap (Davison and Hinkley 1997,
section 3.8). The interval is that of percentiles (Efron and Tibshirani 1993, chapter 13) on lwlrap, a ratio of two
sums over groups; both ensembles are scored on the same draws. It is conditional on the models and on what was
chosen: it tells what other clips would do, not what other seeds would.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from raytag.datasets.table import group_names
from raytag.seeding import generator

DRAWS = 4000
LEVEL = 0.95
_CHUNK = 256  # draws that are turned into floating point at a time


@dataclass(frozen=True)
class Interval:
    """A score or a difference with its 95 % interval."""

    value: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float]:
        return {"value": self.value, "low": self.low, "high": self.high}


class Bootstrap:
    """Draws of folds, and of groups within them, the same for every score.

    Parameters
    ----------
    group : sequence of str [length=n_clips]
        Clips of one group are drawn together; "" is a group of its own.
    clip : np.ndarray [shape=(n_labels,)], int
        The clip of each label, see `raytag.metrics.label_precisions`.
    seed : int
    fold : np.ndarray [shape=(n_clips,)], int, optional
        Without it all clips are of one fold.

    Attributes
    ----------
    n_groups, n_folds : int
        That have labels.
    grouped : bool
        Whether any group is known.
    """

    def __init__(
        self, group: Sequence[str], clip: ArrayLike, seed: int = 0, fold: NDArray[np.int64] | None = None
    ) -> None:
        label = np.asarray(clip)
        folds = np.zeros(len(group), np.int64) if fold is None else fold
        # a group that lies in two folds is drawn in each of them
        names = np.array([f"{k}/{name}" for k, name in zip(folds[label], group_names(group)[label], strict=True)])
        _, first, numbers = np.unique(names, return_index=True, return_inverse=True)
        self._number = numbers
        self._fold = np.unique(folds[label][first], return_inverse=True)[1]  # of each group
        self._labels = np.bincount(numbers).astype(np.float64)
        self._seed = seed
        self.n_groups, self.n_folds = len(first), int(self._fold.max(initial=-1)) + 1
        self.grouped = any(group)

    @cached_property
    def _drawn(self) -> NDArray[np.int16]:
        """How often each group is in each draw, (DRAWS, n_groups)."""
        rng = generator(self._seed)
        times = rng.multinomial(self.n_folds, np.full(self.n_folds, 1 / self.n_folds), size=DRAWS)
        found = np.zeros((DRAWS, self.n_groups), np.int16)
        for k in range(self.n_folds):
            own = np.flatnonzero(self._fold == k)
            for row, n in zip(found, times[:, k] * len(own), strict=True):
                row[own] = np.bincount(rng.integers(0, len(own), n), minlength=len(own))
        return found

    def samples(self, precisions: NDArray[np.float64]) -> NDArray[np.float64]:
        """lwlrap, or the difference of two, on each draw.

        Parameters
        ----------
        precisions : np.ndarray [shape=(n_labels,)], float64
            Precision at each label, or the difference of two ensembles' precisions.

        Returns
        -------
        np.ndarray [shape=(DRAWS,)], float64
        """
        sums = np.stack([np.bincount(self._number, weights=precisions), self._labels], axis=1)
        parts = [self._drawn[i : i + _CHUNK] @ sums for i in range(0, DRAWS, _CHUNK)]
        above, below = np.concatenate(parts).T
        return above / below

    def error(self, precisions: NDArray[np.float64]) -> float:
        """Standard error of the mean: infinite where fewer than two groups carry labels."""
        return float(self.samples(precisions).std()) if self.n_groups > 1 else float("inf")

    def interval(self, precisions: NDArray[np.float64]) -> Interval:
        """Mean and 95 % interval, which is the whole line where fewer than two groups carry labels."""
        value = float(precisions.mean())
        if self.n_groups < 2:
            return Interval(value, -np.inf, np.inf)
        tail = (1.0 - LEVEL) / 2.0
        low, high = np.quantile(self.samples(precisions), [tail, 1.0 - tail])
        return Interval(value, float(low), float(high))
