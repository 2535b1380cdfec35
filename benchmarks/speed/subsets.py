"""Exact subset search: raytag on one core beside the usual ways, and on two cores beside one.

    python benchmarks/speed/subsets.py                  # best 7 of 20 on 4,970 clips x 80 classes, one core
    python benchmarks/speed/subsets.py --task all       # all subsets of 20, of any size, one core
    python benchmarks/speed/subsets.py --task thirty    # best 7 of 30 through Ray: two worker processes beside one
    python benchmarks/speed/subsets.py --ray            # the same for the best 7 of 36
    python benchmarks/speed/subsets.py --run runs/NAME  # the predictions of a real run instead of simulated ones

The simulated out-of-fold predictions are those of models whose errors are partly shared, single lwlrap 0.79 to
0.86. What is timed is the whole search: from log-probabilities to the best list, reduction of pairs included
(through Ray: from the reduced pairs, which the driver makes once). The usual ways score one subset at a time: a
blend by scipy and lwlrap clip by clip in Python; added-up log-probabilities with scikit-learn, which sorts; the
same with numpy, which counts the classes at or above each label. They are timed on a few subsets; what the
whole search would take them is extrapolated, and labelled so.
"""

from __future__ import annotations

import argparse
import io
import itertools
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from _oof import CLASSES, CLIPS, of_run, simulate, usual_ways
from _timing import Row, add_json_argument, compare, print_table, write_json
from rich.console import Console
from threadpoolctl import threadpool_limits

from raytag.blends.means import BLENDS
from raytag.blends.means.base import blend_scores
from raytag.blends.pairs import Pairs, log_probabilities, reduce_pairs
from raytag.blends.trees import check_sizes, count_subsets
from raytag.ensemble import search_subsets
from raytag.metrics import lwlrap
from raytag.seeding import generator

