"""What a launch does before its trials train: the parts of its start, and whether and how fast trials start.

    python benchmarks/speed/start.py [--against DIR] [--cold] [--rounds 3] [--cpus-per-trial 0.33] [--trials 8]

Launches so many trials of one epoch on the built-in demo data, whose features are cached, and reads when things
happened off the lines that the launch prints and the event log that it leaves. DIR is another checkout of raytag to
alternate with; versions that do not log `first_step` show no first steps. ``--cold`` gives every launch an empty
folder for compiled kernels.

- start of a trial: when a worker took it up; spread: between the first and the last of as many as run at a time
- a trial on a warm worker: from the end of the trial before it on the same worker to the end of its own first step
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _timing import add_json_argument, machine, write_json
from rich import box
from rich.console import Console
from rich.table import Table

from raytag.datasets.demo import make_demo

HERE = Path(__file__).resolve().parents[2]
NAN = float("nan")
#: Lines that a launch prints, and what has happened by then.
LINES = {"  clips ": "recordings read", "features: ": "Ray started", "Run ": "trials asked for"}


def launch(checkout: Path, data: Path, kernels: Path, cache: Path, options: list[str]) -> dict[str, float]:
    """One launch; seconds after the command by what happened."""
    with tempfile.TemporaryDirectory(prefix="raytag-benchmark-") as runs:
        command = [sys.executable, str(checkout / "launch.py"), "--data", str(data), "--run", "start"]
        command += ["--runs-dir", runs, "--cache-dir", str(cache), *options]
        environment = os.environ | {"PYTHONPATH": str(checkout), "NUMBA_CACHE_DIR": str(kernels), "COLUMNS": "200"}
        environment["PYTHONUNBUFFERED"] = "1"
        started, found = time.time(), {}
        process = subprocess.Popen(
            command, env=environment, cwd=runs, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert process.stdout is not None
        printed = []
        for line in process.stdout:
            printed.append(line)
            for beginning, what in LINES.items():
                if line.startswith(beginning):
                    found.setdefault(what, time.time() - started)
        if process.wait() != 0:
            raise SystemExit(f"{' '.join(command)} failed:\n{''.join(printed)}")
        found["end"] = time.time() - started
        log = next(Path(runs).glob("start/events/*.jsonl")).read_text().splitlines()
    events = [json.loads(line) for line in log]
    slots = next(int(words) for words in re.findall(r"(\d+) trials at a time", "".join(printed)))
    found |= trials([event for event in events if event["event"] == "fold"], slots, started)
    for event in events:
        if event["event"] == "ready":
            found |= {f"part: {name}": seconds for name, seconds in event["seconds"].items()}
    return found


def trials(folds: list[dict[str, Any]], slots: int, command: float) -> dict[str, float]:
    """When trials started and made their first step, from the events of their ends."""
    folds = sorted(folds, key=lambda fold: fold["started"])
    starts = [fold["started"] for fold in folds]
    steps = [fold.get("first_step") or NAN for fold in folds]
    warm = []
    for a in folds:
        later = [b for b in folds if b["pid"] == a["pid"] and b["started"] >= a["ended"]]
        warm += [later[0].get("first_step", NAN) - a["ended"]] if later else []
    return {
        "first trial started": folds[0]["started"] - command,
        "first step of the first trial": min(steps) - command,
        "first step of the last trial": max(steps) - command,
        "trials that ran at once, at most": max(sum(f["started"] <= t < f["ended"] for f in folds) for t in starts),
        f"spread of the first {slots} starts": starts[:slots][-1] - starts[0],
        "trials on warm workers": len(warm),
        "one of them, median": statistics.median(warm) if warm else NAN,
        "one of them, longest": max(warm, default=NAN),
        "worker processes": len({fold["pid"] for fold in folds}),
    }


def print_rounds(title: str, rounds: dict[str, list[dict[str, float]]]) -> None:
    """A row a figure, a column a checkout: median and range over the rounds."""
    table = Table(title=title, title_justify="left", box=box.MARKDOWN)
    table.add_column("seconds after the command, unless said")
    for name in rounds:
        table.add_column(name, justify="right")
    names = dict.fromkeys(what for found in rounds.values() for row in found for what in row)
    for what in names:
        cells = []
        for found in rounds.values():
            values = [row.get(what, NAN) for row in found]
            middle = statistics.median(values)
            text = f"{middle:.1f}" if len(values) == 1 else f"{middle:.1f} ({min(values):.1f}–{max(values):.1f})"
            cells.append("–" if any(value != value for value in values) else text)
        table.add_row(what, *cells)
    Console(width=140).print(table)
    print(machine())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, help="another checkout of raytag, measured in turn")
    parser.add_argument("--cold", action="store_true", help="without compiled kernels")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--cpus-per-trial", default="0.33")
    parser.add_argument("--samples", type=int, default=512, help="training samples of a trial")
    add_json_argument(parser)
    arguments = parser.parse_args()
    checkouts = {"this checkout": HERE}
    if arguments.against is not None:
        checkouts = {"against": arguments.against.resolve(), **checkouts}
    options = ["--num-samples", str(arguments.trials), "--cpus-per-trial", arguments.cpus_per_trial]
    options += ["--epochs", "1", "--only-folds", "0", "--stopping", "none", "--set", "model.base_size=8"]
    options += ["--set", f"sampling.samples_per_epoch={arguments.samples}"]
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in checkouts}
    with tempfile.TemporaryDirectory(prefix="raytag-benchmark-") as folder:
        data = make_demo(Path(folder) / "demo")
        for number in range(arguments.rounds + 1):  # the first builds the cache, and compiles the kernels
            for name, checkout in checkouts.items():
                kernels = Path(folder) / (f"kernels-{name}-{number}" if arguments.cold else f"kernels-{name}")
                kernels.mkdir(exist_ok=True)
                found = launch(checkout, data, kernels, Path(folder) / f"cache-{name}", options)
                if number:
                    rounds[name].append(found)
    kind = "no kernel compiled" if arguments.cold else "kernels compiled"
    print_rounds(f"{arguments.trials} trials of {arguments.cpus_per_trial} CPUs, {kind}", rounds)
    write_json(arguments.json, rounds)


if __name__ == "__main__":
    main()
