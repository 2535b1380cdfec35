#!/usr/bin/env python3
"""What two families of models have in common, and what it gains to blend across them at equal numbers of trainings.

The augmented recipe of ex4sperans in small beside that of argus-freesound, three seeds of each, three rotations:

    printf 'from raytag import space\\nEXPERIMENTS = space.load("benchmarks/honesty/_%s.py").firsts[:1]\\n' \\
        hallmarks > argus.py                                              # and ex4sperans into ex4sperans.py
    for T in 1 3 5; do
        python launch.py --space argus.py --data data/fsd$T --run argus$T --seed 2 --stopping none
        for S in 1 2; do
            python launch.py --space ex4sperans.py --data data/fsd$T --run ex$T --seed $S --stopping none
        done
    done
    K=benchmarks/data/hallmarks.parquet
    python benchmarks/honesty/families.py --runs $K:hallmarks{1,3,5} --runs runs:argus{1,3,5} \\
        --runs runs:ex{1,3,5} --data data/fsd{1,3,5} --base whole --keep benchmarks/data/ex4sperans.parquet

(hallmarks and ex with seed 0: `compared.py`). A family is an input; its base are the experiments NAME, which
differ in their seeds, and its others are the rest of the runs. An *error* is what a true label's precision lacks
of 1. Printed are the correlations of errors between pairs of models; then the lwlrap of blends with equal
weights, and what they have more than the base of the better family with as many seeds. *Nested*: the better
family, and the best three, are chosen for each fold on the other folds; *test*: by all folds; *ahead*: in how
many rotations on test. Labels of all rotations are pooled; intervals (95 %) come from a bootstrap by source
recording over all rotations together.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from _kept import keep, opened
from _sources import Sources, cell, interval, read_truth, samples
from rich.table import Table

from raytag.blends.means.base import blend
from raytag.console import make_console
from raytag.ensemble.predictions.oof import OofMatrix, load_oof
from raytag.metrics import label_precisions, lwlrap
from raytag.store.run import RunStore

SEEDS = 3
PARTS = ("nested", "test")
WIDTH = 180  # of the tables


@dataclass(frozen=True)
class Rotation:
    """A rotation's predictions; of each family the models of its base by seed, and its others."""

    oof: OofMatrix
    truth: np.ndarray
    base: dict[str, list[int]]
    others: dict[str, list[int]]

    def precisions(self, choose: Choose, part: str, kind: str) -> np.ndarray:
        """Of each label."""
        oof = self.oof
        if part == "test":
            assert oof.test is not None
            chosen = list(choose(self, np.ones(len(oof.fold), bool)))
            return label_precisions(self.truth, blend(oof.test[chosen], kind))[2]
        blended = np.zeros(oof.targets.shape)
        for k in range(oof.n_folds):
            own = oof.fold == k
            blended[own] = blend(oof.probabilities[list(choose(self, ~own))][:, own], kind)
        return label_precisions(oof.targets, blended)[2]


#: Members, chosen by the predictions of some of the clips.
Choose = Callable[[Rotation, np.ndarray], Sequence[int]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", nargs="+", action="append", required=True, metavar="RUNS:RUN", help="by rotation")
    parser.add_argument("--data", nargs="+", required=True, metavar="DIR", help="their folders, in the same order")
    parser.add_argument("--base", required=True, metavar="NAME", help="the experiments with several seeds")
    parser.add_argument("--blend", default="geometric")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="write the predictions of runs in folders here")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap")
    args = parser.parse_args()
    if args.keep is not None:
        runs = [name.split(":") for names in args.runs for name in names]
        keep([RunStore(folder, run) for folder, run in runs if not folder.endswith(".parquet")], args.keep)
    rotations: list[Rotation] = []
    clips: dict[str, list[np.ndarray]] = {part: [] for part in PARTS}
    sources: dict[str, list[list[str]]] = {part: [] for part in PARTS}
    for names, folder in zip(zip(*args.runs, strict=True), args.data, strict=True):
        rotation, own = read(names, Path(folder), args.base)
        rotations.append(rotation)
        for part, targets in (("nested", rotation.oof.targets), ("test", rotation.truth)):
            clips[part].append(np.nonzero(targets)[0] + len(sources[part]))
            sources[part] += own[part]
    drawn = Sources(sources["nested"] + sources["test"], args.seed)
    weights = {part: drawn.weights(sources[part])[:, np.concatenate(clips[part])] for part in PARTS}
    console = make_console()
    console.width = max(console.width, WIDTH)
    console.print(f"{len(rotations)} rotations, {len(drawn)} source recordings; 95 % by source")
    console.print(correlations(rotations, weights))
    console.print(blends(rotations, weights, args.blend))


