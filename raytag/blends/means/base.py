"""What each model adds to a blend, and the blend itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from raytag.blends.means import BLENDS, check_blend
from raytag.blends.pairs import check_probabilities
from raytag.parts import resolve


class Mean(Protocol):
    """A way to blend as a sum of scores. `raytag.testing.blends` holds it to what the search relies on."""

    def scores(self, probabilities: ArrayLike) -> NDArray[np.float64]:
        """What each model adds: see `blend_scores`."""

    def probabilities(self, mean: NDArray[np.float64]) -> NDArray[np.float64]:
        """A weighted mean of scores (..., n_classes), which may be overwritten, as values in [0, 1] that rank
        classes alike up to rounding."""


def blend_scores(probabilities: ArrayLike, blend: str = "geometric") -> NDArray[np.float64]:
    """What each model adds to a blend.

    Parameters
    ----------
    probabilities : np.ndarray [shape=(n_models, n_clips, n_classes)], values in [0, 1]
        Further axes before the classes do no harm.
    blend : str
        One of `BLENDS`.

    Returns
    -------
    np.ndarray, same shape, float64
        Multiples of ``GRID`` in [-128, 128], all of one sign. Their sum over members ranks the classes, and is
        exact for up to a thousand members.

    Raises
    ------
    ValueError
        Unknown blend, no class, NaN, or values outside [0, 1].
    """
    mean: Mean = resolve(BLENDS[check_blend(blend)].target)()
    return mean.scores(probabilities)


def blend(
    probabilities: ArrayLike, kind: str = "geometric", weights: Sequence[float] | None = None
) -> NDArray[np.float64]:
    """Blend predictions of several models.

    Parameters
    ----------
    probabilities : np.ndarray [shape=(n_models, ..., n_classes)], values in [0, 1]
    kind : str
        One of `BLENDS`.
    weights : sequence of float [shape=(n_models,)], optional
        Not negative; equal weights when left out. Only their ratios matter.

    Returns
    -------
    np.ndarray [shape=(..., n_classes)], float64, in [0, 1]
        Weighted geometric or arithmetic mean; for ranks the weighted mean rank divided by the number of classes.
        Ranks classes as the sum of `blend_scores` does, up to rounding.

    Raises
    ------
    ValueError
        Unknown blend, no model, NaN, values outside [0, 1], or weights that are negative, all 0, or not one a
        model.
    """
    check_blend(kind)
    values = np.asarray(probabilities)
    if values.ndim == 0 or len(values) == 0:
        raise ValueError(f"a {kind} blend needs at least one set of probabilities")
    w = np.ones(len(values)) if weights is None else np.asarray(weights, dtype=np.float64)
    if w.shape != (len(values),) or not bool((w >= 0).all() and 0 < w.sum() < np.inf):
        raise ValueError(
            f"weights must be {len(values)} numbers, one a model, none negative and not all 0: not {weights}"
        )
    total = np.zeros(values.shape[1:])
    for weight, one in zip(w.tolist(), values, strict=True):  # one model at a time: 64-bit copies are large
        if weight:
            total += weight * blend_scores(one, kind)
        else:
            check_probabilities(one)
    return from_scores(total, float(w.sum()), kind)


def from_scores(total: NDArray[np.float64], weight: float, kind: str = "geometric") -> NDArray[np.float64]:
    """The blend that a weighted sum of `blend_scores` (..., n_classes), which is overwritten, stands for."""
    total /= weight
    mean: Mean = resolve(BLENDS[check_blend(kind)].target)()
    return mean.probabilities(total)


def geometric_mean(probabilities: ArrayLike) -> NDArray[np.float64]:
    """Geometric mean over the first axis, equal weights.

    Parameters
    ----------
    probabilities : np.ndarray [shape=(n_models, ...)], values in [0, 1]
        Values below 1.2e-38, exact zeros included, count as 1.2e-38: one model's underflow lowers a class, it
        does not rule it out. (argus-freesound, like scipy's ``gmean``, lets a single zero decide.) The floor is
        the smallest normal float32: a higher one, such as the 1e-30 that is published elsewhere, only makes ties.

    Returns
    -------
    np.ndarray [shape=(...)], float64

    Raises
    ------
    ValueError
        No model, NaN, or values outside [0, 1].
    """
    return blend(probabilities, "geometric")
