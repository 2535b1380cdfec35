"""What others publish for dropping experiments under cross-validation, as functions of recorded curves.

Each takes the curves (`raytag.search.race.replay.Curves`; folds run in the order of its axis) and the experiments
in order of arrival, and returns

epochs : np.ndarray [shape=(E, K), dtype=int64]
    Epochs trained of each experiment on each fold.
complete : list of int
    Experiments with all folds trained to the end.

They run one trial at a time.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from raytag.search.race.replay import Curves
from raytag.search.race.rules.rungs import rung_bar
from raytag.search.race.state import rung_epoch

Outcome = tuple[NDArray[np.int64], list[int]]


def full_cv(curves: Curves, order: Sequence[int]) -> Outcome:
    """Nothing is dropped."""
    epochs = np.zeros(curves.final.shape, np.int64)
    epochs[list(order)] = curves.best.shape[2]
    return epochs, list(order)


def trial_asha(
    curves: Curves, order: Sequence[int], rungs: Sequence[float] = (0.25, 0.5), eta: float = 2.0
) -> Outcome:
    """ASHA on every trial (experiment, fold) as if folds were experiments of their own.

    One bracket of the stopping variant: at each rung a trial goes on when it is among the best 1/``eta`` of all
    trials that reached the rung before it, itself included, of whatever fold (Li et al. 2020, "A System for
    Massively Parallel Hyperparameter Tuning"). Experiments arrive one after another with all their folds. One
    whose trial was stopped has a hole in its out-of-fold predictions: it is not complete, and its other trials
    run on, for no trial knows of another.

    Parameters
    ----------
    curves, order
    rungs : sequence of float
        Shares of a trial's epochs.
    eta : float
    """
    n_epochs = curves.best.shape[2]
    seen: dict[int, list[float]] = {e: [] for e in sorted({rung_epoch(r, n_epochs) for r in rungs}) if e < n_epochs}
    epochs = np.zeros(curves.final.shape, np.int64)
    for e in order:
        for k in range(curves.final.shape[1]):
            epochs[e, k] = n_epochs
            for epoch, values in seen.items():
                value = float(curves.best[e, k, epoch - 1])
                values.append(value)
                bar = rung_bar(values, 1, eta)
                if bar is not None and value < bar:
                    epochs[e, k] = epoch
                    break
    return epochs, [e for e in order if (epochs[e] == n_epochs).all()]


def aggressive(curves: Curves, order: Sequence[int]) -> Outcome:
    """Stop an experiment when the mean of its folds so far is not above the incumbent's mean over all folds.

    Bergman, Purucker and Hutter 2024, "Don't Waste Your Time: Early Stopping Cross-Validation". Experiments run
    one after another, fold after fold, each fold to its end. The incumbent is the best complete experiment so far.
    """
    return _stopped_cv(curves, order, forgiving=False)


def forgiving(curves: Curves, order: Sequence[int]) -> Outcome:
    """As `aggressive`, but stop only when that mean is not above the incumbent's worst fold."""
    return _stopped_cv(curves, order, forgiving=True)


def _stopped_cv(curves: Curves, order: Sequence[int], *, forgiving: bool) -> Outcome:
    n_folds = curves.final.shape[1]
    epochs = np.zeros(curves.final.shape, np.int64)
    complete: list[int] = []
    incumbent: NDArray[np.float64] | None = None
    for e in order:
        scores = curves.final[e]
        bar = -np.inf if incumbent is None else float(incumbent.min() if forgiving else incumbent.mean())
        run = next((d for d in range(1, n_folds) if scores[:d].mean() <= bar), n_folds)
        epochs[e, :run] = curves.best.shape[2]
        if run == n_folds:
            complete.append(e)
            if incumbent is None or scores.mean() > incumbent.mean():
                incumbent = scores
    return epochs, complete
