"""Label-weighted label-ranking average precision (lwlrap) and its parts.

For a clip *i* with positive labels *P* and scores *s*, the precision at a positive label *c* is

    precision(i, c) = |{d in P : s[d] >= s[c]}|  /  |{d : s[d] >= s[c]}|

that is, the share of positives among the classes ranked at or above it. lwlrap is the mean of the precisions
over all (clip, positive label) pairs: every label counts once, so a clip weighs as much as it has labels, and
clips without labels are left out. The ``>=`` gives tied classes their worst common rank, as scikit-learn's
``label_ranking_average_precision_score(..., sample_weight=number of labels)`` does. That rule does not
depend on the order of the classes; breaking ties by a sort does, and an unstable sort breaks them
differently on different processors.

Everything here takes numpy arrays (tensors: ``.numpy()`` first) and returns float64. Precisions are added up
as 128-bit fixed-point integers, so scores do not depend on the order of clips or classes by a single bit.

References
----------
Fonseca, Plakal, Font, Ellis, Serra: Audio tagging with noisy labels and minimal supervision. DCASE 2019.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

#: Precisions are split into two integers of 32 bits each: ``precision = high / 2**32 + low / 2**64``.
_LIMB = 2.0**32


def lwlrap(targets: ArrayLike, scores: ArrayLike) -> float:
    """Label-weighted label-ranking average precision, in (0, 1].

    Parameters
    ----------
    targets : np.ndarray [shape=(n_clips, n_classes)], bool or 0/1 of any dtype
        Positive labels.
    scores : np.ndarray [shape=(n_clips, n_classes)], float
        Anything that grows with confidence: logits, probabilities, log-probabilities. Only the order of the
        classes within a clip matters. Infinities are ordinary values.

    Returns
    -------
    float
        The mean precision over all (clip, positive label) pairs, correctly rounded but for the rounding of
        each precision.

    Raises
    ------
    ValueError
        Shapes differ or are not two-dimensional; targets other than 0 and 1; NaN scores; no clip has a label.

    Examples
    --------
    >>> lwlrap([[1, 0, 0]], [[0.2, 0.7, 0.1]])  # the only label is ranked second
    0.5
    """
    high, low, count = _sums(targets, scores)
    return _mean(int(high.sum()), int(low.sum()), int(count.sum()))


def per_class_lwlrap(targets: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """lwlrap of each class, and the weight with which it enters the total.

    Parameters
    ----------
    targets, scores : np.ndarray [shape=(n_clips, n_classes)]
        As in `lwlrap`.

    Returns
    -------
    lwlrap : np.ndarray [shape=(n_classes,)], float64
        Mean precision over the clips that carry the label; 0 for a class that none carries.
    weight : np.ndarray [shape=(n_classes,)], float64
        Share of all labels; sums to 1. ``(weight * lwlrap).sum()`` is the total of `lwlrap`, up to rounding.

    Raises
    ------
    ValueError
        As in `lwlrap`.
    """
    high, low, count = _sums(targets, scores)
    values = [
        _mean(*sums) if sums[2] else 0.0 for sums in zip(high.tolist(), low.tolist(), count.tolist(), strict=True)
    ]
    return np.array(values), count / count.sum()


def label_precisions(
    targets: ArrayLike, scores: ArrayLike
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """The precision at every (clip, positive label) pair, of which lwlrap is the mean.

    Useful for what a mean hides: the clips that a model gets most wrong, or a bootstrap over clips.

    Parameters
    ----------
    targets, scores : np.ndarray [shape=(n_clips, n_classes)]
        As in `lwlrap`.

    Returns
    -------
    clip, label : np.ndarray [shape=(n_labels,)], int64
        Row and column of each positive, in row-major order.
    precision : np.ndarray [shape=(n_labels,)], float64
        In (0, 1].

    Raises
    ------
    ValueError
        As in `lwlrap`.
    """
    positives, scores = _checked(targets, scores)
    precision = np.empty(len(positives))
    _precisions(positives, scores.reshape(-1), scores.shape[1], precision)
    clip, label = np.divmod(positives, scores.shape[1])
    return clip, label, precision


def clip_precisions(targets: ArrayLike, scores: ArrayLike) -> NDArray[np.float64]:
    """Label-ranking average precision of each clip: the mean precision over its own labels.

    Parameters
    ----------
    targets, scores : np.ndarray [shape=(n_clips, n_classes)]
        As in `lwlrap`.

    Returns
    -------
    np.ndarray [shape=(n_clips,)], float64
        0 for a clip without labels.
    """
    clips, _, precisions = label_precisions(targets, scores)
    n = len(np.asarray(targets))
    return np.bincount(clips, precisions, n) / np.maximum(np.bincount(clips, minlength=n), 1)


def chance_lwlrap(targets: ArrayLike) -> float:
    """lwlrap that a random order of the classes reaches on average.

    With L labels among C classes, a label has rank r with probability 1/C, and each of the other L - 1 labels is
    above it with probability (r - 1)/(C - 1). So its expected precision is

        H/C + (L - 1)/(C - 1) · (1 - H/C),    H = 1 + 1/2 + … + 1/C.

    Parameters
    ----------
    targets : np.ndarray [shape=(n_clips, n_classes)], 0/1

    Returns
    -------
    float
        NaN without labels; 1 with a single class.
    """
    targets = np.asarray(targets)
    n_classes = targets.shape[1]
    labels = targets.sum(axis=1).astype(np.float64)
    if not labels.sum():
        return float("nan")
    share = (1.0 / np.arange(1, n_classes + 1)).sum() / n_classes
    others = (labels - 1.0) / max(1, n_classes - 1)
    return float((labels * (share + others * (1.0 - share))).sum() / labels.sum())


def tied_pairs(targets: ArrayLike, scores: ArrayLike) -> int:
    """How many (positive label, other class of the same clip) pairs have equal scores.

    A tie is settled by the rule of the worst rank instead of by the model: where clips have one label it can
    only lower the score, with several it may also raise it. Ties come from rounding: bfloat16 logits,
    float16 files, saturated sigmoids.

    Parameters
    ----------
    targets, scores : np.ndarray [shape=(n_clips, n_classes)]
        As in `lwlrap`.

    Returns
    -------
    int
        Ordered pairs: two tied positives of a clip count twice, once from either side.

    Raises
    ------
    ValueError
        As in `lwlrap`.
    """
    positives, scores = _checked(targets, scores)
    return int(_ties(positives, scores.reshape(-1), scores.shape[1]))


def best_rank_lwlrap(targets: ArrayLike, scores: ArrayLike) -> float:
    """lwlrap with every tie between a label and a class that is none settled in favour of the label.

    What rounding may have cost: `lwlrap` gives tied classes their worst common rank, this one as if each positive
    label's score were the least bit higher. Labels that tie with one another keep their common rank. No order of
    the tied classes, such as a sort leaves, scores higher.

    Parameters
    ----------
    targets, scores : np.ndarray [shape=(n_clips, n_classes)]
        As in `lwlrap`.

    Returns
    -------
    float
        At least `lwlrap`, and equal to it without such ties.

    Raises
    ------
    ValueError
        As in `lwlrap`.
    """
    _checked(targets, scores)
    order = np.unique(scores, return_inverse=True)[1].reshape(np.shape(scores))
    return lwlrap(targets, 2 * order + np.asarray(targets).astype(np.int64))


def top1_accuracy(targets: ArrayLike, scores: ArrayLike) -> float | None:
    """Share of clips whose highest score is their label, where every clip has exactly one label.

    Parameters
    ----------
    targets, scores : np.ndarray [shape=(n_clips, n_classes)]
        As for :func:`lwlrap`. A tie for the highest score counts as wrong.

    Returns
    -------
    float or None
        None when a clip has no or several labels: accuracy says nothing there.
    """
    labels, values = np.asarray(targets) > 0, np.asarray(scores)
    if labels.ndim != 2 or not len(labels) or (labels.sum(axis=1) != 1).any():
        return None
    own = values[labels]
    return float(((values >= own[:, None]).sum(axis=1) == 1).mean())


def _sums(targets: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Per class: the summed precisions as two integers (see `_LIMB`), and the number of labels."""
    positives, scores = _checked(targets, scores)
    high, low, count = np.zeros((3, scores.shape[1]), np.int64)
    _accumulate(positives, scores.reshape(-1), high, low, count)
    return high, low, count


