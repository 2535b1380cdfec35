"""Linear second-level models: the baseline that a network must beat.

- **logistic**: for each class a logistic regression on that class's own log-odds, one a member, and an intercept.
  Nothing that members say about other classes enters, so there are few numbers to learn. A class without a
  positive or without a negative clip gets a constant, its smoothed frequency. (trtd56's stacking for the RFCX
  challenge is a logistic regression for each class as well, on all classes' predictions.)
- **ridge**: least squares from all members' log-odds of all classes to the 0/1 targets, penalised: what networks
  can see, without their hidden layers. Its values are squashed into (0, 1) by sigmoid(4 (z - 1/2)), which has slope
  1 at z = 1/2 and keeps ranks.

Both have a handful of penalties; the best on the inner split is fitted again on all clips that it may see, as
nothing in it is stopped early.

The logistic regressions of all classes are solved together by Newton's method, batched: the same optimum as
scikit-learn's, which takes each class by itself, in a twentieth to thirtieth of the time for a few hundred clips
(a third or less for a few thousand), and no import of a second for every worker.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import solve
from scipy.special import expit

from raytag.ensemble.stackers.inputs import Scaling, fit_scaling, scaled
from raytag.metrics import lwlrap


@dataclass(frozen=True)
class LinearConfig:
    """One linear model.

    Attributes
    ----------
    penalty : float
        logistic: 1 / C of scikit-learn, the weight of half the squared norm beside the summed loss. ridge: weight
        of the squared norm in units of the mean sum of squares of a column.
    """

    name: str
    kind: Literal["logistic", "ridge"]
    penalty: float


#: Those that are compared, the strongest penalty of a kind first: of equals the first is taken.
LINEAR_CONFIGS = (
    *(LinearConfig(f"logistic-{penalty:g}", "logistic", penalty) for penalty in (30.0, 10.0, 3.0, 1.0)),
    *(LinearConfig(f"ridge-{penalty:g}", "ridge", penalty) for penalty in (10.0, 3.0, 1.0, 0.3)),
)

Weights = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class LinearResult:
    """The best linear model of a case, and what the others reached."""

    config: LinearConfig
    inner_lwlrap: float
    weights: dict[str, torch.Tensor]
    tried: list[tuple[LinearConfig, float]]  # inner lwlrap of each


def train_linear(
    odds: NDArray[np.float32],
    targets: NDArray[np.float32],
    fit_rows: NDArray[np.int64],
    inner_rows: NDArray[np.int64],
    configs: Sequence[LinearConfig] = LINEAR_CONFIGS,
) -> LinearResult:
    """Choose a linear model on the inner split, then fit it on both its sides.

    Parameters
    ----------
    odds : np.ndarray [shape=(n_members, n_clips, n_classes)], float32
        Log-odds, not scaled.
    targets : np.ndarray [shape=(n_clips, n_classes)], float32
    fit_rows, inner_rows : np.ndarray
        Clips to fit on and to compare on; no other is looked at.
    configs : sequence of LinearConfig
        Of equally good ones the first is taken.
    """
    tried = []
    for kind in dict.fromkeys(config.kind for config in configs):
        of_kind = [config for config in configs if config.kind == kind]
        for config, weights in zip(of_kind, fit_linear(of_kind, odds, targets, fit_rows), strict=True):
            tried.append(
                (config, lwlrap(targets[inner_rows], predict_linear(config, weights, odds[:, inner_rows])))
            )
    config, best = max(tried, key=lambda pair: pair[1])
    (weights,) = fit_linear([config], odds, targets, np.sort(np.concatenate([fit_rows, inner_rows])))
    return LinearResult(config, best, weights, tried)


def fit_linear(
    configs: Sequence[LinearConfig],
    odds: NDArray[np.float32],
    targets: NDArray[np.float32],
    rows: NDArray[np.int64],
) -> list[dict[str, torch.Tensor]]:
    """Weights of models of one kind: ``coefficients``, ``intercept`` and ``scaling`` (mean, deviation), float64."""
    scaling = fit_scaling(odds, rows)
    x = scaled(odds[:, rows], scaling).astype(np.float64)
    y = targets[rows].astype(np.float64)
    solver = _logistic if configs[0].kind == "logistic" else _ridge
    return [
        {
            "coefficients": torch.from_numpy(np.ascontiguousarray(coefficients)),
            "intercept": torch.from_numpy(intercept),
            "scaling": torch.tensor([scaling.mean, scaling.deviation], dtype=torch.float64),
        }
        for coefficients, intercept in solver(x, y, [config.penalty for config in configs])
    ]


def predict_linear(config: LinearConfig, weights: Weights, odds: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities (n, n_classes), float32, from log-odds (n_members, n, n_classes)."""
    mean, deviation = weights["scaling"].tolist()
    x = scaled(odds, Scaling(mean, deviation)).astype(np.float64)
    coefficients, intercept = weights["coefficients"].numpy(), weights["intercept"].numpy()
    if config.kind == "logistic":  # (classes, members) on (n, members, classes)
        z = np.einsum("nmc,cm->nc", x.reshape(len(x), len(odds), odds.shape[2]), coefficients) + intercept
    else:
        z = 4 * (x @ coefficients.T + intercept - 0.5)
    values: NDArray[np.float32] = expit(z).astype(np.float32)
    return values


