#!/usr/bin/env python3
"""What a run and its ensemble are worth on test clips whose labels neither of them saw.

    python ../shared/tools/make_fsd.py --out data/fsd0 --seed 0
    python launch.py --data data/fsd0 --num-samples 12
    python ensemble_search.py
    python benchmarks/competition.py --truth data/fsd0/truth/test.csv

Prints the fold-epochs spent beside those of full cross-validation, the cross-validated and nested scores, and
test lwlrap of the best single experiment and of the ensemble with a paired bootstrap by source recording: clips
that share a recording are not independent. Each draw resamples the recordings; a clip weighs the product of how
often its recordings were drawn (Owen 2007, the pigeonhole bootstrap).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from raytag.ensemble.blend import geometric_mean
from raytag.metrics import label_precisions
from raytag.search.leaderboard import leaderboard
from raytag.store import RunStore

DRAWS = 2000


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
    truth = pd.read_csv(args.truth, dtype=str).set_index("fname")
    single = leaderboard(store)["experiment"].iloc[0]
    tables = [store.fold(single, k).test().set_index("fname") for k in range(store.n_folds)]
    fnames = list(tables[0].index)
    blended = store.storage.read_csv(f"ensembles/{name}/submission.csv").set_index("fname")
    classes = list(store.classes)
    pair = {
        f"best single ({single})": geometric_mean(np.stack([t.loc[fnames, classes].to_numpy() for t in tables])),
        f"ensemble ({name})": blended.loc[fnames, classes].to_numpy(),
    }
    labels = truth.loc[fnames, "labels"].str.split(",")
    targets = np.array([[c in row for c in classes] for row in labels], dtype=np.float32)
    compare(pair, targets, truth.loc[fnames, "sources"].str.split(), np.random.default_rng(args.seed))


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
    for key, value in ensemble.items():
        if isinstance(value, float) or key in ("members", "baselines", "scores", "final"):
            print(f"  {key}: {value}")


def compare(pair: dict[str, np.ndarray], targets: np.ndarray, sources: pd.Series, rng: np.random.Generator) -> None:
    """Test lwlrap of both, and the interval of the paired difference."""
    names = sorted({s for row in sources for s in row})
    number = {s: i for i, s in enumerate(names)}
    draws = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=DRAWS)
    weights = np.stack([np.prod(draws[:, [number[s] for s in row]], axis=1) for row in sources], axis=1)
    found, samples = {}, {}
    for name, predicted in pair.items():
        clips, _, values = label_precisions(targets, predicted)
        found[name] = values.mean()
        weight = weights[:, clips]
        samples[name] = (weight * values).sum(axis=1) / weight.sum(axis=1)
        low, high = np.quantile(samples[name], [0.025, 0.975])
        print(f"test lwlrap {found[name]:.4f} [{low:.4f}, {high:.4f}]  {name}")
    (a, b), (x, y) = found.values(), samples.values()
    low, high = np.quantile(y - x, [0.025, 0.975])
    print(
        f"difference {b - a:+.4f} [{low:+.4f}, {high:+.4f}] (95 %, paired, {len(names)} recordings, "
        f"{len(targets)} clips)"
    )


if __name__ == "__main__":
    main()
