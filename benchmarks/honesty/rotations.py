#!/usr/bin/env python3
"""How far in-sample and nested scores are from the score on test clips, over rotations of the test fold.

    for T in 1 2 3 4 5; do
        python ../shared/tools/make_fsd.py --out data/fsd$T --seed 0 --test-fold $T
        python launch.py --data data/fsd$T --run rotation$T --seed 0 --num-samples 12 --epochs 16 \\
            --set model.base_size=8 --stopping none --search random
    done
    python benchmarks/honesty/rotations.py --rotation rotation{1,2,3,4,5} --data data/fsd{1,2,3,4,5}

Every rotation is a search of its own on its own clips: `raytag.ensemble.pipeline` chooses in every way, and the
test clips, which it never saw, are scored by what each way chose. All rotations use the experiments that are
complete in each of them; labels of all rotations are pooled. Intervals come from a bootstrap by source recording
over all rotations together; a recording is a test recording in one rotation and a training recording in the others.

Test predictions average the models of all folds; out-of-fold predictions come from one model each. So a second
test column scores, for blends of first-level models, the models of one fold at a time (mean over folds): that is
what the nested score estimates.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from _kept import fold_tests, of_models, opened
from _sources import Sources, interval, read_truth, samples
from rich.console import Console
from rich.table import Table

from raytag.blends.means.base import blend, blend_scores
from raytag.blends.subsets import Found
from raytag.cluster.session import ray_session
from raytag.cluster.tasks import keep_workers
from raytag.console import make_console, say
from raytag.ensemble.choose.ways import WAYS
from raytag.ensemble.pipeline import Ensemble, EnsembleSettings, predict_test, search_ensemble
from raytag.ensemble.predictions.oof import OofMatrix, load_oof
from raytag.ensemble.stackers.grid import SOURCES
from raytag.metrics import label_precisions
from raytag.store.run import RunStore

SEVEN, FINAL = "best 7-subset", "final ensemble"
COLUMNS = ("in_sample", "nested", "test", "test_one_fold")
GAPS = (("in_sample", "test"), ("nested", "test"), ("in_sample", "test_one_fold"), ("nested", "test_one_fold"))


@dataclass
class Pool:
    """Labels of all rotations: for each way and column the precisions, and whose clips they are."""

    values: dict[tuple[str, str], list[np.ndarray]] = field(default_factory=dict)
    sources: dict[str, list[list[str]]] = field(default_factory=lambda: {"cv": [], "test": []})
    clip: dict[str, list[np.ndarray]] = field(default_factory=lambda: {"cv": [], "test": []})

    def add(self, way: str, column: str, precisions: np.ndarray) -> None:
        self.values.setdefault((way, column), []).append(precisions)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--runs-dir", default="runs", help="or a file of kept predictions, benchmarks/data/*.parquet"
    )
    parser.add_argument("--rotation", nargs="+", required=True, metavar="RUN", help="runs, one a rotation")
    parser.add_argument("--data", nargs="+", required=True, metavar="DIR", help="their folders, in the same order")
    parser.add_argument("--stackers", type=int, default=8)
    parser.add_argument("--stackers-from", choices=SOURCES, default="raytag")
    parser.add_argument("--stacker-draws", type=int, help="clips that a stacker draws an epoch")
    parser.add_argument("--size", type=int, help="members of a subset; by default 1 to 7")
    parser.add_argument("--blend", default="geometric")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if len(args.rotation) != len(args.data):
        parser.error("give as many --data as --rotation")
    console, pool = make_console(), Pool()
    stores = opened(args.runs_dir, args.rotation, args.data)
    common = set.intersection(*(set(store.complete()) for store in stores))
    say(console, f"{len(common)} experiments are complete in every rotation")
    with ray_session(None) as wait_for_ray, keep_workers():
        wait_for_ray()
        for store, folder in zip(stores, args.data, strict=True):
            rotation(store, Path(folder), common, args, pool, console)
    report(pool, args, console)


def rotation(
    store: RunStore, folder: Path, common: set[str], args: argparse.Namespace, pool: Pool, console: Console
) -> None:
    """Search one run and score everything on its test clips."""
    oof = load_oof(store)
    oof = of_models(oof, [m for m, name in enumerate(oof.experiments) if name in common])
    sizes = (args.size,) if args.size else tuple(range(1, min(7, len(oof.experiments)) + 1))
    settings = EnsembleSettings(
        sizes,
        args.blend,
        600.0,
        10,
        args.stackers,
        args.seed,
        stackers_from=args.stackers_from,
        stacker_draws=args.stacker_draws,
    )
    ensemble = search_ensemble(oof, settings, console)
    targets, sources = read_truth(folder / "truth/test.csv", oof.test_fnames, oof.classes)
    _, cv_sources = read_truth(folder / "truth/train_curated.csv", oof.fnames, oof.classes)
    clip, _, _ = label_precisions(oof.targets, np.zeros_like(oof.targets))
    pool.clip["cv"].append(clip + len(pool.sources["cv"]))
    pool.sources["cv"] += cv_sources
    clip, _, _ = label_precisions(targets, np.zeros_like(targets))
    pool.clip["test"].append(clip + len(pool.sources["test"]))
    pool.sources["test"] += sources
    folds = fold_tests(store, oof)
    assessment, choices, second = ensemble.assessment, ensemble.choices, ensemble.second
    for way, scored in {**assessment.ways, FINAL: assessment.final}.items():
        test = predict_test(oof, args.blend, choices, second, scored.way)
        assert test is not None
        pool.add(way, "in_sample", scored.values)
        pool.add(way, "nested", scored.nested_values)
        pool.add(way, "test", label_precisions(targets, test)[2])
        if not WAYS[scored.way].stackers:
            pool.add(way, "test_one_fold", one_fold(choices.on_all.ways[scored.way], folds, targets, args.blend))
    if 7 in sizes:
        seven(oof, ensemble, targets, folds, args.blend, pool)
    final, kept = assessment.final, ensemble.weights
    say(
        console,
        f"{store.name}: kept {WAYS[final.way].title} ({len(kept)} models), in-sample {final.in_sample:.4f}, nested "
        f"{final.nested:.4f}, test {pool.values[FINAL, 'test'][-1].mean():.4f}; best single test "
        f"{pool.values['single', 'test'][-1].mean():.4f}",
    )


def one_fold(found: Found, folds: np.ndarray, targets: np.ndarray, kind: str) -> np.ndarray:
    """Precisions of a blend that has the models of one fold only, mean over folds."""
    members = list(found.members)
    return np.mean([label_precisions(targets, blend(test[members], kind))[2] for test in folds], axis=0)


def seven(
    oof: OofMatrix, ensemble: Ensemble, targets: np.ndarray, folds: np.ndarray, kind: str, pool: Pool
) -> None:
    """The best subset of exactly seven."""
    choices = ensemble.choices
    scores = blend_scores(oof.probabilities, kind)
    best = choices.on_all.by_size[7]
    nested = np.zeros(oof.targets.shape)
    for (k,) in choices.outer:
        rows = oof.fold == k
        nested[rows] = scores[list(choices.without[(k,)].by_size[7].members)][:, rows].sum(axis=0)
    pool.add(SEVEN, "in_sample", label_precisions(oof.targets, scores[list(best.members)].sum(axis=0))[2])
    pool.add(SEVEN, "nested", label_precisions(oof.targets, nested)[2])
    assert oof.test is not None
    pool.add(SEVEN, "test", label_precisions(targets, blend(oof.test[list(best.members)], kind))[2])
    pool.add(SEVEN, "test_one_fold", one_fold(best, folds, targets, kind))


def report(pool: Pool, args: argparse.Namespace, console: Console) -> None:
    """Print the pooled table and write it."""
    drawn = Sources(pool.sources["cv"] + pool.sources["test"], args.seed)
    weights = {
        part: drawn.weights(pool.sources[part])[:, np.concatenate(pool.clip[part])] for part in ("cv", "test")
    }
    ways = [*(way for way in WAYS if (way, "test") in pool.values), SEVEN, FINAL]
    ways = [way for way in ways if (way, "test") in pool.values]
    found: dict[str, dict[str, dict[str, float]]] = {}
    drawn_of = {}
    for way in ways:
        found[way] = {}
        for column in COLUMNS:
            if (way, column) not in pool.values or len(pool.values[way, column]) < len(args.rotation):
                continue
            values = np.concatenate(pool.values[way, column])
            drawn_of[way, column] = samples(values, weights["test" if column.startswith("test") else "cv"])
            found[way][column] = entry(values.mean(), drawn_of[way, column])
        for first, second in GAPS:
            if second in found[way]:
                value = found[way][first]["value"] - found[way][second]["value"]
                found[way][f"{first} - {second}"] = entry(value, drawn_of[way, first] - drawn_of[way, second])
        for column in ("nested", "test"):
            value = found[way][column]["value"] - found["single"][column]["value"]
            gain = drawn_of[way, column] - drawn_of["single", column]
            found[way][f"{column} - single's"] = entry(value, gain)
    print(
        f"{len(args.rotation)} rotations, {len(drawn)} source recordings, "
        f"{len(weights['cv'][0])} out-of-fold and {len(weights['test'][0])} test labels; 95 % by source"
    )
    show(console, "lwlrap, pooled", found, COLUMNS)
    show(console, "distance to test", found, [f"{a} - {b}" for a, b in GAPS], signed=True)
    show(console, "gain over the best single model", found, ["nested - single's", "test - single's"], signed=True)
    if args.json is not None:
        args.json.write_text(json.dumps(found, indent=2) + "\n")


def entry(value: float, drawn: np.ndarray) -> dict[str, float]:
    low, high = interval(drawn)
    return {"value": float(value), "low": low, "high": high}


def show(console: Console, title: str, found: dict, columns: object, signed: bool = False) -> None:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    table.add_column("", no_wrap=True)
    for column in columns:  # type: ignore[attr-defined]
        table.add_column(str(column).replace("_", " "), justify="right", no_wrap=True)
    sign = "+" if signed else ""
    for way, columns_of in found.items():
        cells = []
        for column in columns:  # type: ignore[attr-defined]
            e = columns_of.get(column)
            cells.append(
                f"{e['value']:{sign}.4f} [{e['low']:{sign}.4f}, {e['high']:{sign}.4f}]" if e is not None else "-"
            )
        table.add_row(WAYS[way].title if way in WAYS else way, *cells)
    console.print(table)


if __name__ == "__main__":
    main()
