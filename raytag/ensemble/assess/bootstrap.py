"""How much of a difference between two ensembles is the luck of the clips.

Clips of one group (one source, site or uploader) are not independent, so whole groups are drawn. The interval is
that of the percentile bootstrap (Efron and Tibshirani 1993, chapter 13) on lwlrap, a ratio of two sums over groups;
both ensembles are scored on the same draws. It is conditional on the models and on what was chosen: it tells what
other clips would do, not what other seeds would.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from raytag.datasets.table import group_names
from raytag.seeding import generator

DRAWS = 4000
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A score or a difference with its 95 % interval."""

    value: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float]:
        return {"value": self.value, "low": self.low, "high": self.high}


class Bootstrap:
    """Draws of groups, the same for every score.

    Parameters
    ----------
    group : sequence of str [length=n_clips]
        Clips of one group are drawn together; "" is a group of its own.
    clip : np.ndarray [shape=(n_labels,)], int
        The clip of each label, see `raytag.metrics.label_precisions`.
    seed : int
    """

    def __init__(self, group: Sequence[str], clip: ArrayLike, seed: int = 0) -> None:
        self._number = numbers = np.unique(group_names(group)[np.asarray(clip)], return_inverse=True)[1]
        self.n_groups = int(numbers.max()) + 1 if len(numbers) else 0
        self.grouped = any(group)
        self._labels = np.bincount(numbers).astype(np.float64)
        self._seed = seed

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
        sums = np.bincount(self._number, weights=precisions)
        rng = generator(self._seed)
        found = np.empty(DRAWS)
        for i in range(DRAWS):
            drawn = np.bincount(rng.integers(0, self.n_groups, self.n_groups), minlength=self.n_groups)
            found[i] = (drawn @ sums) / (drawn @ self._labels)
        return found

    def interval(self, precisions: NDArray[np.float64]) -> Interval:
        """Mean and 95 % interval, which is the whole line where fewer than two groups carry labels."""
        value = float(precisions.mean())
        if self.n_groups < 2:
            return Interval(value, -np.inf, np.inf)
        tail = (1.0 - LEVEL) / 2.0
        low, high = np.quantile(self.samples(precisions), [tail, 1.0 - tail])
        return Interval(value, float(low), float(high))
