"""lwlrap at the size of Freesound Audio Tagging 2019: 4970 clips, 80 classes, about 1.2 labels a clip.

    python benchmarks/speed/lwlrap.py

The loop sorts each clip's scores and walks through its labels, as the competition's own code does. The others
are scikit-learn's label_ranking_average_precision_score weighted by the number of labels, one argsort of the
whole matrix in numpy, and raytag. All get the same float32 scores without ties, on which they agree.
"""

from __future__ import annotations

import argparse

import numpy as np
from _timing import add_json_argument, compare, print_table, write_json
from sklearn.metrics import label_ranking_average_precision_score

from raytag.metrics import lwlrap, per_class_lwlrap, tied_pairs
from raytag.seeding import generator


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=4970)
    parser.add_argument("--classes", type=int, default=80)
    parser.add_argument("--rounds", type=int, default=9, help="timed rounds (default 9)")
    add_json_argument(parser)
    args = parser.parse_args()

    rng = generator(0)
    shape = args.clips, args.classes
    second = rng.random(args.clips) < 0.19
    targets = np.zeros(shape, np.float32)
    targets[np.arange(args.clips), rng.integers(0, args.classes, args.clips)] = 1
    targets[second, rng.integers(0, args.classes, second.sum())] = 1
    order = rng.permuted(np.tile(np.arange(args.classes, dtype=np.float32), (args.clips, 1)), axis=1)
    scores = order + 0.3 * args.classes * targets + 0.5 * targets

    candidates = {
        "loop over clips, argsort": lambda: loop(targets, scores),
        "scikit-learn": lambda: sklearn_lwlrap(targets, scores),
        "numpy, one argsort": lambda: argsort_lwlrap(targets, scores),
        "raytag": lambda: lwlrap(targets, scores),
        "raytag, bool targets": lambda: lwlrap(positive, scores),
        "raytag, per class": lambda: per_class_lwlrap(targets, scores),
    }
    positive = targets == 1
    values = {name: float(function()) for name, function in candidates.items() if "per class" not in name}
    reference = values["loop over clips, argsort"]
    worst = max(abs(value - reference) for value in values.values())
    print(
        f"{int(targets.sum())} labels, {tied_pairs(targets, scores)} tied pairs; "
        f"lwlrap {reference:.6f}, the greatest difference between the candidates is {worst:.1e}"
    )
    title = f"lwlrap, {args.clips} clips x {args.classes} classes, one thread"
    rows = compare(candidates, rounds=args.rounds, unit="calls")
    print_table(title, rows)
    write_json(args.json, {title: rows})


def loop(targets: np.ndarray, scores: np.ndarray) -> float:
    total = labels = 0.0
    for truth, row in zip(targets, scores, strict=True):
        ranked = truth[np.argsort(row)[::-1]]
        hits = np.cumsum(ranked)
        ranks = np.flatnonzero(ranked)
        total += float((hits[ranks] / (1 + ranks)).sum())
        labels += len(ranks)
    return total / labels


def sklearn_lwlrap(targets: np.ndarray, scores: np.ndarray) -> float:
    return label_ranking_average_precision_score(targets, scores, sample_weight=targets.sum(axis=1))


def argsort_lwlrap(targets: np.ndarray, scores: np.ndarray) -> float:
    ranked = np.take_along_axis(targets, np.argsort(-scores, axis=1), axis=1)
    precision = np.cumsum(ranked, axis=1, dtype=np.float64) / np.arange(1, targets.shape[1] + 1)
    return float((precision * ranked).sum() / ranked.sum())


if __name__ == "__main__":
    main()
