#!/usr/bin/env python3
"""What a run and its ensemble are worth on test clips whose labels neither of them saw.

    python ../shared/tools/make_fsd.py --out data/fsd0 --seed 0
    python launch.py --data data/fsd0 --num-samples 12
    python ensemble_search.py
    python benchmarks/competition.py --truth data/fsd0/truth/test.csv

Prints the fold-epochs spent beside those of full cross-validation, the cross-validated and nested scores, and
test lwlrap of the best single experiment and of the ensemble with a paired bootstrap by source recording: clips
that share a recording are not independent.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from _sources import Sources, interval, read_truth, samples

from raytag.blends.means import geometric_mean
from raytag.metrics import label_precisions
from raytag.search.leaderboard import leaderboard
from raytag.store.run import RunStore


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs-dir", default="runs")
    parser.add_argument("--run", help="by default the newest")
    parser.add_argument("--ensemble", help="by default the newest of the run")
    parser.add_argument("--truth", type=Path, required=True, help="CSV fname,labels,sources of the test clips")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    store = RunStore(args.runs_dir, args.run) if args.run else RunStore.newest(args.runs_dir)
    name = args.ensemble or store.storage.folders("ensembles")[-1]
    ensemble = store.storage.read_json(f"ensembles/{name}/ensemble.json")
    spent(store)
    scores(store, ensemble)
    single = leaderboard(store)["experiment"].iloc[0]
    tables = [store.fold(single, k).test().set_index("fname") for k in range(store.n_folds)]
    fnames = list(tables[0].index)
    blended = store.storage.read_csv(f"ensembles/{name}/submission.csv").set_index("fname")
    classes = list(store.classes)
    pair = {
        f"best single ({single})": geometric_mean(np.stack([t.loc[fnames, classes].to_numpy() for t in tables])),
        f"ensemble ({name})": blended.loc[fnames, classes].to_numpy(),
    }
    targets, sources = read_truth(args.truth, fnames, classes)
    compare(pair, targets, sources, args.seed)


def spent(store: RunStore) -> None:
    """Fold-epochs trained beside those of full cross-validation."""
    trained = full = 0
    for experiment_id in store.experiments():
        budget = store.experiment(experiment_id).training.epochs
        curves = [len(store.fold(experiment_id, k).curve()) for k in range(store.n_folds)]
        trained, full = trained + sum(curves), full + budget * store.n_folds
    seconds = leaderboard(store)["seconds"].sum()
    print(
        f"{len(store.experiments())} experiments, {len(store.complete())} complete: {trained} of {full} "
        f"fold-epochs ({trained / full:.0%} of full cross-validation), {seconds / 3600:.2f} core-hours of training"
    )


def scores(store: RunStore, ensemble: dict) -> None:
    """What cross-validation says, in-sample and nested."""
    print(f"best single experiment: cv_lwlrap {leaderboard(store)['cv_lwlrap'].iloc[0]:.4f}")
    for way, entry in ensemble["ways"].items():
        print(f"  {way}: in-sample {entry['in_sample']:.4f}, nested {entry['nested']:.4f}")
    print(f"  kept: {ensemble['way']}; {ensemble['verdict']}")


def compare(pair: dict[str, np.ndarray], targets: np.ndarray, sources: list[list[str]], seed: int) -> None:
    """Test lwlrap of both, and the interval of the paired difference."""
    drawn = Sources(sources, seed)
    clips, _, _ = label_precisions(targets, np.zeros_like(targets))
    weights = drawn.weights(sources)[:, clips]
    found, draws = {}, {}
    for name, predicted in pair.items():
        values = label_precisions(targets, predicted)[2]
        found[name], draws[name] = values.mean(), samples(values, weights)
        low, high = interval(draws[name])
        print(f"test lwlrap {found[name]:.4f} [{low:.4f}, {high:.4f}]  {name}")
    (a, b), (x, y) = found.values(), draws.values()
    low, high = interval(y - x)
    print(
        f"difference {b - a:+.4f} [{low:+.4f}, {high:+.4f}] (95 %, paired, {len(drawn)} recordings, "
        f"{len(targets)} clips)"
    )


if __name__ == "__main__":
    main()
