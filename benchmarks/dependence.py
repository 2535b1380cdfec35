#!/usr/bin/env python3
"""What stacking's dependence is worth: out-of-fold stacking beside full nesting, on real recordings.

    python ../shared/tools/make_fsd.py --out data/fsd0 --seed 0
    python benchmarks/dependence.py --data data/fsd0

A stacker of fold k reads out-of-fold predictions of the other folds. They come from first-level models that trained
on fold k, so its labels have touched the stacker's inputs. Full nesting trains, for every fold k, all first-level
models again without it: the predictions of fold j that the stacker learns from come from models that saw neither j
nor k. That takes (folds - 1) times more first-level training, so it is measured here with first-level models that
train in a second: ridge and logistic regression, nearest neighbours and random forests on means and standard
deviations of log-mel bands.

Either way the stackers predict fold k from the same inputs. The difference between the two scores is what the usual
way of stacking gets from the dependence, with a 95 % interval by clip.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.multioutput import MultiOutputClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from raytag import datasets
from raytag.blends.means import geometric_mean
from raytag.console import Progress, make_console
from raytag.datasets.table import multi_hot
from raytag.ensemble.assess.bootstrap import Bootstrap
from raytag.ensemble.stackers.case import Case, StackerData, run_case
from raytag.experiment import Experiment
from raytag.features import UnusableClip, extract
from raytag.metrics import label_precisions

Fit = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with labelled clips in folds")
    parser.add_argument("--stackers", type=int, default=8, help="size of the grid of MLPs (default 8)")
    parser.add_argument("--seeds", type=int, default=3, help="repeats of the stackers (default 3)")
    args = parser.parse_args()
    console = make_console()
    x, targets, fold = read(args.data, console)
    folds = int(fold.max()) + 1
    models = first_level()
    print(f"{len(x)} clips, {targets.shape[1]} classes, {folds} folds, {len(models)} first-level models")
    with Progress(console, "first level", float(folds * folds * len(models))) as progress:
        usual, nested = predictions(models, x, targets, fold, folds, progress)
    clip, _, _ = label_precisions(targets, usual[0])
    for m, name in enumerate(models):
        print(f"  {name}: lwlrap {label_precisions(targets, usual[m])[2].mean():.4f}")
    bootstrap = Bootstrap([""] * len(x), clip)
    differences: dict[str, list[np.ndarray]] = {}
    with Progress(console, "stackers", float(args.seeds * folds)) as progress:
        for seed in range(args.seeds):
            for family, (a, b) in stacked(usual, nested, targets, fold, args.stackers, seed, progress).items():
                plain, full = (label_precisions(targets, p)[2] for p in (a, b))
                print(f"seed {seed}, {family}: out-of-fold {plain.mean():.4f}, full nesting {full.mean():.4f}")
                differences.setdefault(family, []).append(plain - full)
    for family, found in differences.items():
        interval = bootstrap.interval(np.mean(found, axis=0))
        print(
            f"{family}: out-of-fold stacking minus full nesting {interval.value:+.4f} "
            f"[{interval.low:+.4f}, {interval.high:+.4f}] (mean of {len(found)} seeds, 95 % by clip)"
        )


def read(folder: Path, console: Console) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means and deviations of log-mel bands (n, 256), targets (n, n_classes) and folds of the usable clips."""
    table = datasets.load(folder)
    clips = table.clips
    clips = clips[(clips["subset"] == "curated") & (clips["fold"] >= 0)]
    features, kept, rows = Experiment().features, [], []
    with Progress(console, "features", float(len(clips))) as progress:
        for i, path in enumerate(clips["path"]):
            progress.advance(1.0)
            try:
                logmel = extract(path, features)
            except UnusableClip as error:
                print(f"left out: {error}")
                continue
            rows.append(np.concatenate([logmel.mean(axis=1), logmel.std(axis=1)]))
            kept.append(i)
    clips = clips.iloc[kept]
    return np.stack(rows), multi_hot(clips["labels"].tolist(), table.classes), clips["fold"].to_numpy()


def first_level() -> dict[str, Fit]:
    """Name → fit on (x, targets) and predict probabilities for others."""

    def ridge(penalty: float) -> Fit:
        def fit(x: np.ndarray, targets: np.ndarray, other: np.ndarray) -> np.ndarray:
            model = make_pipeline(StandardScaler(), Ridge(penalty)).fit(x, targets)
            return 1 / (1 + np.exp(-4 * (model.predict(other) - 0.5)))

        return fit

    def classifier(make: Callable[[], object]) -> Fit:
        def fit(x: np.ndarray, targets: np.ndarray, other: np.ndarray) -> np.ndarray:
            model = make_pipeline(StandardScaler(), MultiOutputClassifier(make())).fit(x, targets)
            columns = [
                p[:, list(e.classes_).index(1.0)] if 1.0 in e.classes_ else np.zeros(len(other))
                for p, e in zip(model.predict_proba(other), model[-1].estimators_, strict=True)
            ]
            return np.stack(columns, axis=1)

        return fit

    return {
        "ridge 30": ridge(30.0),
        "ridge 300": ridge(300.0),
        "logistic 0.003": classifier(lambda: LogisticRegression(C=0.003, max_iter=300)),
        "logistic 0.03": classifier(lambda: LogisticRegression(C=0.03, max_iter=300)),
        "5 neighbours": classifier(lambda: KNeighborsClassifier(5, weights="distance")),
        "25 neighbours": classifier(lambda: KNeighborsClassifier(25, weights="distance")),
        "forest": classifier(lambda: RandomForestClassifier(100, min_samples_leaf=2, random_state=0)),
        "deep forest": classifier(lambda: RandomForestClassifier(100, max_features=0.3, random_state=1)),
    }


def predictions(
    models: dict[str, Fit], x: np.ndarray, targets: np.ndarray, fold: np.ndarray, folds: int, progress: Progress
) -> tuple[np.ndarray, np.ndarray]:
    """Out-of-fold predictions (m, n, c), and for each fold those of models that never saw it (folds, m, n, c)."""
    usual = np.empty((len(models), *targets.shape), np.float32)
    nested = np.empty((folds, *usual.shape), np.float32)
    for m, fit in enumerate(models.values()):
        for j in range(folds):
            for k in range(folds):
                train = (fold != j) & (fold != k)
                found = fit(x[train], targets[train], x[fold == j])
                progress.advance(1.0)
                nested[k, m, fold == j] = found
                if k == j:
                    usual[m, fold == j] = found
    return usual, nested


def stacked(
    usual: np.ndarray,
    nested: np.ndarray,
    targets: np.ndarray,
    fold: np.ndarray,
    n_mlps: int,
    seed: int,
    progress: Progress,
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """For each family of stackers its predictions, trained in the usual way and fully nested."""
    group = np.full(len(targets), "", dtype=object)
    data = StackerData(usual, targets, fold, group, None)
    found: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for k in range(len(nested)):
        case = Case(tuple(range(len(usual))), (k,), with_test=False, keep_weights=False)
        # for the clips of fold k itself both hold the same predictions
        assert np.array_equal(nested[k][:, fold == k], usual[:, fold == k])
        for place, inputs in enumerate((usual, nested[k])):
            finalists = run_case(replace(data, probabilities=inputs), case, n_mlps, seed).finalists
            for family in ("linear", "mlp"):
                both = found.setdefault(family, (np.empty(targets.shape), np.empty(targets.shape)))
                both[place][fold == k] = geometric_mean(np.stack([t.oof for t in finalists if t.family == family]))
        progress.advance(1.0)
    return found


if __name__ == "__main__":
    main()
