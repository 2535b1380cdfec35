#!/usr/bin/env python3
"""How many of the clips that are called suspect are truly wrong: raytag's ranking beside cleanlab's.

    for T in 1 3 5; do
        python ../shared/tools/make_fsd.py --out data/fsd$T --seed 0 --test-fold $T
        python launch.py --space benchmarks/honesty/_noisy.py --data data/fsd$T --run noisy$T --stopping none
        raytag labels score --run noisy$T --experiment $(ls runs/noisy$T/experiments | grep curated) \\
            --out scores$T.csv
        raytag labels select scores$T.csv --share 0.4 --out trusted$T.json
        python launch.py --space benchmarks/honesty/_trusted.py --data data/fsd$T --run noisy$T --stopping none \\
            --set sampling.noisy_corrections=trusted$T.json --set sampling.corrected_noisy_prob=0.33
        python benchmarks/honesty/noisy.py --plant data/fsd$T --into data/planted$T
        python launch.py --space benchmarks/honesty/_curated.py --data data/planted$T --run planted$T \\
            --stopping none
    done
    pip install --constraint constraints.txt 'raytag[benchmarks]'
    python benchmarks/honesty/noisy.py --rotation noisy{1,3,5} --planted planted{1,3,5} --data data/fsd{1,3,5}
    python benchmarks/honesty/compared.py --rotation noisy{1,3,5} --data data/fsd{1,3,5} --base curated

The noisy clips are rated by the models of the experiment ``curated``, which saw none of them; the curated ones,
into whose labels errors were planted as `make_fsd.py` plants them into those of noisy clips (wrong 60 %, missing 20
%, one too many 20 %), by out-of-fold predictions. Both rankings read the same probabilities. A clip is *wrong* when
its labels are not those of its recordings.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from rich.console import Console
from rich.table import Table

from raytag.console import make_console
from raytag.datasets.table import multi_hot
from raytag.ensemble.predictions.oof import load_oof
from raytag.labels.raters import find_raters, noisy_clips, predictions
from raytag.labels.ratings import rated, summed
from raytag.store.run import RunStore

RATE = 0.2  # of curated clips whose labels are made wrong
SHARE = 0.4  # of noisy clips that `select` kept
SUSPECT = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plant", type=Path, metavar="DIR", help="copy a folder, with errors in curated labels")
    parser.add_argument("--into", type=Path, metavar="DIR", help="the copy")
    parser.add_argument("--runs-dir", default="runs")
    parser.add_argument("--cache-dir", default="cache")
    parser.add_argument("--rotation", nargs="+", metavar="RUN", default=[])
    parser.add_argument("--planted", nargs="+", metavar="RUN", default=[])
    parser.add_argument("--data", nargs="+", metavar="DIR", default=[], help="of the rotations, in the same order")
    args = parser.parse_args()
    if args.plant:
        plant(args.plant, args.into)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("clips", "wrong", "ranking", f"wrong of {SUSPECT}", "labels right", f"of the best {SHARE:.0%}"):
        table.add_column(column, no_wrap=True)
    for run, folder in zip(args.rotation, args.data, strict=True):
        add(table, f"{run}, noisy", *of_noisy(RunStore(args.runs_dir, run), args.cache_dir, Path(folder)))
    for run, folder in zip(args.planted, args.data, strict=bool(args.planted)):
        add(table, f"{run}, curated", *of_curated(RunStore(args.runs_dir, run), Path(folder)))
    make_console().print(table)


def plant(folder: Path, into: Path) -> None:
    """Copy a folder of `make_fsd.py`, with wrong labels of some curated clips."""
    shutil.copytree(folder, into)
    table = pd.read_csv(into / "train_curated.csv")
    classes = sorted({label for labels in table["labels"] for label in labels.split(",")})
    rng = np.random.default_rng(0)
    table["labels"] = [corrupted(labels.split(","), classes, rng) for labels in table["labels"]]
    table.to_csv(into / "train_curated.csv", index=False)


def corrupted(labels: list[str], classes: list[str], rng: np.random.Generator) -> str:
    """Labels, with probability RATE wrong, too few or too many; never none."""
    others = [name for name in classes if name not in labels]
    if rng.random() < RATE:
        kind = rng.choice(["wrong", "missing", "extra"], p=[0.6, 0.2, 0.2])
        if kind == "wrong":
            labels = rng.choice(others, len(labels), replace=False).tolist()
        elif kind == "missing" and len(labels) > 1:
            labels = rng.choice(labels, len(labels) - 1, replace=False).tolist()
        else:
            labels = [*labels, str(rng.choice(others))]
    return ",".join(sorted(labels))


def of_noisy(store: RunStore, cache_dir: str, folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Given and true labels of the noisy clips, and log-probabilities of models that saw none of them."""
    noisy = noisy_clips(store)
    clips = noisy["clip"].tolist()
    raters, _ = find_raters(store, clips, [e for e in store.complete() if e.startswith("curated-")])
    found = predictions(store, raters, clips, cache_dir, torch.device("cpu"), Console(stderr=True))
    logs, _ = summed(found, len(clips), len(store.classes))
    return targets(noisy["labels"], store), truth(folder, "noisy", noisy["fname"], store), logs


def of_curated(store: RunStore, folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same of the curated clips, out of fold."""
    oof = load_oof(store)
    logs = np.log(oof.probabilities.astype(np.float64)).mean(axis=0)
    return oof.targets, truth(folder, "curated", pd.Series(oof.fnames), store), logs


def targets(labels: pd.Series, store: RunStore) -> np.ndarray:
    return multi_hot(labels.tolist(), store.classes)


def truth(folder: Path, subset: str, fnames: pd.Series, store: RunStore) -> np.ndarray:
    table = pd.read_csv(folder / f"truth/train_{subset}.csv").set_index("fname")
    return targets(table["labels"].loc[fnames], store)


def add(table: Table, name: str, given: np.ndarray, true: np.ndarray, logs: np.ndarray) -> None:
    """A row for each ranking, the most suspect clips first."""
    wrong = (given != true).any(axis=1)
    for ranking, order in rankings(given, logs).items():
        best = order[-round(SHARE * len(order)) :]
        table.add_row(
            name,
            f"{wrong.mean():.0%}",
            ranking,
            str(int(wrong[order[:SUSPECT]].sum())),
            f"{precision(given, true):.3f}, whole {1 - wrong.mean():.3f}",
            f"{precision(given[best], true[best]):.3f}, whole {1 - wrong[best].mean():.3f}",
        )


def precision(given: np.ndarray, true: np.ndarray) -> float:
    """Share of the given labels that are true."""
    return float((given * true).sum() / given.sum())


def rankings(given: np.ndarray, logs: np.ndarray) -> dict[str, np.ndarray]:
    """Clips by suspicion: raytag's, lwlrap's, and cleanlab's in its own form and with its other aggregation."""
    from cleanlab.multilabel_classification import get_label_quality_scores

    def cleanlab(method: str) -> np.ndarray:
        labels = [np.flatnonzero(row).tolist() for row in given]
        scores = get_label_quality_scores(labels, np.exp(logs), aggregator_kwargs={"method": method})
        return np.argsort(scores, kind="stable")

    scores, _, order = rated(given, logs)
    certainty = (logs * given).sum(axis=1) / given.sum(axis=1)  # of the many clips with equal scores
    return {
        "margin (raytag labels)": order[::-1],
        "lwlrap of the clip": np.lexsort((certainty, scores)),
        "cleanlab, moving average": cleanlab("exponential_moving_average"),
        "cleanlab, softmin": cleanlab("softmin"),
    }


if __name__ == "__main__":
    main()