MODELS = {"seven": 20, "thirty": 30, "all": 20}
RAY_MODELS = 36
TOP = 100
#: Subsets that each of the usual ways is timed on, a round.
SAMPLES = (1, 2, 10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", choices=list(MODELS), default="seven", help="what to search (default seven)")
    parser.add_argument("--ray", action="store_true", help=f"best 7 of {RAY_MODELS} through Ray, as --task thirty")
    parser.add_argument("--blend", choices=BLENDS, default="geometric", help="default geometric")
    parser.add_argument("--run", type=Path, metavar="RUNS_DIR/RUN", help="a real run's out-of-fold predictions")
    parser.add_argument("--models", type=int, help="models to choose from (default by task; all of a run's)")
    parser.add_argument("--size", type=int, help="members (default 7; with --task all any number)")
    parser.add_argument("--clips", type=int, default=CLIPS, help=f"clips of the simulation (default {CLIPS})")
    parser.add_argument(
        "--classes", type=int, default=CLASSES, help=f"classes of the simulation (default {CLASSES})"
    )
    parser.add_argument("--rounds", type=int, help="timed rounds (default 7; 3 with Ray and for all subsets)")
    add_json_argument(parser)
    args = parser.parse_args()
    if args.ray and args.task == "all":
        parser.error("--ray searches one size: leave out --task all")

    if args.run is None:
        n_models = args.models or (RAY_MODELS if args.ray else MODELS[args.task])
        probabilities, targets = simulate(n_models, args.clips, args.classes)
        source = "simulated models"
    else:
        try:
            probabilities, targets = of_run(args.run, args.models)
        except ValueError as error:
            parser.error(str(error))
        source = f"models of run {args.run.name}"
    n_models, n_clips, n_classes = probabilities.shape
    try:
        wanted = args.size or (range(1, n_models + 1) if args.task == "all" else min(7, n_models))
        sizes = check_sizes(wanted, n_models)
    except ValueError as error:
        parser.error(f"--size: {error}")

    singles = [lwlrap(targets, values) for values in probabilities]
    pairs = reduce_pairs(blend_scores(probabilities, args.blend), targets)
    print(
        f"{n_models} {source}: single lwlrap {min(singles):.3f} to {max(singles):.3f}; "
        f"{pairs.margins.shape[1] / pairs.n_tested:.1%} of {pairs.n_tested:,} pairs disputed"
    )
    what = f"best {sizes[0]}" if len(sizes) == 1 else f"all subsets of {sizes[0]} to {sizes[-1]}"
    n_subsets = count_subsets(n_models, sizes)
    title = f"{what} of {n_models} on {n_clips:,} x {n_classes}, {n_subsets:,} subsets, {args.blend} blend"
    if args.ray or args.task == "thirty":
        rows = two_cores(pairs, sizes, args.rounds or 3)
        title += ", through Ray"
    else:
        with threadpool_limits(1):
            rows = one_core(probabilities, targets, sizes, args.blend, args.rounds or (7 if len(sizes) == 1 else 3))
        title += ", one core"
    print_table(title, rows)
    for row in rows:
        how = "measured" if row.per == n_subsets else f"extrapolated from {row.per:.0f} subsets a round"
        print(f"whole search, {row.name}: {row.wall * n_subsets / row.per:,.2f} s ({how})")
    write_json(args.json, {title: rows})


def one_core(
    probabilities: np.ndarray, targets: np.ndarray, sizes: Sequence[int], kind: str, rounds: int
) -> list[Row]:
    logs = log_probabilities(probabilities)
    n_models = len(logs)
    n_subsets = count_subsets(n_models, sizes)
    ways = usual_ways(probabilities, targets, kind)

    best = search_subsets(logs, targets, sizes, TOP, kind)
    apart = dict.fromkeys(ways, 0.0)
    for members, score in zip(best["members"][:5], best["score"][:5], strict=True):
        for name, way in ways.items():
            apart[name] = max(apart[name], abs(score - way(members)))
    by_clip, *others = apart.values()
    assert max(others) < 1e-9, apart
    # a sort breaks ties anyhow, of which mean ranks have many, and float32 orders all but equal classes differently
    assert by_clip < 0.02, apart
    print(
        f"best {best['members'][0]} {best['score'][0]:.5f}; of the five best, numpy and scikit-learn say the same, "
        f"lwlrap by clip differs by at most {by_clip:.1g}"
    )
    draws = itertools.cycle(_draw(n_models, sizes, 64))
    candidates = {
        name: lambda way=way, n=n: [way(next(draws)) for _ in range(n)]
        for (name, way), n in zip(ways.items(), SAMPLES, strict=True)
    }
    return compare(
        {**candidates, "raytag": lambda: search_subsets(logs, targets, sizes, TOP, kind)},
        rounds=rounds,
        per={**dict(zip(ways, SAMPLES, strict=True)), "raytag": n_subsets},
        unit="subsets",
        min_seconds=0.0,
    )


def _draw(n_models: int, sizes: Sequence[int], n: int) -> list[list[int]]:
    """Random subsets; sizes as frequent as in the whole search."""
    rng = generator(1)
    share = np.array([math.comb(n_models, size) for size in sizes], float)
    drawn = rng.choice(sizes, n, p=share / share.sum())
    return [np.sort(rng.choice(n_models, size, replace=False)).tolist() for size in drawn]


def two_cores(pairs: Pairs, sizes: Sequence[int], rounds: int) -> list[Row]:
    import ray

    from raytag.blends.subsets import Objective
    from raytag.ensemble.choose.subset_tasks import search

    pids: dict[int, set[int]] = {1: set(), 2: set()}
    best = {}

    def run(workers: int) -> None:
        console = Console(file=io.StringIO())
        (board,), outcome = search(pairs, sizes, [Objective((0,), TOP)], console=console, workers=workers)
        best[workers] = list(board)
        # of the round with the fewest processes, not of all rounds together
        mine = {worker.pid for worker in outcome.workers}
        if not pids[workers] or len(mine) < len(pids[workers]):
            pids[workers] = mine

    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        rows = compare(
            {"1 task at a time": lambda: run(1), "2 tasks at a time": lambda: run(2)},
            rounds=rounds,
            per=count_subsets(pairs.n_models, sizes),
            unit="subsets",
        )
    finally:
        ray.shutdown()
    assert best[1] == best[2], "the result depends on the number of workers"
    print(f"same {len(best[1])} subsets either way; worker processes with 2 at a time: {sorted(pids[2])}")
    return rows


if __name__ == "__main__":
    main()
