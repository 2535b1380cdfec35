"""Sum of ranks within the clip: the mean rank."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from raytag.blends.pairs import SCORE_RANGE, TINY, check_probabilities


class Rank:
    """Scores are average ranks among the clip's classes, 1 the lowest: half-integers, which are multiples of the
    grid; with more than 128 classes they are halved until they fit, which is exact too."""

    def scores(self, probabilities: ArrayLike) -> NDArray[np.float64]:
        values = check_probabilities(probabilities)
        if values.ndim == 0 or values.shape[-1] == 0:
            raise ValueError(f"ranks need predictions of shape (..., n_classes), not {values.shape}")
        scores = np.empty(values.shape)
        # as for logarithms: what is below TINY counts as TINY, on whatever way it came here
        rows = np.maximum(values, TINY, dtype=np.float64).reshape(-1, values.shape[-1])
        _average_ranks(rows, scores.reshape(-1, values.shape[-1]))
        scores *= _unit(values.shape[-1])
        return scores

    def probabilities(self, mean: NDArray[np.float64]) -> NDArray[np.float64]:
        """The mean rank divided by the number of classes."""
        n_classes = mean.shape[-1]
        # a weighted mean may be rounded to a little above its largest value
        return np.minimum(mean / (_unit(n_classes) * n_classes), 1.0)


def _unit(n_classes: int) -> float:
    """What one rank is worth: 1, halved until the highest rank fits the range of scores."""
    unit = 1.0
    while n_classes * unit > SCORE_RANGE:
        unit /= 2
    return unit


@njit(cache=True, nogil=True)
def _average_ranks(rows, ranks):  # type: ignore[no-untyped-def]
    """Ranks within each row, 1 for the lowest; equal values share the mean of their ranks."""
    for i in range(rows.shape[0]):
        row = rows[i]
        # counting vectorises: for a hundred classes it takes less time than sorting them
        for c in range(row.shape[0]):
            below = not_above = 0
            for d in range(row.shape[0]):
                below += row[d] < row[c]
                not_above += row[d] <= row[c]
            ranks[i, c] = 0.5 * (below + not_above + 1)
