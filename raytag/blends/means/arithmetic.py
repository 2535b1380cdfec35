"""Sum of probabilities: their arithmetic mean."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from raytag.blends.pairs import GRID, SCORE_RANGE, check_probabilities


class Arithmetic:
    """Scores are p, to 2^-43; probabilities below 1e-13 (2^-44) tie."""

    def scores(self, probabilities: ArrayLike) -> NDArray[np.float64]:
        scores = np.asarray(np.multiply(check_probabilities(probabilities), SCORE_RANGE / GRID, dtype=np.float64))
        np.rint(scores, out=scores)
        scores *= GRID
        return scores

    def probabilities(self, mean: NDArray[np.float64]) -> NDArray[np.float64]:
        # a weighted mean may be rounded to a little above its largest value
        return np.minimum(mean / SCORE_RANGE, 1.0)