def read(names: Iterable[str], folder: Path, base: str) -> tuple[Rotation, dict[str, list[list[str]]]]:
    """A rotation, and the source recordings of its clips by part."""
    stores = [opened(runs, [run], [str(folder)])[0] for runs, run in (name.split(":") for name in names)]
    oof = load_oof(stores)
    truth, test_sources = read_truth(folder / "truth/test.csv", oof.test_fnames, oof.classes)
    _, own_sources = read_truth(folder / "truth/train_curated.csv", oof.fnames, oof.classes)
    found: tuple[dict[str, list[int]], dict[str, list[int]]] = {}, {}
    for m, origin in enumerate(oof.origin):
        assert origin is not None
        store, name = origin
        experiment = store.storage.read_json(f"experiments/{name}/experiment.json")
        found[experiment["name"] != base].setdefault(experiment["input"]["name"], []).append(m)
    if any(len(seeds) != SEEDS for seeds in found[0].values()) or len(found[0]) != 2:
        counts = ", ".join(f"{family}: {len(seeds)}" for family, seeds in found[0].items())
        raise SystemExit(f"{folder}: two families with {SEEDS} seeds of {base!r} are compared, not {counts}")
    return Rotation(oof, truth, *found), {"nested": own_sources, "test": test_sources}


def correlations(rotations: Sequence[Rotation], weights: dict[str, np.ndarray]) -> Table:
    """Of errors, mean over pairs of models."""
    one, other = rotations[0].base
    table = make_table("errors of two models", "pairs", "out of fold", "test")
    kinds: dict[str, Callable[[Rotation], list[tuple[int, int]]]] = {
        f"{one}, two seeds": lambda r: list(combinations(r.base[one], 2)),
        f"{other}, two seeds": lambda r: list(combinations(r.base[other], 2)),
        f"{one}, base and other recipe": lambda r: [(r.base[one][0], m) for m in r.others.get(one, [])],
        f"{other}, base and other recipe": lambda r: [(r.base[other][0], m) for m in r.others.get(other, [])],
        f"{one} and {other}": lambda r: [(a, b) for a in r.base[one] for b in r.base[other]],
    }
    errors = [
        {
            "nested": np.stack([1 - label_precisions(r.oof.targets, p)[2] for p in r.oof.probabilities]),
            "test": np.stack([1 - label_precisions(r.truth, p)[2] for p in r.oof.test]),  # type: ignore[union-attr]
        }
        for r in rotations
    ]
    for kind, pairs_of in kinds.items():
        pairs = [pairs_of(r) for r in rotations]
        if not pairs[0]:
            continue
        cells = []
        for part in PARTS:
            found = np.mean(
                [
                    correlated(
                        *(
                            np.concatenate([e[part][p[i][s]] for e, p in zip(errors, pairs, strict=True)])
                            for s in (0, 1)
                        ),
                        weights[part],
                    )
                    for i in range(len(pairs[0]))
                ],
                axis=0,
            )
            low, high = interval(found[1:])
            cells.append(f"{found[0]:.3f} [{low:.3f}, {high:.3f}]")
        table.add_row(kind, str(len(pairs[0])), *cells)
    return table


