"""The pairs of classes on which an ensemble's score depends.

Ranks decide lwlrap, so a blend is a sum of scores, one a member: of log-probabilities for the geometric mean, of
probabilities for the arithmetic mean, of ranks for the mean rank (`raytag.blends.means`). For a label *p* of a
clip and another class *c* of it, model *m* contributes the margin ``score_m(p) - score_m(c)``; an ensemble ranks
*c* at or above *p* exactly when its members' margins sum to zero or less (a tie counts against the label: the
rule of the worst rank, see `raytag.metrics`).

Where all models agree, so that every margin is positive or none is, every sum of them agrees too, for any
non-negative weights. Such pairs are constants. `reduce_pairs` counts them once and keeps the others, the
disputed pairs: about one in eight for twenty models of lwlrap 0.8 to 0.85. Nothing else is asked of the scores
than that a blend adds them up, so the reduction is exact for all three blends.

Scores are multiples of ``GRID`` = 2^-36 within a range of ``SCORE_RANGE`` = 128. A sum of up to a thousand
margins, ``MOST_MEMBERS``, is then exact in float64 (1000 * 128 * 2^36 < 2^53), whatever its order: a rank depends
on the members and on nothing else, neither on the order in which they are added nor on the worker that adds them,
and equal evidence is a tie. For logarithms the rounding moves a probability by at most 7e-12 of itself, a
ten-thousandth of the rounding that float32 has done to it already.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

#: Scores that are blended are multiples of this.
GRID = 2.0**-36
#: Largest absolute score, and largest margin.
SCORE_RANGE = 128.0
#: Most members of a blend, repeats (integer weights) included.
MOST_MEMBERS = 1000
#: Probabilities below this, the least normal float32, count as this much: the logarithm of 0 has no sum.
TINY = float(np.finfo(np.float32).tiny)

NEVER, ALWAYS, DISPUTED = 0, 1, 2


@dataclass(frozen=True)
class Pairs:
    """Disputed pairs of all labels, grouped by label, and how the undisputed ones rank each label.

    A label here is one (clip, positive class) pair; lwlrap is a mean over labels.

    Attributes
    ----------
    margins : np.ndarray [shape=(n_models, n_pairs)], float64, multiples of GRID
        Label's score minus the other class's.
    other_is_label : np.ndarray [shape=(n_pairs,)], bool
        The other class is a label of the clip too.
    offsets : np.ndarray [shape=(n_labels + 1,)], int64
        Pairs ``offsets[i]:offsets[i+1]`` belong to label i.
    hits : np.ndarray [shape=(n_labels,)], int32
        Labels of the clip that all models rank at or above this one, itself included.
    rank : np.ndarray [shape=(n_labels,)], int32
        Classes that all models rank at or above this label, itself included.
    part : np.ndarray [shape=(n_labels,)], int32
        The fold of the label's clip, 0..n_parts-1: scores are kept per part.
    n_parts : int
    n_tested : int
        Pairs before the reduction.
    """

    margins: NDArray[np.float64]
    other_is_label: NDArray[np.bool_]
    offsets: NDArray[np.int64]
    hits: NDArray[np.int32]
    rank: NDArray[np.int32]
    part: NDArray[np.int32]
    n_parts: int
    n_tested: int

    @property
    def n_models(self) -> int:
        return self.margins.shape[0]

    @property
    def labels_per_part(self) -> NDArray[np.int64]:
        """Number of labels in each part."""
        return np.bincount(self.part, minlength=self.n_parts)


def log_probabilities(probabilities: ArrayLike) -> NDArray[np.float64]:
    """Natural logarithms of probabilities, for blends by geometric mean.

    Parameters
    ----------
    probabilities : np.ndarray, any shape, values in [0, 1]
        Values below ``TINY`` (1.2e-38), exact zeros included, are raised to it.

    Returns
    -------
    np.ndarray, same shape, float64
        In [-87.4, 0], multiples of ``GRID``.

    Raises
    ------
    ValueError
        NaN, or values outside [0, 1].
    """
    logs = np.asarray(np.maximum(check_probabilities(probabilities), TINY, dtype=np.float64))
    return _round(np.log(logs, out=logs))


def check_probabilities(probabilities: ArrayLike) -> NDArray[Any]:
    """Probabilities as an array, of whatever dtype they are.

    Raises
    ------
    ValueError
        NaN, or values outside [0, 1].
    """
    values = np.asarray(probabilities)
    if not bool(((values >= 0) & (values <= 1)).all()):  # false for NaN
        raise ValueError("probabilities must lie in [0, 1]: found NaN, logits or unscaled values")
    return values


def check_log_probabilities(log_probs: ArrayLike) -> NDArray[np.float64]:
    """Log-probabilities (-inf is allowed) brought to the range and the grid of `log_probabilities`.

    Raises
    ------
    ValueError
        Not (n_models, n_clips, n_classes), NaN, or positive values.
    """
    values = np.asarray(log_probs, dtype=np.float64)
    if values.ndim != 3 or 0 in values.shape:
        raise ValueError(f"log_probs must be (n_models, n_clips, n_classes), none of them 0, not {values.shape}")
    if np.isnan(values).any():
        model, clip, _ = np.argwhere(np.isnan(values))[0]
        raise ValueError(f"log_probs hold NaN, first in model {model}, clip {clip}")
    if values.max() > 1e-6:  # a softmax may round to a little above 1
        raise ValueError("log_probs must be at most 0: pass np.log(probabilities), not probabilities or logits")
    return _round(np.clip(values, np.log(TINY), 0.0))


def _round(logs: NDArray[np.float64]) -> NDArray[np.float64]:
    logs /= GRID
    np.rint(logs, out=logs)
    logs *= GRID
    return logs


def check_targets(targets: ArrayLike, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Targets of zeros and ones as bool, of the given (n_clips, n_classes).

    Raises
    ------
    ValueError
        Another shape, values other than 0 and 1, or no label at all.
    """
    values = np.asarray(targets)
    if values.shape != shape:
        raise ValueError(f"targets must be (n_clips, n_classes) = {shape} like the predictions, not {values.shape}")
    positive = values == 1
    if not (positive | (values == 0)).all():
        raise ValueError("targets must be 0 or 1: soft or unknown labels cannot be ranked")
    if not positive.any():
        raise ValueError("no clip has a label, so lwlrap is undefined")
    return positive