def _mean(high: int, low: int, count: int) -> float:
    # Python's division of integers rounds correctly, however long they are.
    return ((high << 32) + low) / (count << 64)


def _checked(targets: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.floating]]:
    """Flat row-major positions of the positives, and contiguous float32 or float64 scores."""
    targets, scores = np.asarray(targets), np.asarray(scores)
    if targets.ndim != 2 or targets.shape != scores.shape:
        raise ValueError(
            f"targets and scores must both be (n_clips, n_classes), not {targets.shape} and {scores.shape}"
        )
    if scores.dtype not in (np.float32, np.float64):
        scores = scores.astype(np.float64)
    scores = np.ascontiguousarray(scores)
    nans = _count_nans(scores.reshape(-1))
    if nans:
        first = int(np.flatnonzero(np.isnan(scores).any(axis=1))[0])
        raise ValueError(f"{nans} of {scores.size} scores are NaN, the first in row {first}; NaN has no rank")
    flat = targets.reshape(-1)
    positives = np.flatnonzero(flat if flat.dtype == bool else flat != 0)
    if not (flat[positives] == 1).all():
        value = flat[positives][flat[positives] != 1][0]
        raise ValueError(f"targets must be 0 or 1, not {value}: soft or unknown labels cannot be ranked")
    if not len(positives):
        raise ValueError("no clip has a label, so lwlrap is undefined")
    return positives, scores


