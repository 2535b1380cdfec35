"""Which fold is typical, before anything is trained: a linear classifier on pooled features, in about a second.

Folds run in one order for all experiments, and racing judges an experiment on the first of them alone, so the
first should be a typical fold and not an outlier. Each fold is scored with a baseline trained on the others;
the folds then come by their distance to the median score. With some eighty clips a fold the scores of ordinary
folds differ by chance as much as by nature: the order finds outliers, it does not rank the rest.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from raytag.datasets.table import ClipTable
from raytag.features.bank import Bank
from raytag.metrics import lwlrap
from raytag.parts import Features
from raytag.seeding import generator

MAX_CLIPS = 5000  # of all folds together; where there are more, each fold gives an equal number, drawn at random
PENALTIES = (0.1, 1.0, 10.0)  # per training clip: 1 shrinks a unit-variance direction of the features by half
_SEED = 0


def difficulty(table: ClipTable, bank: Bank, features: Features, n_folds: int) -> np.ndarray:
    """How well a baseline that was trained on the other folds does on each fold: the lower, the harder.

    A clip becomes the summary that its feature set makes: mean and standard deviation of every band. On these,
    standardised on the training folds, a ridge regression predicts each class's 0/1 target (one-vs-rest, closed
    form): ``W = (XᵀX + penalty n I)⁻¹ Xᵀ (Y - mean Y)``. A fold's score is its mean lwlrap over three fixed
    penalties: choosing one would add noise of its own. Only curated clips with labels and features take part.

    Parameters
    ----------
    table : ClipTable
    bank : Bank
        Frames of at least the curated clips, found by clip id.
    features : Features
        What they are.
    n_folds : int
        Folds 0..n_folds-1.

    Returns
    -------
    np.ndarray [shape=(n_folds,)], float64
        lwlrap in (0, 1]; NaN for a fold without labelled clips, or without any in the other folds. The same
        bank and table give the same scores.

    Raises
    ------
    KeyError
        The bank does not hold a curated clip; the message names it.

    Notes
    -----
    Time is bounded by `MAX_CLIPS` and `raytag.features.look.MAX_VALUES`, about a second of one core besides
    reading a bank that is mapped from a cold disk. Clips are pooled one at a time: no second copy of it is made.

    A class that no training clip carries is ranked last, as a trained tagger would.

    References
    ----------
    Hoerl, Kennard: Ridge regression: biased estimation for nonorthogonal problems. Technometrics 12(1), 1970.
    """
    rows, folds = _drawn(table, bank, n_folds)
    scores = np.full(n_folds, np.nan)
    if not len(rows):
        return scores
    pooled = features.summary(bank, bank.index(table.clips["clip"].to_numpy(dtype=object)[rows]))
    targets = table.targets(rows).astype(np.float64)
    for fold in range(n_folds):
        own, others = folds == fold, folds != fold
        if own.any() and others.any():
            predictions = _ridge(pooled[others], targets[others], pooled[own])
            scores[fold] = np.mean([lwlrap(targets[own], p) for p in predictions])
    return scores


def typical_first(scores: Sequence[float] | np.ndarray) -> list[int]:
    """Folds in the order of their scores' distance to the median score, nearest first.

    Ties, which the two middle ones of an even number of folds always are, keep the order of the numbers. Folds
    without a score (NaN) come last.

    Parameters
    ----------
    scores : sequence of float, one a fold
        As from `difficulty`.

    Returns
    -------
    list of int
        Each of 0..n_folds-1 once.

    Examples
    --------
    >>> typical_first([0.79, 0.84, 0.84, 0.88, 0.83])
    [1, 2, 4, 3, 0]
    """
    values = np.asarray(scores, np.float64)
    known = ~np.isnan(values)
    median = float(np.median(values[known])) if known.any() else 0.0
    # the rounding of a subtraction must not break a tie
    distance = np.where(known, np.round(np.abs(values - median), 12), np.inf)
    return [int(k) for k in np.argsort(distance, kind="stable")]


def _drawn(table: ClipTable, bank: Bank, n_folds: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the table that take part and the fold of each, int64 (n,)."""
    clips = table.clips
    rows = table.rows("curated")
    rows = rows[(clips["labels"].to_numpy(dtype=object)[rows] != "").astype(bool)]
    rows = rows[bank.frames[bank.index(clips["clip"].to_numpy(dtype=object)[rows])] > 0]
    folds = clips["fold"].to_numpy()[rows]
    if len(rows) <= MAX_CLIPS:
        inside = (folds >= 0) & (folds < n_folds)
        return rows[inside], folds[inside]
    most = max(1, MAX_CLIPS // n_folds)
    parts = []
    for fold in range(n_folds):
        members = rows[folds == fold]
        if len(members) > most:
            members = np.sort(generator(_SEED, fold).choice(members, most, replace=False))
        parts.append(members)
    drawn = np.concatenate(parts)
    return drawn, clips["fold"].to_numpy()[drawn]


def _ridge(train: np.ndarray, targets: np.ndarray, other: np.ndarray) -> list[np.ndarray]:
    """Ridge regression on standardised features: for each penalty, predictions for ``other``, (n, n_classes)."""
    centre, scale = train.mean(axis=0), train.std(axis=0)
    scale[scale <= 1e-7 * np.abs(train).max()] = np.inf  # constant but for rounding: says nothing
    x, base = (train - centre) / scale, targets.mean(axis=0)
    z, gram, moment = (other - centre) / scale, x.T @ x, x.T @ (targets - base)
    unit, absent = len(x) * np.eye(x.shape[1]), ~targets.any(axis=0)
    predictions = [z @ np.linalg.solve(gram + penalty * unit, moment) + base for penalty in PENALTIES]
    for p in predictions:
        p[:, absent] = -np.inf
    return predictions
