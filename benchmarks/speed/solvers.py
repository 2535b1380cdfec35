"""Linear models: raytag's solvers beside scikit-learn's, CPU seconds a case and how far apart they end.

    python benchmarks/speed/solvers.py

A case is what `raytag.ensemble.stackers.linear.train_linear` does, on one thread: 4 logistic and 4 ridge
penalties on the inner split's training side, the best fitted again on both sides. Predictions are simulated
(`_oof.py`), in 5 folds, with fold 0 left out. The last table is the ridge of the order of folds
(`raytag.search.race.fold_order`).
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable

import numpy as np
from _oof import simulate
from _timing import machine
from rich.console import Console
from rich.table import Table
from sklearn.linear_model import LogisticRegression, Ridge

from raytag.ensemble.stackers import linear
from raytag.ensemble.stackers.case import inner_split, one_thread
from raytag.ensemble.stackers.inputs import log_odds
from raytag.metrics import lwlrap
from raytag.search.race import fold_order

REPEATS = 5


def logistic_of(solver: str, tol: float) -> Callable:
    """scikit-learn's logistic regression as `raytag.ensemble.stackers.linear._logistic`."""

    def fit(x, y, penalties):
        n, n_classes = y.shape
        own = x.reshape(n, -1, n_classes)
        prior = (y.sum(axis=0) + 0.5) / (n + 1)
        found = [(np.zeros((n_classes, own.shape[1])), np.log(prior / (1 - prior))) for _ in penalties]
        for c in np.flatnonzero((y.sum(axis=0) > 0) & (y.sum(axis=0) < n)):
            column = np.ascontiguousarray(own[:, :, c])
            for (coefficients, intercept), penalty in zip(found, penalties, strict=True):
                model = LogisticRegression(solver=solver, tol=tol, max_iter=1000, C=1 / penalty)
                model.fit(column, y[:, c])
                coefficients[c], intercept[c] = model.coef_[0], model.intercept_[0]
        return found

    return fit


def ridge(x, y, penalties):
    """scikit-learn's ridge as `raytag.ensemble.stackers.linear._ridge`."""
    unit = float(np.square(x - x.mean(axis=0)).sum()) / x.shape[1] or 1.0
    models = [Ridge(alpha=penalty * unit).fit(x, y) for penalty in penalties]
    return [(np.atleast_2d(model.coef_), np.atleast_1d(model.intercept_)) for model in models]


def fold_ridge(train, targets, other):
    """scikit-learn's ridge as `raytag.search.race.fold_order._ridge`."""
    centre, scale = train.mean(axis=0), train.std(axis=0)
    x, z = (train - centre) / scale, (other - centre) / scale
    return [Ridge(alpha=p * len(x)).fit(x, targets).predict(z) for p in fold_order.PENALTIES]


def cpu_seconds(work: Callable[[], object]) -> float:
    """The least of `REPEATS`."""
    seconds = []
    for _ in range(REPEATS):
        started = time.process_time()
        work()
        seconds.append(time.process_time() - started)
    return min(seconds)


def compare_cases(console: Console) -> None:
    """Each case with our solvers and scikit-learn's."""
    own = linear._logistic, linear._ridge
    ways = {
        "raytag": own,
        "Ridge alone": (own[0], ridge),
        "lbfgs, tol 1e-4 (its own)": (logistic_of("lbfgs", 1e-4), ridge),
        "lbfgs, tol 1e-8": (logistic_of("lbfgs", 1e-8), ridge),
        "newton-cholesky, tol 1e-8": (logistic_of("newton-cholesky", 1e-8), ridge),
    }
    for members, clips, classes in ((7, 5000, 80), (5, 400, 10)):
        probabilities, targets = simulate(members, clips, classes)
        out = np.arange(clips) % 5 == 0
        odds, seen, left = log_odds(probabilities[:, ~out]), targets[~out], log_odds(probabilities[:, out])
        fit, inner = inner_split(seen, np.full(len(seen), "", dtype=object), 0, (0,))
        table = Table("solvers", "CPU s a case", "x", "largest difference of a probability", "lwlrap", "chosen")
        first = None
        for name, (linear._logistic, linear._ridge) in ways.items():
            seconds = cpu_seconds(lambda: linear.train_linear(odds, seen, fit, inner))  # noqa: B023
            values = []
            for kind in ("logistic", "ridge"):
                configs = [config for config in linear.LINEAR_CONFIGS if config.kind == kind]
                fitted = linear.fit_linear(configs, odds, seen, fit)
                values += [linear.predict_linear(c, w, left) for c, w in zip(configs, fitted, strict=True)]
            found = linear.train_linear(odds, seen, fit, inner)
            score = lwlrap(targets[out], linear.predict_linear(found.config, found.weights, left))
            first = first or (seconds, values)
            apart = max(float(np.abs(a - b).max()) for a, b in zip(values, first[1], strict=True))
            ratio = f"{seconds / first[0]:.2f}"
            table.add_row(name, f"{seconds:.4f}", ratio, f"{apart:.1e}", f"{score:.6f}", found.config.name)
        linear._logistic, linear._ridge = own
        console.print(f"{members} models × {classes} classes, {clips} clips", table)


def compare_fold_order(console: Console) -> None:
    """Five folds of 5,000 clips of 256 values."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(5000, 256)), (rng.random((5000, 80)) < 0.03).astype(np.float64)
    fold, table = np.arange(5000) % 5, Table("solver", "CPU s")
    for name, solver in (("raytag", fold_order._ridge), ("Ridge", fold_ridge)):

        def work(solver: Callable = solver) -> None:
            for k in range(5):
                solver(x[fold != k], y[fold != k], x[fold == k])

        table.add_row(name, f"{cpu_seconds(work):.2f}")
    console.print("the order of five folds: 5,000 clips × 256 values, 80 classes", table)


def main() -> None:
    warnings.simplefilter("error")
    console = Console(width=120)
    with one_thread():
        compare_cases(console)
        compare_fold_order(console)
    console.print(machine())


if __name__ == "__main__":
    main()