def correlated(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Correlation of ``x`` and ``y`` (n,), first as they are, then under each row of ``weights`` (draws, n)."""
    rows = np.concatenate([np.ones_like(x)[None], weights])
    mean_x, mean_y, xx, yy, xy = (samples(values, rows) for values in (x, y, x * x, y * y, x * y))
    found: np.ndarray = (xy - mean_x * mean_y) / np.sqrt((xx - mean_x**2) * (yy - mean_y**2))
    return found


def blends(rotations: Sequence[Rotation], weights: dict[str, np.ndarray], kind: str) -> Table:
    """Of every way nested and test lwlrap, and what it has more than the better family alone."""
    table = make_table("blend", "trainings", "nested", "test", "nested gain", "test gain", "ahead")
    one, other = rotations[0].base

    def better(r: Rotation, shown: np.ndarray) -> str:
        scores = {
            f: lwlrap(r.oof.targets[shown], blend(r.oof.probabilities[m][:, shown], kind))
            for f, m in r.base.items()
        }
        return max(scores, key=lambda family: scores[family])

    def best_three(r: Rotation, shown: np.ndarray, families: Sequence[str]) -> Sequence[int]:
        pool = [m for family in families for m in r.base[family] + r.others.get(family, [])]
        seen, targets = r.oof.probabilities[:, shown], r.oof.targets[shown]
        return max(combinations(pool, SEEDS), key=lambda m: lwlrap(targets, blend(seen[list(m)], kind)))

    def mixed(ones: int, others: int) -> list[Choose]:
        """Every choice of so many seeds of each family."""
        return [
            lambda r, _, a=a, b=b: [*(r.base[one][i] for i in a), *(r.base[other][i] for i in b)]  # type: ignore[misc]
            for a in combinations(range(SEEDS), ones)
            for b in combinations(range(SEEDS), others)
        ]

    ways: dict[str, tuple[int, list[Choose]]] = {
        "better family": (SEEDS, [lambda r, shown: r.base[better(r, shown)]]),
        f"{one}, one seed": (1, mixed(1, 0)),
        f"{other}, one seed": (1, mixed(0, 1)),
        one: (SEEDS, mixed(SEEDS, 0)),
        other: (SEEDS, mixed(0, SEEDS)),
        f"2 {one}, 1 {other}": (SEEDS, mixed(2, 1)),
        f"1 {one}, 2 {other}": (SEEDS, mixed(1, 2)),
        f"best three, {one}": (SEEDS, [lambda r, shown: best_three(r, shown, [one])]),
        f"best three, {other}": (SEEDS, [lambda r, shown: best_three(r, shown, [other])]),
        "best three of all": (SEEDS, [lambda r, shown: best_three(r, shown, [one, other])]),
        "all six": (2 * SEEDS, mixed(SEEDS, SEEDS)),
    }
    found = {
        way: {
            part: [np.mean([r.precisions(c, part, kind) for c in choices], axis=0) for r in rotations]
            for part in PARTS
        }
        for way, (_, choices) in ways.items()
    }
    base = next(iter(found.values()))
    for way, values in found.items():
        cells = [told(values[part], weights[part]) for part in PARTS]
        if values is not base:
            gains = {part: [v - b for v, b in zip(values[part], base[part], strict=True)] for part in PARTS}
            cells += [told(gains[part], weights[part], "+") for part in PARTS]
            cells.append(f"{sum(bool(gain.mean() > 0) for gain in gains['test'])} of {len(rotations)}")
        table.add_row(way, str(ways[way][0]), *cells)
    return table


def told(values: Sequence[np.ndarray], weights: np.ndarray, sign: str = "") -> str:
    """The mean over all labels of all rotations, with its interval."""
    together = np.concatenate(values)
    return cell(together.mean(), samples(together, weights), sign)


def make_table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, justify="left" if column == columns[0] else "right", no_wrap=True)
    return table


if __name__ == "__main__":
    main()
