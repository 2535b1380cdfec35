#!/usr/bin/env python3
"""Children against their parent: what they gain, what they cost, how true the labels are that a parent chooses, and
whether labels of a fold reach the child that is scored on it.

    python ../shared/tools/make_fsd.py --out data/fsd --seed 0
    python launch.py --space benchmarks/honesty/_stages.py --data data/fsd --run stages --stopping none
    python benchmarks/honesty/stages.py --run stages --data data/fsd
    python benchmarks/honesty/stages.py --permute 1 --data data/fsd --out data/permuted
    python launch.py --space benchmarks/honesty/_stages.py --data data/permuted --run permuted --stopping none \\
        --only-folds 1
    python benchmarks/honesty/stages.py --run stages --permuted permuted --permute 1

Of each experiment cv_lwlrap, lwlrap on the hidden test clips (geometric mean of the folds' models) and its
difference from the first stage, with 95 % intervals by source recording; and lwlrap there of one fold's model at a
time, mean over folds, which out-of-fold scores are to be compared with. Of the noisy clips that are trained on:
precision is the share of their labels that is true, recall the share of their true labels that they have, and
*right* the share of clips whose labels are the true ones.

The stages of ex4sperans, without and with leaks: the space ``_ex4sperans_stages.py``, and ``--first curated``.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from _kept import fold_tests
from _sources import Sources, cell, read_truth, samples
from rich.table import Table

from raytag.console import duration, make_console
from raytag.datasets import load
from raytag.datasets.table import ClipTable, multi_hot
from raytag.ensemble.predictions.oof import load_oof
from raytag.metrics import label_precisions, lwlrap
from raytag.search.leaderboard import leaderboard
from raytag.store.run import RunStore
from raytag.train.sources import split


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs-dir", default="runs")
    parser.add_argument("--run", metavar="RUN")
    parser.add_argument("--data", type=Path, metavar="DIR")
    parser.add_argument("--first", default="first", help="name of the first stage (%(default)s)")
    parser.add_argument("--permute", type=int, metavar="FOLD", help="permute the labels of this fold")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where the data with permuted labels are written")
    parser.add_argument("--permuted", metavar="RUN", help="a run on those")
    args = parser.parse_args()
    if args.out is not None:
        permute(args.data, args.permute, args.out)
    elif args.permuted is not None:
        compare(RunStore(args.runs_dir, args.run), RunStore(args.runs_dir, args.permuted), args.permute)
    else:
        report(RunStore(args.runs_dir, args.run), args.data, args.first)


def permute(data: Path, fold: int, out: Path) -> None:
    """A copy of the data in which the clips of a fold have each other's labels."""
    shutil.copytree(data, out)
    table = pd.read_csv(out / "train_curated.csv")
    own = table.index[table["fold"] == fold]
    table.loc[own, "labels"] = np.random.default_rng(0).permutation(table.loc[own, "labels"].to_numpy())
    table.to_csv(out / "train_curated.csv", index=False)
    before = pd.read_csv(data / "train_curated.csv")["labels"]
    print(f"fold {fold}: {(before != table['labels']).sum()} of {len(own)} clips have other labels")


def compare(given: RunStore, permuted: RunStore, fold: int) -> None:
    """Which experiments' models of a fold are the same whatever labels its own clips have."""
    for name in given.experiments():
        one, other = given.fold(name, fold), permuted.fold(name, fold)
        files = ("weights.safetensors", "oof.parquet", "test.parquet", "pseudo.parquet")
        both = [f for f in files if f in one.storage.files()]
        same = [f for f in both if one.storage.read(f) == other.storage.read(f)]
        stage, leaky = (one.result()["lineage"][key] for key in ("stage", "leaky"))
        words = "equal to the bit" if same == both else f"differs: {', '.join(sorted(set(both) - set(same)))}"
        print(f"{name:24} stage {stage}{' leaky' if leaky else '':6} fold {fold}: {len(both)} files, {words}")


def report(store: RunStore, data: Path, first: str) -> None:
    oof = load_oof(store, leaky=True)
    assert oof.test is not None
    targets, sources = read_truth(data / "truth/test.csv", oof.test_fnames, oof.classes)
    drawn = Sources(sources, 0)
    clips = label_precisions(targets, oof.test[0])[0]
    weights = drawn.weights(sources)[:, clips]
    values = {
        name: label_precisions(targets, test)[2] for name, test in zip(oof.experiments, oof.test, strict=True)
    }
    parent = next(name for name in values if name.rpartition("-")[0] == first)
    board = leaderboard(store, leaky=True).set_index("experiment")
    folds, number = fold_tests(store, oof), {name: m for m, name in enumerate(oof.experiments)}
    clips_of_run = load(str(data)).drop(store.quarantine()["clip"].tolist())
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in (
        "",
        "stage",
        "cv_lwlrap",
        "test",
        f"test - {first}",
        "test, one model",
        "seconds",
        "with earlier stages",
        "labels of noisy clips, all folds",
    ):
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    for name in board.index:
        row, own = board.loc[name], samples(values[name], weights)
        gain = values[name] - values[parent]
        table.add_row(
            name,
            f"{row['stage']}{' leaky' if row['leaky'] else ''}",
            f"{row['cv_lwlrap']:.4f}",
            cell(values[name].mean(), own),
            "" if name == parent else cell(gain.mean(), samples(gain, weights), "+"),
            f"{np.mean([lwlrap(targets, test[number[name]]) for test in folds]):.4f}",
            duration(row["seconds"]),
            duration(row["total_seconds"]),
            kept_labels(store, name, clips_of_run, data),
        )
    print(f"{store.name}: {len(targets)} hidden clips, {len(drawn)} source recordings; 95 % by source")
    make_console().print(table)
    fnames = pd.read_csv(data / "train_noisy.csv")["fname"].tolist()
    tables = (
        read_labels(data / file, fnames, oof.classes) for file in ("train_noisy.csv", "truth/train_noisy.csv")
    )
    print(f"all {len(fnames)} noisy clips: {quality(*tables)}")


def read_labels(file: Path, fnames: Sequence[str], classes: tuple[str, ...]) -> np.ndarray:
    labels = pd.read_csv(file, dtype=str).set_index("fname")["labels"].loc[list(fnames)]
    return multi_hot(labels.tolist(), classes) > 0


def kept_labels(store: RunStore, name: str, table: ClipTable, data: Path) -> str:
    """Whether the labels that noisy clips are trained with are true, over the folds; where nobody chose, ""."""
    experiment = store.experiment(name)
    if experiment.pseudo.name == "Given":
        return ""
    found, true = [], []
    for k in range(store.n_folds):
        sources = {source.name: source for source in split(table, experiment.sampling, k).sources}
        fnames = table.clips["fname"].to_numpy()[sources["noisy"].rows]
        read = store.fold(name, k).storage.read_parquet("pseudo.parquet").set_index("fname").loc[fnames]
        kept, targets, _ = experiment.pseudo.choose(
            sources["noisy"], sources["curated"], read[[*store.classes]].to_numpy()
        )
        found.append(targets[kept] > 0)
        true.append(read_labels(data / "truth/train_noisy.csv", fnames[kept], store.classes))
    return quality(np.concatenate(found), np.concatenate(true))


def quality(given: np.ndarray, true: np.ndarray) -> str:
    precision, recall = (given & true).sum() / given.sum(), (given & true).sum() / true.sum()
    right = (given == true).all(1).mean()
    return f"{len(given)}: precision {precision:.3f}, recall {recall:.3f}, right {right:.3f}"


if __name__ == "__main__":
    main()
