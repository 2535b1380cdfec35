#!/usr/bin/env python3
"""Experiments beside one of them, in every rotation: what a part of a recipe is worth on few clips.

What each hallmark of argus-freesound is worth, the recipe less one of them at a time:

    for T in 1 3 5; do
        python ../shared/tools/make_fsd.py --out data/fsd$T --seed 0 --test-fold $T
        for S in 0 1; do
            python launch.py --space benchmarks/honesty/_hallmarks.py --data data/fsd$T --run hallmarks$T \\
                --seed $S --stopping none
        done
    done
    python benchmarks/honesty/compared.py --rotation hallmarks{1,3,5} --data data/fsd{1,3,5} --base whole \\
        --keep benchmarks/data/hallmarks.parquet
    python benchmarks/honesty/compared.py --rotation hallmarks{1,3,5} --data data/fsd{1,3,5} --base whole \\
        --runs-dir benchmarks/data/hallmarks.parquet                            # the same from what is kept

What noisy clips are worth, believed, with caution, or chosen: ``--base curated`` of the runs in ``noisy.py``.
What the loss, the effects and the frequency channel of ex4sperans are worth: its runs are called ex1 and so on,
their space ``_ex4sperans.py``, their file ``ex4sperans.parquet``.

Of the base lwlrap out of fold and on hidden test clips (geometric mean of the folds' models), mean over the seeds
that all have, labels of all rotations pooled; of the others what they have more or less, by rotation, seed and
label. Intervals (95 %) come from a bootstrap by source recording over all rotations together. *Worse* counts the
pairs of rotation and seed in which the test clips are ranked worse than by the base.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from _kept import keep, opened
from _sources import Sources, cell, read_truth, samples
from rich.table import Table

from raytag.console import make_console
from raytag.ensemble.predictions.oof import load_oof
from raytag.metrics import label_precisions

PARTS = ("cv", "test")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs-dir", default="runs", help="or a file of kept predictions")
    parser.add_argument("--rotation", nargs="+", required=True, metavar="RUN", help="runs, one a rotation")
    parser.add_argument("--data", nargs="+", required=True, metavar="DIR", help="their folders, in the same order")
    parser.add_argument("--base", required=True, metavar="NAME", help="the experiment that the others stand beside")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="write the predictions here")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap")
    args = parser.parse_args()
    base = args.base
    stores = opened(args.runs_dir, args.rotation, args.data)
    if args.keep is not None:
        keep(stores, args.keep)
    values: dict[str, dict[str, list[np.ndarray]]] = {}  # experiment's name, part: precisions (seeds, labels)
    clip: dict[str, list[np.ndarray]] = {part: [] for part in PARTS}
    sources: dict[str, list[list[str]]] = {part: [] for part in PARTS}
    for store, folder in zip(stores, map(Path, args.data), strict=True):
        oof = load_oof(store)
        assert oof.test is not None
        truth, test_sources = read_truth(folder / "truth/test.csv", oof.test_fnames, oof.classes)
        _, cv_sources = read_truth(folder / "truth/train_curated.csv", oof.fnames, oof.classes)
        for part, targets, scores, own in (
            ("cv", oof.targets, oof.probabilities, cv_sources),
            ("test", truth, oof.test, test_sources),
        ):
            precisions = [label_precisions(targets, of_model) for of_model in scores]
            clip[part].append(precisions[0][0] + len(sources[part]))
            sources[part] += own
            by_name: dict[str, dict[int, np.ndarray]] = {}
            for name, (_, _, found) in zip(oof.experiments, precisions, strict=True):
                experiment = store.storage.read_json(f"experiments/{name}/experiment.json")
                by_name.setdefault(experiment["name"], {})[experiment["training"]["seed"]] = found
            seeds = sorted(set.intersection(*map(set, by_name.values())))
            if not seeds:
                raise SystemExit(f"{store.name}: no seed of which all experiments are complete")
            for name, by_seed in by_name.items():
                values.setdefault(name, {}).setdefault(part, []).append(np.stack([by_seed[s] for s in seeds]))
    drawn = Sources(sources["cv"] + sources["test"], args.seed)
    weights = {part: drawn.weights(sources[part])[:, np.concatenate(clip[part])] for part in PARTS}
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("", "CV", "test", "worse"):
        table.add_column(column, justify="left" if column == "" else "right", no_wrap=True)
    repeats = len(values[base]["test"][0])
    for name in [base, *sorted(set(values) - {base})]:
        cells = []
        for part in PARTS:
            own = np.concatenate([found.mean(axis=0) for found in values[name][part]])
            if name != base:
                own = own - np.concatenate([found.mean(axis=0) for found in values[base][part]])
            cells.append(cell(own.mean(), samples(own, weights[part]), "" if name == base else "+"))
        pairs = zip(values[name]["test"], values[base]["test"], strict=True)
        worse = sum(int((own.mean(axis=1) < whole.mean(axis=1)).sum()) for own, whole in pairs)
        table.add_row(name, *cells, "" if name == base else f"{worse} of {repeats * len(stores)}")
    console = make_console()
    console.print(f"{len(stores)} rotations, {repeats} seed{'s' * (repeats > 1)}, {len(drawn)} source recordings")
    console.print(table)


if __name__ == "__main__":
    main()
