#!/usr/bin/env python3
"""Does TPE (--search hyperopt) find better experiments than a random search, and how much sooner?

    python benchmarks/tpe.py                                    # 50 seeds of 40 experiments on recorded ESC-10 runs
    python benchmarks/tpe.py --table FILE.parquet --objectives gp trees --figure curves.png

Nothing is trained. A table of recorded runs, one row per (experiment, fold, epoch), becomes an objective: the mean
over folds of an experiment's final lwlrap (the best epoch of each fold, or the column ``final``) as a function of
its hyperparameters (all columns that are not results), continued between the recorded experiments by a Gaussian
process (gp), extremely randomised trees (trees) or the value of the nearest recorded experiment (nearest). How well
each predicts experiments that it has not seen is printed beside the results, for they are worth no more than that.

The searcher is raytag's own (raytag.search.searchers.tpe.Tpe). It is told the objective plus noise: the
residual of a single fold, which is what a search with racing sees first, or none. A search is scored by the true
value of the experiment with the best value told so far (--top 10: the mean of the ten best, as for a blend). Both
searches share their first proposals and their noise, seed by seed; the interval is over seeds, not over what the
surrogate may have wrong. "random needs": after how many experiments a random search first has TPE's mean.
"""

from __future__ import annotations

import argparse
import numbers
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import track
from scipy import stats
from sklearn.base import RegressorMixin, clone
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.neighbors import KNeighborsRegressor
from threadpoolctl import threadpool_limits

from raytag.search.searchers.hyperopt import INITIAL_POINTS
from raytag.search.searchers.tpe import Tpe
from raytag.seeding import generator
from raytag.space import Choice, Distribution, Uniform

TABLE = Path(__file__).resolve().parents[2] / "shared" / "data" / "curves" / "esc10_small.parquet"
RESULTS = {  # columns that are no hyperparameters
    "experiment",
    "fold",
    "epoch",
    "train_loss",
    "val_lwlrap",
    "val_accuracy",
    "seconds",
    "final",
    "clip_variance",
}
MOST_CHOICES = 8  # a column with at most so many distinct numbers was drawn from a list
RANDOM_FACTOR = 10  # the random search goes on so many times longer, to see when it catches up
OBJECTIVES = ("gp", "trees", "nearest")


@dataclass(frozen=True)
class Recorded:
    """Experiments of a table that have all folds.

    ``points`` are plain values by column, ``values`` (experiments,) their mean lwlrap over folds, ``fold_sd`` the
    standard deviation of what a single fold adds beyond experiment and fold effects.
    """

    points: list[dict[str, Any]]
    values: np.ndarray
    fold_sd: float
    folds: int
    distributions: dict[str, Distribution]

    def unit(self, points: list[dict[str, Any]]) -> np.ndarray:
        """(points, coordinates): ranges and numbers on [0, 1], other choices at distance 1 from each other."""
        columns = []
        for key, distribution in self.distributions.items():
            values = [point[key] for point in points]
            if isinstance(distribution, Uniform):
                ends = np.array([distribution.low, distribution.high])
                x = np.array(values, float)
                if distribution.log:
                    ends, x = np.log(ends), np.log(x)
                columns.append((x - ends[0]) / (ends[1] - ends[0]))
            elif _numeric(distribution.values):
                place = {value: i / (len(distribution.values) - 1) for i, value in enumerate(distribution.values)}
                columns.append(np.array([place[v] for v in values]))
            else:
                columns += [np.array([v == o for v in values]) / np.sqrt(2) for o in distribution.values]
        return np.stack(columns, axis=1)


def read(path: Path) -> Recorded:
    """A table of recorded runs.

    Raises
    ------
    SystemExit
        No such file, a missing column, missing hyperparameters, or fewer than ten experiments with all folds.
    """
    if not path.is_file():
        raise SystemExit(f"--table {path}: no such file")
    table = pd.read_parquet(path)
    missing = {"experiment", "fold", "epoch", "val_lwlrap"} - set(table.columns)
    if missing:
        raise SystemExit(f"--table {path}: no column {', '.join(sorted(missing))}")
    finals = (
        table.groupby(["experiment", "fold"])["final" if "final" in table else "val_lwlrap"].max().unstack("fold")
    )
    complete = finals.dropna()
    if len(complete) < 10:
        raise SystemExit(f"--table {path}: {len(complete)} experiments have all folds; 10 are needed")
    if len(complete) < len(finals):
        print(f"{len(finals) - len(complete)} experiments without all folds are left out")
    cells = complete.to_numpy(float)
    n, folds = cells.shape
    residual = cells - cells.mean(axis=1, keepdims=True) - cells.mean(axis=0) + cells.mean()
    sd = float(np.sqrt((residual**2).sum() / ((n - 1) * (folds - 1)))) if folds > 1 else 0.0

    settings = table.drop_duplicates("experiment").set_index("experiment").loc[complete.index]
    settings = settings[[c for c in settings.columns if c not in RESULTS]]
    columns = {c: [_plain(v) for v in settings[c]] for c in settings.columns}
    empty = [c for c, values in columns.items() if any(v is None or v != v for v in values)]
    if empty:
        raise SystemExit(f"--table {path}: missing values in {', '.join(empty)}; fill them in or drop the columns")
    columns = {c: values for c, values in columns.items() if len(set(values)) > 1}
    return Recorded(
        [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)],
        complete.mean(axis=1).to_numpy(float),
        sd,
        folds,
        {c: _distribution(values) for c, values in columns.items()},
    )


