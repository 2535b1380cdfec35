#!/usr/bin/env python3
"""What a second space gains over a first one with as many experiments, over rotations of the test fold.

    for T in 1 3 5; do
        python ../shared/tools/make_fsd.py --out data/fsd$T --seed 0 --test-fold $T
        for SPACE in specaug_mixup geometries; do
            python launch.py --space $SPACE --data data/fsd$T --run $SPACE-$T --seed 0 --num-samples 12 \\
                --epochs 16 --set model.base_size=8 --stopping none --search random
        done
    done
    python benchmarks/honesty/two_spaces.py --first specaug_mixup-{1,3,5} --second geometries-{1,3,5} \\
        --data data/fsd{1,3,5}

Of each run: the best single model and the ensemble that ``ensemble_search.py`` keeps, nested and on the hidden test
clips, and how alike the models err. 95 % intervals by source recording over all rotations; differences are of the
same draws. Yule's Q of two models is (ad - bc) / (ad + bc), where of the labels a are ranked before all that is not
positive by both, d by neither, b and c by one alone: 1 where they err on the same labels, 0 where independently.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import numpy as np
from _sources import Sources, cell, read_truth, samples
from rich.console import Console
from rich.table import Table

from raytag.cluster.session import ray_session
from raytag.cluster.tasks import keep_workers
from raytag.console import make_console, say
from raytag.ensemble.choose.ways import WAYS
from raytag.ensemble.pipeline import EnsembleSettings, predict_test, search_ensemble
from raytag.ensemble.predictions.oof import OofMatrix, load_oof
from raytag.metrics import label_precisions
from raytag.store.run import RunStore

WHAT = ("best single, nested", "best single, test", "kept, nested", "kept, test")
Values = dict[str, list[np.ndarray]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs-dir", default="runs")
    parser.add_argument(
        "--first", nargs="+", required=True, metavar="RUN", help="runs of one space, one a rotation"
    )
    parser.add_argument("--second", nargs="+", required=True, metavar="RUN", help="runs of the other")
    parser.add_argument("--data", nargs="+", required=True, metavar="DIR", help="their folders, in the same order")
    parser.add_argument("--stackers", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if not len(args.first) == len(args.second) == len(args.data):
        parser.error("give as many runs of each space as --data")
    console = make_console()
    found: list[Values] = [{}, {}]
    parts: dict[str, tuple[list[list[str]], list[np.ndarray]]] = {"nested": ([], []), "test": ([], [])}
    with ray_session(None) as wait_for_ray, keep_workers():
        wait_for_ray()
        for first, second, folder in zip(args.first, args.second, args.data, strict=True):
            for values, name in zip(found, (first, second), strict=True):
                targets = score(RunStore(args.runs_dir, name), Path(folder), args, values, console)
            for part, (of_part, own) in targets.items():
                sources, clips = parts[part]
                clips.append(label_precisions(of_part, np.zeros_like(of_part))[0] + len(sources))
                sources += own
    drawn = Sources(parts["nested"][0] + parts["test"][0], args.seed)
    weights = {part: drawn.weights(sources)[:, np.concatenate(clips)] for part, (sources, clips) in parts.items()}
    print(f"{len(args.data)} rotations, {len(drawn)} source recordings; 95 % by source")
    report(console, found, weights)


def score(
    store: RunStore, folder: Path, args: argparse.Namespace, values: Values, console: Console
) -> dict[str, tuple[np.ndarray, list[list[str]]]]:
    """Search one run; targets and sources of its clips, by part."""
    oof = load_oof(store)
    sizes = tuple(range(1, min(7, len(oof.experiments)) + 1))
    ensemble = search_ensemble(
        oof, EnsembleSettings(sizes, "geometric", 600.0, 10, args.stackers, args.seed), console
    )
    test = read_truth(folder / "truth/test.csv", oof.test_fnames, oof.classes)
    _, sources = read_truth(folder / "truth/train_curated.csv", oof.fnames, oof.classes)
    assessment = ensemble.assessment
    for what, scored in (("best single", assessment.ways["single"]), ("kept", assessment.final)):
        predicted = predict_test(oof, "geometric", ensemble.choices, ensemble.second, scored.way)
        assert predicted is not None
        values.setdefault(f"{what}, nested", []).append(scored.nested_values)
        values.setdefault(f"{what}, test", []).append(label_precisions(test[0], predicted)[2])
    within, across = alike(store, oof)
    say(
        console,
        f"{store.name}: {len(oof.experiments)} experiments, {trained(store, oof) / 60:.0f} min of training; "
        f"kept {WAYS[assessment.final.way].title} of {len(ensemble.weights)}; "
        f"test {values['kept, test'][-1].mean():.4f}, best single {values['best single, test'][-1].mean():.4f}; "
        f"Yule's Q {within:.2f} within the features, {across:.2f} across",
    )
    return {"nested": (oof.targets, sources), "test": test}


def trained(store: RunStore, oof: OofMatrix) -> float:
    """Seconds that the trials took, one after the other."""
    folds = range(store.run["n_folds"])
    return sum(store.fold(name, k).result()["seconds"] for name in oof.experiments for k in folds)


def alike(store: RunStore, oof: OofMatrix) -> tuple[float, float]:
    """Mean Yule's Q over pairs of experiments with the same features, and with different ones (NaN without)."""
    hits = [label_precisions(oof.targets, p)[2] == 1 for p in oof.probabilities]
    features = [store.experiment(name).features for name in oof.experiments]
    found: dict[bool, list[float]] = {True: [], False: []}
    for i, j in itertools.combinations(range(len(hits)), 2):
        both, neither = np.sum(hits[i] & hits[j]), np.sum(~hits[i] & ~hits[j])
        one, other = np.sum(hits[i] & ~hits[j]), np.sum(~hits[i] & hits[j])
        found[features[i] == features[j]].append((both * neither - one * other) / (both * neither + one * other))
    return tuple(float(np.mean(q)) if q else float("nan") for q in found.values())  # type: ignore[return-value]


def report(console: Console, found: list[Values], weights: dict[str, np.ndarray]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("", "first", "second", "second - first"):
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    means, draws = [], []
    for values in found:
        joined = {what: np.concatenate(values[what]) for what in WHAT}
        means.append({what: float(joined[what].mean()) for what in WHAT})
        draws.append({what: samples(joined[what], weights[what.split(", ")[1]]) for what in WHAT})
        for part in ("nested", "test"):
            kept, single, gain = f"kept, {part}", f"best single, {part}", f"gain, {part}"
            means[-1][gain] = means[-1][kept] - means[-1][single]
            draws[-1][gain] = draws[-1][kept] - draws[-1][single]
    for what in means[0]:
        cells = [
            cell(mean[what], own[what], "+" if what.startswith("gain") else "")
            for mean, own in zip(means, draws, strict=True)
        ]
        table.add_row(what, *cells, cell(means[1][what] - means[0][what], draws[1][what] - draws[0][what], "+"))
    console.print(table)


if __name__ == "__main__":
    main()