Fitted = tuple[NDArray[np.float64], NDArray[np.float64]]


def _logistic(x: NDArray[np.float64], y: NDArray[np.float64], penalties: Sequence[float]) -> list[Fitted]:
    """Per penalty: coefficients (n_classes, n_members), intercepts (n_classes,)."""
    n, n_classes = y.shape
    own = x.reshape(n, -1, n_classes).transpose(2, 0, 1)  # (classes, n, members)
    own = np.concatenate([own, np.ones((n_classes, n, 1))], axis=2)
    prior = (y.sum(axis=0) + 0.5) / (n + 1)
    weights = np.zeros((n_classes, own.shape[2]))
    weights[:, -1] = np.log(prior / (1 - prior))
    mixed = np.flatnonzero((y.sum(axis=0) > 0) & (y.sum(axis=0) < n))
    fitted: list[Fitted] = []
    for penalty in penalties:  # each starts where the one before ended
        weights[mixed] = _newton(own[mixed], y.T[mixed], penalty, weights[mixed])
        fitted.append((weights[:, :-1].copy(), weights[:, -1].copy()))
    return fitted


def _newton(
    x: NDArray[np.float64], y: NDArray[np.float64], penalty: float, weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Minimise the sum over clips of log(1 + exp(z)) - y z plus penalty / 2 |w|^2, for several classes at once.

    Parameters
    ----------
    x : np.ndarray [shape=(n_classes, n, k)]
        The last of the k columns is 1; its weight bears no penalty.
    y : np.ndarray [shape=(n_classes, n)]
    penalty : float
    weights : np.ndarray [shape=(n_classes, k)]
        To start from.

    Returns
    -------
    np.ndarray [shape=(n_classes, k)]
        Converged to a gradient below 1e-6, or after 50 steps.
    """
    ridge = np.full(x.shape[2], penalty)
    ridge[-1] = 0.0

    def objective(w: NDArray[np.float64]) -> NDArray[np.float64]:
        z = np.matmul(x, w[:, :, None])[:, :, 0]
        values: NDArray[np.float64] = (np.logaddexp(0, z) - y * z).sum(axis=1) + 0.5 * (ridge * w * w).sum(axis=1)
        return values

    value = objective(weights)
    for _ in range(50):
        p = expit(np.matmul(x, weights[:, :, None])[:, :, 0])
        gradient = np.matmul((p - y)[:, None, :], x)[:, 0, :] + ridge * weights
        if np.abs(gradient).max(initial=0.0) < 1e-6:
            break
        curved = np.matmul(x.transpose(0, 2, 1) * (p * (1 - p))[:, None, :], x)
        curved += np.diag(ridge + 1e-9)  # the intercept's curvature vanishes where all is certain
        step = np.linalg.solve(curved, gradient[:, :, None])[:, :, 0]
        length = np.ones(len(x))
        for _ in range(30):  # far from the optimum a full step may lead uphill: halve it, class by class
            proposed = weights - length[:, None] * step
            new = objective(proposed)
            worse = new > value + 1e-12 * np.abs(value)
            if not worse.any():
                break
            length[worse] /= 2
        better = new <= value + 1e-12 * np.abs(value)
        weights, value = np.where(better[:, None], proposed, weights), np.where(better, new, value)
    return weights


def _ridge(x: NDArray[np.float64], y: NDArray[np.float64], penalties: Sequence[float]) -> list[Fitted]:
    """Per penalty: coefficients (n_classes, n_members * n_classes), intercepts (n_classes,).

    The normal equations are solved on whichever side is smaller: (X'X + a I)^-1 X'Y = X' (XX' + a I)^-1 Y.
    """
    x_mean, y_mean = x.mean(axis=0), y.mean(axis=0)
    x, y = x - x_mean, y - y_mean
    unit = float(np.square(x).sum()) / x.shape[1] or 1.0
    primal = x.shape[1] <= len(x)
    gram = x.T @ x if primal else x @ x.T
    right = x.T @ y if primal else y
    fitted = []
    for penalty in penalties:
        solved = solve(gram + penalty * unit * np.eye(len(gram)), right, assume_a="pos")
        coefficients = (solved if primal else x.T @ solved).T
        fitted.append((coefficients, y_mean - coefficients @ x_mean))
    return fitted