def _plain(value: Any) -> Any:
    if isinstance(value, (list, np.ndarray)):
        return tuple(np.asarray(value).tolist())
    return value.item() if isinstance(value, np.generic) else value


def _numeric(values: Any) -> bool:
    return all(isinstance(v, numbers.Real) for v in values)


def _distribution(values: list[Any]) -> Distribution:
    """What a column seems to have been drawn from: a list, or a range on the scale that it fills more evenly."""
    distinct = set(values)
    if not _numeric(distinct):
        return Choice(tuple(sorted(distinct, key=repr)))
    if len(distinct) <= MOST_CHOICES:
        return Choice(tuple(sorted(distinct)))
    low, high = float(min(distinct)), float(max(distinct))

    def unevenness(x: np.ndarray) -> float:
        return float(stats.kstest((x - x.min()) / (x.max() - x.min()), "uniform").statistic)

    x = np.array(values, float)
    return Uniform(low, high, log=low > 0 and unevenness(np.log(x)) < unevenness(x))


def surrogate(name: str, recorded: Recorded) -> RegressorMixin:
    """An untrained model of lwlrap over ``Recorded.unit``'s coordinates."""
    if name == "gp":
        # One length scale for all: one each predicts worse from a few dozen experiments. What the mean over folds
        # is uncertain by is known, in units of the values' variance.
        noise = recorded.fold_sd**2 / recorded.folds / recorded.values.var()
        kernel = ConstantKernel() * Matern(1.0, nu=2.5)
        return GaussianProcessRegressor(kernel, alpha=noise + 1e-6, normalize_y=True, random_state=0)
    if name == "trees":
        return ExtraTreesRegressor(200, random_state=0)
    return KNeighborsRegressor(1)