@njit(cache=True, nogil=True)
def _count_nans(flat):  # type: ignore[no-untyped-def]
    nans = np.int64(0)
    for i in range(flat.shape[0]):
        nans += np.int32(flat[i] != flat[i])
    return nans


@njit(cache=True, nogil=True)
def _at_or_above(row, score):  # type: ignore[no-untyped-def]
    # A 32-bit counter fills the same vector lanes as float32 scores.
    rank = np.int32(0)
    for d in range(row.shape[0]):
        rank += np.int32(row[d] >= score)
    return rank


@njit(cache=True, nogil=True, error_model="numpy")
def _precisions(positives, scores, n_classes, out):  # type: ignore[no-untyped-def]
    """Precision at each positive: one comparison with every class of its clip and no sort."""
    clip = first = end = 0
    for j in range(positives.shape[0]):
        if j == end:  # positives[first:end] are the labels of one clip
            clip = positives[j] // n_classes * n_classes
            first = j
            end = j + 1
            while end < positives.shape[0] and positives[end] < clip + n_classes:
                end += 1
        score = scores[positives[j]]
        hits = 1
        if end - first > 1:
            hits = 0
            for k in range(first, end):
                hits += scores[positives[k]] >= score
        out[j] = hits / _at_or_above(scores[clip : clip + n_classes], score)


@njit(cache=True, nogil=True)
def _accumulate(positives, scores, high, low, count):  # type: ignore[no-untyped-def]
    n_classes = count.shape[0]
    precision = np.empty(positives.shape[0])
    _precisions(positives, scores, n_classes, precision)
    for j in range(positives.shape[0]):
        scaled = precision[j] * _LIMB
        whole = np.int64(scaled)
        label = positives[j] % n_classes
        high[label] += whole
        low[label] += np.int64((scaled - whole) * _LIMB)
        count[label] += 1


@njit(cache=True, nogil=True)
def _ties(positives, scores, n_classes):  # type: ignore[no-untyped-def]
    ties = np.int64(0)
    for j in range(positives.shape[0]):
        clip = positives[j] // n_classes * n_classes
        row = scores[clip : clip + n_classes]
        score = scores[positives[j]]
        equal = np.int32(0)
        for d in range(n_classes):
            equal += np.int32(row[d] == score)
        ties += equal - 1
    return ties
