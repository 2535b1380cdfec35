"""Sum of logarithms: the geometric mean of probabilities."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from raytag.blends.pairs import log_probabilities


class Geometric:
    """Scores are log p, to 2^-36; probabilities below 1.2e-38 tie."""

    def scores(self, probabilities: ArrayLike) -> NDArray[np.float64]:
        return log_probabilities(probabilities)

    def probabilities(self, mean: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.exp(mean, out=mean)