def cross_validate(model: RegressorMixin, x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """(R², Spearman's rank correlation) of 10-fold predictions, mean of three shuffles."""
    found = []
    for seed in range(3):
        predicted = cross_val_predict(clone(model), x, y, cv=KFold(10, shuffle=True, random_state=seed))
        r2 = 1 - ((y - predicted) ** 2).sum() / ((y - y.mean()) ** 2).sum()
        found.append((r2, stats.spearmanr(y, predicted).statistic))
    return tuple(np.mean(found, axis=0).tolist())


def search(tpe: Tpe, recorded: Recorded, model: Any, noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """True and told values (experiments,) of one search with TPE, an experiment for each entry of ``noise``."""
    history: dict[int, dict[str, Any]] = {}
    true, told = np.empty(len(noise)), np.empty(len(noise))
    values: dict[int, float] = {}
    for i in range(len(noise)):
        history[i] = tpe.suggest(i, history, values)
        true[i] = model.predict(recorded.unit([history[i]]))[0]
        told[i] = values[i] = true[i] + noise[i]
    return true, told


def random_search(tpe: Tpe, recorded: Recorded, model: Any, noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same for a random search: TPE that is told nothing."""
    true = model.predict(recorded.unit([tpe.suggest(i, {}, {}) for i in range(len(noise))]))
    return true, true + noise


def curve(true: np.ndarray, told: np.ndarray, top: int) -> np.ndarray:
    """(experiments,): mean true value of the ``top`` best told among the first 1, 2, … experiments."""
    return np.array([true[np.argsort(-told[:k], kind="stable")[:top]].mean() for k in range(1, len(true) + 1)])


def report(curves: dict[str, np.ndarray], number: int) -> None:
    """Print random and TPE side by side; arrays (seeds, experiments)."""
    tpe, random = curves["tpe"], curves["random"]
    columns = "mean   5 %  50 %  95 %"
    print(f"experiments   random: {columns}   TPE: {columns}   TPE - random, 95 %   random needs")
    for k in sorted({*range(10, number + 1, 10), number}):
        cells = []
        for values in (random[:, k - 1], tpe[:, k - 1]):
            low, middle, high = np.quantile(values, [0.05, 0.5, 0.95])
            cells.append(f"{values.mean():.4f} {low:.3f} {middle:.3f} {high:.3f}")
        difference = (tpe[:, k - 1] - random[:, k - 1]).round(12)  # predicting one or many differs in the last bit
        half = stats.t.ppf(0.975, len(difference) - 1) * difference.std(ddof=1) / np.sqrt(len(difference))
        reached = np.flatnonzero(random.mean(axis=0) >= tpe[:, k - 1].mean())
        like = str(reached[0] + 1) if len(reached) else f"> {random.shape[1]}"
        print(
            f"{k:11d}   {cells[0]:>31s}  {cells[1]:>31s}  {difference.mean():+.4f} ± {half:.4f}  {like:>8s}",
            flush=True,
        )


def draw(path: Path, panels: dict[str, dict[str, np.ndarray]], number: int) -> None:
    """Median and 5 to 95 % range over seeds, a panel for each objective."""
    from matplotlib.figure import Figure  # not among raytag's dependencies

    figure = Figure(figsize=(4.5 * len(panels), 3.8), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    n = np.arange(1, number + 1)
    for axis, (title, curves) in zip(axes, panels.items(), strict=True):
        for name, colour in (("random", "tab:gray"), ("tpe", "tab:blue")):
            low, middle, high = np.quantile(curves[name][:, :number], [0.05, 0.5, 0.95], axis=0)
            axis.fill_between(n, low, high, color=colour, alpha=0.2, linewidth=0)
            axis.plot(n, middle, color=colour, label={"tpe": "TPE"}.get(name, name))
        axis.set(title=title, xlabel="experiments", ylabel="lwlrap of the best told")
        axis.legend(loc="lower right")
    figure.savefig(path, dpi=120)
    print(f"figure: {path}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, default=TABLE, help="recorded runs (default ESC-10's)")
    parser.add_argument("--objectives", nargs="+", choices=OBJECTIVES, default=["gp", "nearest"])
    parser.add_argument(
        "--noise", nargs="+", type=float, default=[0.0, 1.0], help="of a told value, in single-fold residuals (0 1)"
    )
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--number", type=int, default=40, help="experiments a search (default 40)")
    parser.add_argument(
        "--initial",
        type=int,
        default=INITIAL_POINTS,
        help=f"proposals before TPE models (default {INITIAL_POINTS})",
    )
    parser.add_argument("--top", type=int, default=1, help="score the mean of so many best told (default 1)")
    parser.add_argument("--figure", type=Path, help="draw the curves: a .png, .svg or .pdf; needs matplotlib")
    args = parser.parse_args()
    if args.seeds < 2 or args.number < 2 or args.top < 1 or args.initial < 0:
        parser.error("--seeds and --number must be at least 2, --top at least 1, --initial at least 0")
    if args.figure is not None:
        try:
            import matplotlib  # noqa: F401
        except ImportError:
            parser.error("--figure needs matplotlib: pip install --constraint constraints.txt matplotlib")

    recorded = read(args.table)
    x, y = recorded.unit(recorded.points), recorded.values
    print(
        f"{args.table.name}: {len(y)} experiments x {recorded.folds} folds, lwlrap {y.min():.3f} to {y.max():.3f} "
        f"(sd {y.std(ddof=1):.3f}), residual of one fold {recorded.fold_sd:.4f}"
    )
    for key, distribution in recorded.distributions.items():
        print(f"  {key}: {distribution}")
    panels = {}
    for name in args.objectives:
        model = surrogate(name, recorded)
        r2, rank = cross_validate(model, x, y)
        model.fit(x, y)
        print(f"\n{name}: 10-fold cross-validated R² {r2:.2f}, rank correlation {rank:.2f}")
        for noise in args.noise:
            sd = noise * recorded.fold_sd
            curves: dict[str, list[np.ndarray]] = {"tpe": [], "random": []}
            for seed in track(
                range(args.seeds), f"{name}, noise {sd:.3f}", console=Console(stderr=True), transient=True
            ):
                tpe = Tpe(recorded.distributions, seed, args.initial)
                error = sd * generator(seed, 2**31).standard_normal(RANDOM_FACTOR * args.number)
                curves["random"].append(curve(*random_search(tpe, recorded, model, error), args.top))
                curves["tpe"].append(curve(*search(tpe, recorded, model, error[: args.number]), args.top))
            panels[f"{name}, noise {sd:.3f}"] = {key: np.array(values) for key, values in curves.items()}
            print(
                f"\n{name}, told with noise of sd {sd:.4f}, {args.seeds} seeds; lwlrap, differences paired by seed"
            )
            report(panels[f"{name}, noise {sd:.3f}"], args.number)
    if args.figure is not None:
        draw(args.figure, panels, args.number)


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
