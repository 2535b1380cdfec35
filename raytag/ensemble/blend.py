"""Geometric means of probabilities."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from raytag.ensemble.pairs import log_probabilities


def geometric_mean(probabilities: ArrayLike) -> NDArray[np.float64]:
    """Geometric mean over the first axis, equal weights.

    Parameters
    ----------
    probabilities : np.ndarray [shape=(n_models, ...)], values in [0, 1]
        Values below 1.2e-38, exact zeros included, count as 1.2e-38: one model's underflow lowers a class, it
        does not rule it out. (argus-freesound, like scipy's ``gmean``, lets a single zero decide.)

    Returns
    -------
    np.ndarray [shape=(...)], float64

    Raises
    ------
    ValueError
        No model, NaN, or values outside [0, 1].
    """
    values = np.asarray(probabilities)
    if values.ndim == 0 or len(values) == 0:
        raise ValueError("a geometric mean needs at least one set of probabilities")
    return np.exp(log_probabilities(values).mean(axis=0))
