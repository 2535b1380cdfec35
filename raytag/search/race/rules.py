"""What drops an experiment: the rules of a race as plain functions of numbers.

Four modes (``STOPPING``):

``none``
    Nothing is dropped: full cross-validation.
``asha``
    Rungs in the first fold: at a share of its own epoch budget a trial goes on when its best lwlrap so far is
    among the best 1/eta of those that reached the rung before it, itself included, or among the best ``keep``
    (Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning", the stopping variant).
``exact``
    No rungs; an experiment is dropped when perfect scores on its remaining folds could not lift its
    cross-validated lwlrap to that of ``keep`` others, whatever these still score.
``paired``
    The rungs of ``asha``, and after each fold a comparison with the experiment that holds place ``keep`` on the
    same folds: e is dropped when the mean difference exceeds z standard errors (``paired_margin``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

STOPPING = ("none", "asha", "exact", "paired")
RUNGS: dict[str, tuple[float, ...]] = {"asha": (0.25, 0.5), "paired": (0.5,)}  # shares of a trial's epochs
PRIOR_DOF = 8  # cells' worth of trust in the variance that resampling clips gives
MIN_DOF = 8  # residuals needed before a variance without such a prior is believed


@dataclass(frozen=True)
class Settings:
    """The rules of a race.

    Parameters
    ----------
    stopping : {"none", "asha", "exact", "paired"}
    keep : int
        Size of the portfolio: at least so many experiments complete all folds.
    rungs : sequence of float or None
        Shares of a trial's epoch budget at which the first fold is judged, ascending, each in (0, 1); by default
        those in ``RUNGS``. Recorded in every mode, so that a later launch may judge by them.
    eta : float
        1/eta of the trials pass a rung; 1 lets all pass.
    z : float
        How many standard errors below the bar an experiment may lie.

    Raises
    ------
    ValueError
        A value out of range; the message names it.
    """

    stopping: str = "paired"
    keep: int = 3
    rungs: tuple[float, ...] | None = None
    eta: float = 2.0
    z: float = 0.5

    def __post_init__(self) -> None:
        if self.stopping not in STOPPING:
            raise ValueError(f"stopping must be one of {', '.join(STOPPING)}, not {self.stopping!r}")
        given = RUNGS.get(self.stopping, RUNGS["paired"]) if self.rungs is None else self.rungs
        object.__setattr__(self, "rungs", tuple(given))  # a list would not equal what the log gives back
        if self.keep < 1:
            raise ValueError(f"keep must be at least 1, not {self.keep}")
        if list(self.shares) != sorted(set(self.shares)) or not all(0 < r < 1 for r in self.shares):
            raise ValueError(f"rungs must be ascending shares between 0 and 1, not {self.rungs}")
        if not self.eta >= 1:  # NaN too
            raise ValueError(f"eta must be at least 1, not {self.eta:g}")
        if not 0 <= self.z < math.inf:
            raise ValueError(f"z must be finite and not negative, not {self.z:g}")

    @property
    def shares(self) -> tuple[float, ...]:
        """The rungs, never None."""
        return self.rungs or ()

    @property
    def has_rungs(self) -> bool:
        return self.stopping in ("asha", "paired")

    def plain(self) -> dict[str, Any]:
        """As JSON values, for the event log."""
        return {**asdict(self), "rungs": list(self.shares)}

    @classmethod
    def from_plain(cls, values: dict[str, Any]) -> Settings:
        return cls(**{**values, "rungs": tuple(values["rungs"])})


def rung_epoch(share: float, epochs: int) -> int:
    """The epoch (from 1) at which a trial with a budget of ``epochs`` reaches a rung."""
    return max(1, math.ceil(share * epochs))


def rung_bar(values: Sequence[float], keep: int, eta: float) -> float | None:
    """The lowest value that passes a rung: the best 1/eta of ``values``, and never fewer than ``keep``.

    None while all pass.
    """
    places = max(keep, math.ceil(len(values) / eta))
    return sorted(values, reverse=True)[places - 1] if len(values) > places else None


def portfolio_bar(means: Sequence[tuple[float, str]], keep: int) -> tuple[float, str] | None:
    """The ``keep``-th best of (mean over the same folds, experiment); None before ``keep`` + 2 are known."""
    return sorted(means, reverse=True)[keep - 1] if len(means) >= keep + 2 else None


def paired_margin(variance: float, done: int, folds: int, z: float) -> float:
    """How far below the bar an experiment's mean over its first ``done`` folds may lie.

    z · s · √(2 (1/d − 1/K)): z standard errors of the difference between two experiments' means over d of K
    folds as a guess of their difference over all K, where s² is the variance of what the two-way layout
    experiment + fold leaves unexplained (sampling d of K without replacement: Cochran 1977, section 2.5).

    Parameters
    ----------
    variance : float
        s², in squared units of lwlrap.
    done, folds : int
        d and K.
    z : float
    """
    return z * math.sqrt(max(variance, 0.0) * 2.0 * (1.0 / done - 1.0 / folds))


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
