"""Blends of predictions: geometric mean, arithmetic mean, mean rank.

Each is a sum of scores, one a member, brought back to [0, 1]; the sum alone decides which class ranks where. So one
search serves all three (`raytag.blends.pairs`), for integer weights without any rounding:

==========  =====================================================  =========================================
blend       score of a class                                       what of the prediction is lost
==========  =====================================================  =========================================
geometric   log p, to 2^-36                                        probabilities below 1.2e-38 tie
arithmetic  p, to 2^-43                                            probabilities below 1e-13 (2^-44) tie
rank        average rank among the clip's classes, 1 the lowest    all but the order within the clip
==========  =====================================================  =========================================
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from raytag.blends.pairs import GRID, SCORE_RANGE, TINY, check_probabilities, log_probabilities

BLENDS = ("geometric", "arithmetic", "rank")


def check_blend(blend: str) -> str:
    """The name of a blend, if it is one.

    Raises
    ------
    ValueError
        It is none of `BLENDS`.
    """
    if blend not in BLENDS:
        raise ValueError(f"blend {blend!r} is unknown: choose one of {', '.join(BLENDS)}")
    return blend


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
        exact for up to a thousand members. Ranks are half-integers, which are multiples of ``GRID``; with more
        than 128 classes they are halved until they fit, which is exact too.

    Raises
    ------
    ValueError
        Unknown blend, no class, NaN, or values outside [0, 1].
    """
    if check_blend(blend) == "geometric":
        return log_probabilities(probabilities)
    values = check_probabilities(probabilities)
    if blend == "arithmetic":
        scores = np.asarray(np.multiply(values, SCORE_RANGE / GRID, dtype=np.float64))
        np.rint(scores, out=scores)
        scores *= GRID
        return scores
    if values.ndim == 0 or values.shape[-1] == 0:
        raise ValueError(f"ranks need predictions of shape (..., n_classes), not {values.shape}")
    scores = np.empty(values.shape)
    # as for logarithms: what is below TINY counts as TINY, on whatever way it came here
    rows = np.maximum(values, TINY, dtype=np.float64).reshape(-1, values.shape[-1])
    _average_ranks(rows, scores.reshape(-1, values.shape[-1]))
    scores *= _rank_unit(values.shape[-1])
    return scores


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
    total /= w.sum()
    if kind == "geometric":
        return np.exp(total, out=total)
    # a weighted mean may be rounded to a little above its largest value
    scale = SCORE_RANGE if kind == "arithmetic" else _rank_unit(values.shape[-1]) * values.shape[-1]
    return np.minimum(total / scale, 1.0)


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
    return blend(probabilities, "geometric")


def _rank_unit(n_classes: int) -> float:
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
