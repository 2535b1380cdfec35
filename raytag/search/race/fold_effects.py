"""The two-way layout experiment + fold: what an experiment is worth, freed from which folds it has run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PRIOR_DOF = 8  # cells' worth of trust in the variance that resampling clips gives
MIN_DOF = 8  # residuals needed before a variance without such a prior is believed


@dataclass(frozen=True)
class TwoWay:
    """Least-squares fit of ``value = estimate + fold effect + residual`` to the cells that are known.

    Attributes
    ----------
    estimates : np.ndarray [shape=(E,), dtype=float64]
        Value of each experiment averaged over all folds, as if it had run them all; NaN without a cell.
    fold_effects : np.ndarray [shape=(K,), dtype=float64]
        By how much a fold's values lie above the average fold's; sums to 0 over the folds seen, 0 for others.
    residual_ss : float
        Sum of squared residuals.
    dof : int
        Degrees of freedom left for the residuals; 0 where every cell is fitted exactly.
    """

    estimates: NDArray[np.float64]
    fold_effects: NDArray[np.float64]
    residual_ss: float
    dof: int


def fit(values: NDArray[np.float64]) -> TwoWay:
    """Fit the additive model to a table with holes.

    The fold effects solve the normal equations that are left when the experiments' effects are eliminated
    (Searle 1987, "Linear Models for Unbalanced Data", section 4.9).

    Parameters
    ----------
    values : np.ndarray [shape=(E, K)]
        lwlrap of experiment e on fold k; NaN where it is unknown.

    Raises
    ------
    ValueError
        Not two-dimensional.
    """
    if values.ndim != 2:
        raise ValueError(f"values must be experiments × folds, not of shape {values.shape}")
    known = ~np.isnan(values)
    filled = np.where(known, values, 0.0)
    mask = known.astype(np.float64)
    per_row, per_column = mask.sum(1), mask.sum(0)
    weight = np.divide(1.0, per_row, out=np.zeros_like(per_row), where=per_row > 0)
    normal = np.diag(per_column) - mask.T @ (mask * weight[:, None])
    right = filled.sum(0) - mask.T @ (filled.sum(1) * weight)
    # the effects are known up to a constant: the shortest solution, then made to sum to 0
    effects = np.linalg.lstsq(normal, right, rcond=1e-10)[0] if len(values) else np.zeros(values.shape[1])
    seen = per_column > 0
    effects = np.where(seen, effects - effects[seen].mean() if seen.any() else 0.0, 0.0)
    estimates = (filled.sum(1) - mask @ effects) * weight
    residuals = np.where(known, filled - estimates[:, None] - effects[None, :], 0.0)
    # too few, never too many, where experiments that share no fold, not even through others, fall apart
    dof = int(known.sum()) - int((per_row > 0).sum()) - int(seen.sum()) + int(known.any())
    estimates[per_row == 0] = np.nan
    return TwoWay(estimates, effects, float((residuals**2).sum()), max(dof, 0))


def pooled_variance(residual_ss: float, dof: int, priors: Sequence[float]) -> float | None:
    """s²: the residual variance, shrunk towards what resampling clips predicts while residuals are few.

    Parameters
    ----------
    residual_ss, dof : float, int
        Of the two-way layout.
    priors : sequence of float
        Variances of one cell by a bootstrap over clips, one for each finished first fold; may be empty.

    Returns
    -------
    float or None
        (PRIOR_DOF · prior + residual_ss) / (PRIOR_DOF + dof); without a prior residual_ss / dof, and None as long
        as there are fewer than MIN_DOF degrees of freedom.
    """
    if priors:
        return (PRIOR_DOF * sum(priors) / len(priors) + residual_ss) / (PRIOR_DOF + dof)
    return residual_ss / dof if dof >= MIN_DOF else None