def check_scores(scores: ArrayLike) -> NDArray[np.float64]:
    """Scores as float64, if their sums are exact.

    Raises
    ------
    ValueError
        Not (n_models, n_clips, n_classes), NaN, infinities, values that are no multiples of ``GRID`` or that reach
        further than ``SCORE_RANGE``.
    """
    values = np.ascontiguousarray(scores, dtype=np.float64)
    if values.ndim != 3 or 0 in values.shape:
        raise ValueError(f"scores must be (n_models, n_clips, n_classes), none of them 0, not {values.shape}")
    low, high, off_grid = _examine(values.reshape(-1), 1.0 / GRID)
    if off_grid >= 0:
        model, clip, _ = (int(i) for i in np.unravel_index(off_grid, values.shape))
        found = values.reshape(-1)[off_grid]
        what = "NaN" if np.isnan(found) else f"{found:.6g}, which is no multiple of 2^-36,"
        raise ValueError(
            f"scores hold {what} in model {model}, clip {clip}: "
            "make them with raytag.blends.means.base.blend_scores"
        )
    if max(-low, high, high - low) > SCORE_RANGE:
        raise ValueError(
            f"scores reach from {low:.6g} to {high:.6g}, further than {SCORE_RANGE:g}: sums would be rounded; "
            "make them with raytag.blends.means.base.blend_scores"
        )
    return values


