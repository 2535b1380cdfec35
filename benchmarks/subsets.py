"""Exact subset search: raytag on one core beside numpy and scikit-learn, and on two cores beside one.

    python benchmarks/subsets.py             # best 7 of 20 on 4,970 clips x 80 classes, one core
    python benchmarks/subsets.py --ray       # best 7 of 36 through Ray: two worker processes beside one

The out-of-fold predictions are simulated: models whose errors are partly shared, single lwlrap 0.79 to 0.86. What
is timed is the whole search: from log-probabilities to the best list, reduction of pairs included. numpy adds
up log-probabilities and counts the classes at or above each label; scikit-learn sorts. Both are timed on a few
subsets; what the whole search would take them is extrapolated, and labelled so.
"""

from __future__ import annotations

import argparse
import io
import itertools
import math

import numpy as np
from _timing import Row, add_json_argument, compare, print_table, write_json
from rich.console import Console
from sklearn.metrics import label_ranking_average_precision_score
from threadpoolctl import threadpool_limits

from raytag.ensemble import search_subsets
from raytag.ensemble.pairs import log_probabilities, reduce_pairs
from raytag.metrics import lwlrap
from raytag.seeding import generator

CLIPS, CLASSES, LABELS = 4970, 80, 5929  # FSDKaggle2019's curated set


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ray", action="store_true", help="two worker processes beside one, on a larger search")
    parser.add_argument("--models", type=int, help="models to choose from (default 20; 36 with --ray)")
    parser.add_argument("--size", type=int, default=7, help="members (default 7)")
    parser.add_argument("--clips", type=int, default=CLIPS, help=f"clips (default {CLIPS})")
    parser.add_argument("--rounds", type=int, help="timed rounds (default 7; 3 with --ray)")
    add_json_argument(parser)
    args = parser.parse_args()

    n_models = args.models or (36 if args.ray else 20)
    probabilities, targets = simulate(n_models, args.clips)
    logs = log_probabilities(probabilities)
    singles = [lwlrap(targets, values) for values in logs]
    n_subsets = math.comb(n_models, args.size)
    title = f"best {args.size} of {n_models} on {args.clips:,} x {CLASSES}, {n_subsets:,} subsets"
    print(f"simulated models: single lwlrap {min(singles):.3f} to {max(singles):.3f}")
    if args.ray:
        rows = two_cores(logs, targets, args.size, args.rounds or 3)
        title += ", through Ray"
    else:
        with threadpool_limits(1):
            rows = one_core(logs, targets, args.size, args.rounds or 7)
        title += ", one core"
    print_table(title, rows)
    for row in rows:
        how = "measured" if row.per == n_subsets else f"extrapolated from {row.per:.0f} subsets"
        print(f"whole search, {row.name}: {row.wall * n_subsets / row.per:,.2f} s ({how})")
    write_json(args.json, {title: rows})


def simulate(n_models: int, n_clips: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (n_models, n_clips, CLASSES) float32, and targets."""
    rng = generator(seed)
    targets = np.zeros((n_clips, CLASSES), np.float32)
    targets[np.arange(n_clips), rng.integers(0, CLASSES, n_clips)] = 1
    extra = rng.integers(0, n_clips, round((LABELS / CLIPS - 1) * n_clips))
    targets[extra, rng.integers(0, CLASSES, len(extra))] = 1
    shared = rng.standard_normal(targets.shape, np.float32)
    clarity = rng.normal(1.0, 0.5, (n_clips, 1)).clip(0.1).astype(np.float32)
    probabilities = np.empty((n_models, *targets.shape), np.float32)
    for m in range(n_models):
        skill = np.float32(5.4 * (0.88 + 0.24 * m / max(1, n_models - 1)))
        own = rng.standard_normal(targets.shape, np.float32)
        probabilities[m] = 1 / (1 + np.exp(-1.3 * (skill * clarity * targets + shared + 0.72 * own - 5)))
    return probabilities, targets


def one_core(logs: np.ndarray, targets: np.ndarray, size: int, rounds: int) -> list[Row]:
    n_models = len(logs)
    n_subsets = math.comb(n_models, size)
    clips, classes = np.nonzero(targets)
    positive = targets > 0
    labels = targets.sum(axis=1)
    rng = generator(1)
    draws = itertools.cycle([np.sort(rng.choice(n_models, size, replace=False)) for _ in range(64)])

    def numpy_score(members: np.ndarray) -> float:
        blend = logs[members].sum(axis=0)
        above = blend[clips] >= blend[clips, classes][:, None]
        return float(((above & positive[clips]).sum(axis=1) / above.sum(axis=1)).mean())

    def sklearn_score(members: np.ndarray) -> float:
        blend = logs[members].sum(axis=0)
        return float(label_ranking_average_precision_score(targets, blend, sample_weight=labels))

    def search() -> None:
        search_subsets(logs, targets, size, 100)

    best = search_subsets(logs, targets, size, 100)
    for members, score in zip(best["members"][:5], best["score"][:5], strict=True):
        others = numpy_score(np.array(members)), sklearn_score(np.array(members))
        assert all(abs(score - other) < 1e-9 for other in others), (members, score, others)
    pairs = reduce_pairs(logs, targets)
    print(
        f"best {best['members'][0]} {best['score'][0]:.5f}, the same by numpy and scikit-learn; "
        f"{pairs.margins.shape[1] / pairs.n_tested:.1%} of {pairs.n_tested:,} pairs disputed"
    )
    n_numpy, n_sklearn = 10, 2
    return compare(
        {
            "scikit-learn": lambda: [sklearn_score(next(draws)) for _ in range(n_sklearn)],
            "numpy": lambda: [numpy_score(next(draws)) for _ in range(n_numpy)],
            "raytag": search,
        },
        rounds=rounds,
        per={"scikit-learn": n_sklearn, "numpy": n_numpy, "raytag": n_subsets},
        unit="subsets",
        min_seconds=0.0,
    )


def two_cores(logs: np.ndarray, targets: np.ndarray, size: int, rounds: int) -> list[Row]:
    import ray

    from raytag.ensemble.distributed import search
    from raytag.ensemble.subsets import Objective

    pairs = reduce_pairs(logs, targets)
    pids: dict[int, set[int]] = {1: set(), 2: set()}
    best = {}

    def run(workers: int) -> None:
        console = Console(file=io.StringIO())
        (board,), outcome = search(pairs, [size], [Objective((0,), 100)], console=console, workers=workers)
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
            per=math.comb(len(logs), size),
            unit="subsets",
        )
    finally:
        ray.shutdown()
    assert best[1] == best[2], "the result depends on the number of workers"
    print(f"same 100 subsets either way; worker processes with 2 at a time: {sorted(pids[2])}")
    return rows


if __name__ == "__main__":
    main()
