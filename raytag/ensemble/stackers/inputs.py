"""What second-level models read: the first level's probabilities, or their log-odds on a common scale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Probabilities are kept so far away from 0 and 1, where float32 sigmoids are mostly noise.
MARGIN = 1e-4


@dataclass(frozen=True)
class Scaling:
    """Mean and standard deviation of all log-odds of the clips that a model is trained on."""

    mean: float
    deviation: float


def log_odds(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """log(p / (1 - p)) with p within [1e-4, 1 - 1e-4], computed in float64.

    Parameters
    ----------
    probabilities : np.ndarray [shape=(n_members, n, n_classes)], float32

    Returns
    -------
    np.ndarray [shape=(n_members, n, n_classes)], float32
    """
    out = np.empty(probabilities.shape, np.float32)
    for m, values in enumerate(probabilities):  # one at a time: float64 copies of all would be the peak of memory
        p = np.clip(values.astype(np.float64), MARGIN, 1 - MARGIN)
        out[m] = np.log(p / (1 - p))
    return out


def fit_scaling(odds: NDArray[np.float32], rows: NDArray[np.int64]) -> Scaling:
    """The scale of some rows.

    Parameters
    ----------
    odds : np.ndarray [shape=(n_members, n, n_classes)], float32
    rows : np.ndarray [shape=(n_rows,)], int64
        Of the second axis.
    """
    chosen = [values[rows].astype(np.float64) for values in odds]
    mean = float(np.mean([values.mean() for values in chosen]))
    variance = float(np.mean([np.square(values - mean).mean() for values in chosen]))
    return Scaling(mean, variance**0.5 or 1.0)


def scaled(odds: NDArray[np.float32], scaling: Scaling) -> NDArray[np.float32]:
    """(n_members, n, n_classes) log-odds → (n, n_members * n_classes): scaled, members side by side."""
    n_members, n, n_classes = odds.shape
    out = np.empty((n, n_members, n_classes), np.float32)
    np.subtract(odds.transpose(1, 0, 2), np.float32(scaling.mean), out=out)
    out *= np.float32(1 / scaling.deviation)
    return out.reshape(n, n_members * n_classes)


def side_by_side(probabilities: NDArray[np.float32], scaling: Scaling | None) -> NDArray[np.float32]:
    """(n_members, n, n_classes) → (n, n_members * n_classes): scaled log-odds; without scaling as they are."""
    if scaling is not None:
        return scaled(log_odds(probabilities), scaling)
    return np.concatenate([*probabilities], axis=1)
