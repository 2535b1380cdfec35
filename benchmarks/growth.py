"""How an exact subset search grows, one axis at a time: models, clips, classes; measured beside predicted.

    python benchmarks/growth.py --figure growth.png --json growth.json
    python benchmarks/growth.py --models 10 15 20 --clips --classes        # one axis alone

The best 7 of 20 models on 4,970 clips x 80 classes, simulated as in subsets.py, and one of the three numbers
changed at a time. Timed is the whole search of the reduced pairs on one core; the reduction, once a search, stands
beside it. The prediction is the one by which raytag decides whether to search exactly
(`raytag.blends.cost.measure_speed`): it times some blocks of labels for all subsets of one or two trees, before
the search. Points predicted to take longer than --limit are left out, and named.

More classes are harder for the simulated models (a positive stands among more others), so along that axis the share
of disputed pairs moves too; it is in the table.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _figure import DPI, pyplot
from _oof import CLASSES, CLIPS, simulate
from _timing import add_json_argument, machine, write_json
from rich import box
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from raytag.blends.cost import measure_speed
from raytag.blends.means import BLENDS, blend_scores
from raytag.blends.pairs import Pairs, reduce_pairs
from raytag.blends.subsets import TREE_LIMIT, Objective, search_trees
from raytag.blends.trees import count_subsets, plan
from raytag.metrics import lwlrap

MODELS, SIZE, TOP = 20, 7, 100
AXES: dict[str, tuple[int, ...]] = {
    "models": (10, 15, 20, 25, 30, 35, 40),
    "clips": (1_000, 2_000, 5_000, 10_000, 20_000, 50_000),
    "classes": (10, 20, 50, 80, 160, 320, 500),
}
BASE = {"models": MODELS, "clips": CLIPS, "classes": CLASSES}
#: A search predicted to take less is timed several times.
SHORT_SECONDS = 5.0


@dataclass(frozen=True)
class Point:
    """One search. Times are seconds of one core; ``measured`` (wall) and ``cpu`` are None where it was left out."""

    axis: str
    value: int
    subsets: int
    single: float  # lwlrap of the best single model
    disputed: float  # share of pairs
    disputed_pairs: int
    reduction: float
    measuring: float  # what the prediction took
    predicted: float
    measured: float | None
    cpu: float | None

    @property
    def ratio(self) -> float | None:
        """Predicted over measured CPU time: what the search itself took, whatever else ran."""
        return None if self.cpu is None else self.predicted / self.cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for axis, values in AXES.items():
        shown = " ".join(map(str, values))
        parser.add_argument(
            f"--{axis}", type=int, nargs="*", default=values, help=f"default {shown}; none: left out"
        )
    parser.add_argument("--base-clips", type=int, default=CLIPS, help=f"clips on the other axes (default {CLIPS})")
    parser.add_argument("--blend", choices=BLENDS, default=BLENDS[0], help=f"default {BLENDS[0]}")
    parser.add_argument("--limit", type=float, default=150.0, help="longest predicted search, s (default 150)")
    parser.add_argument("--rounds", type=int, default=3, help="timings of a short search: the median (default 3)")
    parser.add_argument("--figure", type=Path, metavar="FILE.png", help="also draw it")
    add_json_argument(parser)
    args = parser.parse_args()
    if any(n < SIZE for n in args.models):
        parser.error(f"--models: at least {SIZE}, of which {SIZE} are chosen")
    if args.figure is not None:
        pyplot()  # refuse before the work, not after it

    console = Console()
    tables: dict[str, list[Point]] = {}
    with threadpool_limits(1):
        for axis in AXES:
            points = []
            for value in sorted(getattr(args, axis)):
                shape = {**BASE, "clips": args.base_clips, axis: value}
                points.append(measure(axis, value, shape, args.blend, args.limit, args.rounds))
                console.print(_line(points[-1]), highlight=False, soft_wrap=True)
            if points:
                tables[_title(axis, {**BASE, "clips": args.base_clips})] = points
    for title, points in tables.items():
        print_points(title, points)
    console.print(machine(), highlight=False, soft_wrap=True)
    write_json(args.json, {t: [asdict(p) | {"ratio": p.ratio} for p in points] for t, points in tables.items()})
    if args.figure is not None:
        draw(args.figure, tables)


def measure(axis: str, value: int, shape: dict[str, int], blend: str, limit: float, rounds: int) -> Point:
    pairs, single, reduction = _reduced(shape, blend)
    started = time.perf_counter()
    speed = measure_speed(pairs, [SIZE])
    measuring = time.perf_counter() - started
    trees = plan(pairs.n_models, [SIZE], TREE_LIMIT)
    predicted = speed.seconds(trees)
    wall: list[float] = []
    cpu: list[float] = []
    for _ in range(0 if predicted > limit else rounds if predicted < SHORT_SECONDS else 1):
        started, cpu_started = time.perf_counter(), time.thread_time()
        search_trees(pairs, trees, [Objective((0,), TOP)])
        wall.append(time.perf_counter() - started)
        cpu.append(time.thread_time() - cpu_started)
    return Point(
        axis=axis,
        value=value,
        subsets=count_subsets(pairs.n_models, [SIZE]),
        single=single,
        disputed=pairs.margins.shape[1] / pairs.n_tested,
        disputed_pairs=pairs.margins.shape[1],
        reduction=reduction,
        measuring=measuring,
        predicted=predicted,
        measured=statistics.median(wall) if wall else None,
        cpu=statistics.median(cpu) if cpu else None,
    )


def _reduced(shape: dict[str, int], blend: str) -> tuple[Pairs, float, float]:
    """Pairs of a simulation, its best single model's lwlrap, and seconds from probabilities to pairs.

    A function of its own, so that the predictions (up to 0.3 GB, their scores twice that) are gone afterwards.
    """
    probabilities, targets = simulate(shape["models"], shape["clips"], shape["classes"])
    single = max(lwlrap(targets, values) for values in probabilities)
    reduce_pairs(blend_scores(probabilities[:, :2], blend), np.ones_like(targets[:2]))  # compiles
    started = time.perf_counter()
    pairs = reduce_pairs(blend_scores(probabilities, blend), targets)
    return pairs, single, time.perf_counter() - started


def _title(axis: str, base: dict[str, int]) -> str:
    rest = ", ".join(f"{base[other]:,} {other}" for other in AXES if other != axis)
    return f"best {SIZE}, by {axis} ({rest}), one core"


def _line(point: Point) -> str:
    done = "left out" if point.measured is None else f"measured {point.measured:.2f} s"
    return f"{point.value:,} {point.axis}: {point.subsets:,} subsets, predicted {point.predicted:.2f} s, {done}"


def print_points(title: str, points: Sequence[Point]) -> None:
    """Print an aligned Markdown table."""
    table = Table(title=title, title_justify="left", title_style="bold", box=box.MARKDOWN)
    axis = points[0].axis
    columns = ["subsets", "best single", "disputed", "pairs", "reduction s", "predicted s", "measured s", "CPU s"]
    for header in [axis, *columns, "predicted / CPU", "subsets/s"]:
        table.add_column(header, justify="right")
    for p in points:
        measured = ["left out", "–", "–", "–"]
        if p.measured is not None and p.cpu is not None:
            rate = f"{p.subsets / p.measured:,.0f}"
            measured = [f"{p.measured:.3g}", f"{p.cpu:.3g}", f"{p.predicted / p.cpu:.2f}", rate]
        table.add_row(
            f"{p.value:,}",
            f"{p.subsets:,}",
            f"{p.single:.3f}",
            f"{p.disputed:.1%}",
            f"{p.disputed_pairs:,}",
            f"{p.reduction:.2g}",
            f"{p.predicted:.3g}",
            *measured,
        )
    console = Console()
    if not console.is_terminal:
        console = Console(file=console.file, width=max(console.width, 150))
    console.print(table)


def draw(path: Path, tables: dict[str, list[Point]]) -> None:
    """One panel an axis, logarithmic: measured and predicted seconds, and the reduction."""
    plt = pyplot()
    figure, axes = plt.subplots(1, len(tables), figsize=(4.8 * len(tables), 4.4), squeeze=False)
    for ax, (title, points) in zip(axes[0], tables.items(), strict=True):
        _panel(ax, points)
        ax.set_title(title.replace(" (", "\n(").removesuffix(", one core"), fontsize=10)
    axes[0][0].set_ylabel("seconds, one core", fontsize=10)
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=len(labels), fontsize=9, frameon=False)
    figure.tight_layout(rect=(0, 0.07, 1, 1))
    figure.savefig(path, dpi=DPI)
    plt.close(figure)


def _panel(ax: Any, points: Sequence[Point]) -> None:
    values = [p.value for p in points]
    done = [p for p in points if p.measured is not None]
    ax.plot(
        values, [p.predicted for p in points], "o--", color="#c9783a", mfc="none", ms=8, lw=1.2, label="predicted"
    )
    ax.plot(
        [p.value for p in done], [p.measured for p in done], "o-", color="#1f5fa8", ms=4.5, lw=1.6, label="measured"
    )
    ax.plot(
        values,
        [p.reduction for p in points],
        "s:",
        color="0.55",
        ms=3.5,
        lw=1.0,
        label="reduction to disputed pairs",
    )
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xticks(values, [f"{v // 1000}k" if v >= 1000 and v % 1000 == 0 else str(v) for v in values], fontsize=9)
    ax.minorticks_off()
    ax.set_xlabel(points[0].axis, fontsize=10)
    ax.grid(color="0.9", linewidth=0.7)
    ax.set_axisbelow(True)
    for p in points:
        if p.measured is None:
            ax.annotate(
                "not run",
                (p.value, p.predicted),
                xytext=(-6, 6),
                textcoords="offset points",
                ha="right",
                fontsize=8,
            )


if __name__ == "__main__":
    main()
