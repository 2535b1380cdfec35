"""Timing that survives a noisy machine: the rounds of all candidates are interleaved, medians are compared.

    rows = compare({"librosa": slow, "raytag": fast}, baseline="librosa", per=60, unit="clips")
    print_table("log-mel, one thread", rows)

Every round times each candidate once, in an order that rotates, so that a slow spell of the machine hits all
of them. A ratio is the median over rounds of (baseline's time / candidate's time) *of the same round*.
Wall time is what a user waits for; the CPU time of this process, all its threads, is what is left when other
programs use the cores too. Work done in other processes (Ray workers) shows in wall time only.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Row:
    """One candidate's timings. Times are seconds a call; (low, high) is the whole range over the rounds."""

    name: str
    unit: str  # what a call processes
    per: float  # units a call
    rounds: int
    wall: float  # median
    wall_range: tuple[float, float]
    cpu: float  # median, this process
    cpu_range: tuple[float, float]
    wall_ratio: float  # baseline / this, a unit: above 1 is faster than the baseline
    cpu_ratio: float

    @property
    def rate(self) -> float:
        """Units a second of wall time."""
        return self.per / self.wall


def compare(
    candidates: Mapping[str, Callable[[], Any]],
    *,
    rounds: int = 7,
    baseline: str | None = None,
    per: float | Mapping[str, float] = 1.0,
    unit: str = "calls",
    min_seconds: float = 0.05,
) -> list[Row]:
    """Time several callables side by side, in interleaved rounds.

    Parameters
    ----------
    candidates
        Name -> callable without arguments. Each is called beforehand (compilation, page faults, caches).
    rounds
        Timed rounds.
    baseline
        Whose time is the numerator of the ratios; by default the first.
    per
        Units that one call processes: one number for all, or a number by name.
    unit
        What the units are called in the table: ``"clips"``, ``"samples"``, ...
    min_seconds
        A candidate that returns sooner is called several times in a row to fill this time, s.

    Returns
    -------
    list of Row
        In the order of ``candidates``.
    """
    names = list(candidates)
    baseline = names[0] if baseline is None else baseline
    if baseline not in candidates:
        raise ValueError(f"baseline {baseline!r} is none of {names}")
    loops = {}
    for name, function in candidates.items():
        seconds = _seconds(function)
        if seconds < 1:  # the first call may have compiled something
            seconds = _seconds(function)
        loops[name] = max(1, math.ceil(min_seconds / max(seconds, 1e-9)))
    wall: dict[str, list[float]] = {name: [] for name in names}
    cpu: dict[str, list[float]] = {name: [] for name in names}
    for i in range(rounds):
        shift = i % len(names)
        for name in names[shift:] + names[:shift]:
            function, n = candidates[name], loops[name]
            cpu_started, started = time.process_time(), time.perf_counter()
            for _ in range(n):
                function()
            wall[name].append((time.perf_counter() - started) / n)
            cpu[name].append((time.process_time() - cpu_started) / n)
    units = {name: float(per[name] if isinstance(per, Mapping) else per) for name in names}
    return [
        Row(
            name=name,
            unit=unit,
            per=units[name],
            rounds=rounds,
            wall=statistics.median(wall[name]),
            wall_range=(min(wall[name]), max(wall[name])),
            cpu=statistics.median(cpu[name]),
            cpu_range=(min(cpu[name]), max(cpu[name])),
            wall_ratio=_median_ratio(wall[baseline], wall[name]) * units[name] / units[baseline],
            cpu_ratio=_median_ratio(cpu[baseline], cpu[name]) * units[name] / units[baseline],
        )
        for name in names
    ]


def _seconds(function: Callable[[], Any]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def _median_ratio(numerators: Sequence[float], denominators: Sequence[float]) -> float:
    """Median of the rounds' ratios; NaN where a clock did not tick."""
    ratios = [a / b for a, b in zip(numerators, denominators, strict=True) if b > 0]
    return statistics.median(ratios) if ratios else math.nan


def print_table(title: str, rows: Iterable[Row], *, console: Console | None = None) -> None:
    """Print an aligned Markdown table of timings and, under it, the machine that they were taken on."""
    table = Table(title=title, title_justify="left", title_style="bold", box=box.MARKDOWN)
    rows = list(rows)
    unit = rows[0].unit if rows else "calls"
    table.add_column("")
    columns = [f"{unit}/s", f"ms/{_singular(unit)}", "range", f"CPU ms/{_singular(unit)}", "range"]
    for header in [*columns, "ratio", "ratio CPU"]:
        table.add_column(header, justify="right")
    for row in rows:
        milliseconds = 1e3 / row.per
        table.add_row(
            row.name,
            _significant(row.rate),
            _significant(row.wall * milliseconds),
            "–".join(_significant(t * milliseconds) for t in row.wall_range),
            _significant(row.cpu * milliseconds),
            "–".join(_significant(t * milliseconds) for t in row.cpu_range),
            f"{_significant(row.wall_ratio)}x",
            f"{_significant(row.cpu_ratio)}x",
        )
    console = console or Console()
    if not console.is_terminal:
        console = Console(file=console.file, width=max(console.width, 140))
    console.print(table)
    console.print(machine(), highlight=False, soft_wrap=True)


def _singular(unit: str) -> str:
    return unit.removesuffix("s")


def _significant(value: float) -> str:
    """Three significant digits, thousands grouped."""
    if not math.isfinite(value):
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def machine() -> str:
    """One line: processor, cores, memory, system, Python, commit, and how busy the machine is now."""
    model = platform.processor() or platform.machine()
    memory = ""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
        memory = f", {os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"
    except (OSError, StopIteration, ValueError):
        pass
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return (
        f"{model}, {cores} cores{memory}, {platform.system()}, Python {platform.python_version()}, "
        f"commit {commit()}{load}"
    )


def commit() -> str:
    """Short hash of the checkout that this script stands in; ``+`` marks uncommitted changes to raytag."""
    root = Path(__file__).resolve().parents[2]
    try:
        head = _git(root, "rev-parse", "--short", "HEAD")
        return head + ("+" if _git(root, "status", "--porcelain", "raytag") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def add_json_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--json PATH``; hand the parsed value to `write_json`."""
    parser.add_argument("--json", type=Path, metavar="PATH", help="also write the tables to this file")


def write_json(path: Path | None, tables: Mapping[str, Sequence[Row | Mapping[str, Any]]]) -> None:
    """Write tables (title -> rows) with the machine line as JSON; does nothing for ``None``.

    Rows are `Row` or plain mappings, for scripts that measure something else than calls.
    """
    if path is None:
        return
    rows = {
        title: [asdict(row) | {"rate": row.rate} if isinstance(row, Row) else dict(row) for row in table]
        for title, table in tables.items()
    }
    path.write_text(json.dumps({"machine": machine(), "commit": commit(), "tables": rows}, indent=2) + "\n")