def reduce_pairs(scores: ArrayLike, targets: ArrayLike, parts: ArrayLike | None = None) -> Pairs:
    """Find the disputed pairs.

    Parameters
    ----------
    scores : np.ndarray [shape=(n_models, n_clips, n_classes)]
        What a blend adds up: `raytag.blends.means.base.blend_scores`, or `log_probabilities`.
    targets : np.ndarray [shape=(n_clips, n_classes)], 0/1
    parts : np.ndarray [shape=(n_clips,)], int, optional
        Fold of each clip, 0..n_parts-1; all clips are one part when left out.

    Returns
    -------
    Pairs

    Raises
    ------
    ValueError
        See `check_scores` and `check_targets`.
    """
    values = check_scores(scores)
    n_models, n_clips, n_classes = values.shape
    positive = check_targets(targets, (n_clips, n_classes))
    part = np.zeros(len(positive), np.int32) if parts is None else np.asarray(parts, dtype=np.int32)
    if part.shape != (len(positive),) or part.min() < 0:
        raise ValueError("parts must give one number from 0 on for each clip")
    clips, classes = np.nonzero(positive)
    # models innermost: one pass over memory decides a pair
    by_class = np.ascontiguousarray(np.moveaxis(values, 0, 2))
    kind = np.empty((len(clips), n_classes), np.uint8)
    _classify(by_class, clips, classes, kind)
    disputed, always = kind == DISPUTED, kind == ALWAYS
    counts = disputed.sum(axis=1)
    offsets = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    margins = np.empty((n_models, int(offsets[-1])))
    _fill_margins(by_class, clips, classes, kind, margins)
    # the label itself is no pair: it ranks at or above itself
    return Pairs(
        margins=_frozen(margins),
        other_is_label=_frozen(positive[clips][disputed]),
        offsets=_frozen(offsets),
        hits=_frozen((1 + (always & positive[clips]).sum(axis=1)).astype(np.int32)),
        rank=_frozen((1 + always.sum(axis=1)).astype(np.int32)),
        part=_frozen(part[clips]),
        n_parts=int(part.max()) + 1,
        n_tested=len(clips) * (n_classes - 1),
    )


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    """The array, read-only, as it is when it comes from an object store: compiled code serves both."""
    array.setflags(write=False)
    return array


@njit(cache=True, nogil=True)
def _examine(values, per_unit):  # type: ignore[no-untyped-def]
    """Smallest and largest value, and the place of the first that is no finite multiple of 1/per_unit, or -1."""
    low = high = values[0]
    for i in range(values.shape[0]):
        scaled = values[i] * per_unit
        if scaled - np.rint(scaled) != 0.0:  # true for NaN and infinities
            return low, high, i
        low = min(low, values[i])
        high = max(high, values[i])
    return low, high, -1


@njit(cache=True, nogil=True)
def _classify(by_class, clips, classes, kind):  # type: ignore[no-untyped-def]
    """``kind[i, c]``: whether class c is never, always or sometimes ranked at or above label i."""
    n_models = by_class.shape[2]
    for i in range(clips.shape[0]):
        row, p = by_class[clips[i]], classes[i]
        for c in range(row.shape[0]):
            above = 0
            for m in range(n_models):
                above += row[p, m] <= row[c, m]
            if c == p or above == 0:
                kind[i, c] = NEVER
            elif above == n_models:
                kind[i, c] = ALWAYS
            else:
                kind[i, c] = DISPUTED


@njit(cache=True, nogil=True)
def _fill_margins(by_class, clips, classes, kind, margins):  # type: ignore[no-untyped-def]
    j = 0
    for i in range(clips.shape[0]):
        row, p = by_class[clips[i]], classes[i]
        for c in range(row.shape[0]):
            if kind[i, c] == DISPUTED:
                for m in range(row.shape[1]):
                    margins[m, j] = row[p, m] - row[c, m]
                j += 1
