#!/usr/bin/env python3
"""Wall time until the best score of a full-CV random search is reached, with and without racing.

    python ../shared/tools/make_fsd.py --out data/fsd0 --seed 0
    for seed in 0 1 2; do
        python launch.py --data data/fsd0 --run full --seed $seed --num-samples 12 --epochs 16 \
            --set model.base_size=8 --stopping none
        python launch.py --data data/fsd0 --run racing --seed $seed --num-samples 12 --epochs 16 \
            --set model.base_size=8
    done
    python benchmarks/racing/time_to_score.py --full full --racing racing

Both arms of a seed draw the same experiments and train them to the same numbers, so "reached" means that the same
experiment (or one at least as good) is complete. Times are the event log's, from the moment training may start.
Where other jobs ran on the machine, the same epochs took longer in one arm than in the other: the ratio of the two,
over the folds that both trained, is printed and divided out in the last column.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from raytag.console import duration, make_console, say
from raytag.search.leaderboard import leaderboard
from raytag.store.events import read_events
from raytag.store.run import RunStore


@dataclass(frozen=True)
class Arm:
    """One launch: when each experiment was complete, and when all was done; seconds from its start."""

    complete: dict[str, float]
    total: float
    experiments: list[str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs-dir", default="runs")
    parser.add_argument("--full", required=True, metavar="RUN", help="launched with --stopping none")
    parser.add_argument("--racing", required=True, metavar="RUN", help="the same launches with racing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there")
    args = parser.parse_args()
    console = make_console()
    stores = [RunStore(args.runs_dir, name) for name in (args.full, args.racing)]
    full, racing = (arms(store) for store in stores)
    seeds = sorted(set(full) & set(racing))
    if not seeds:
        raise SystemExit(
            f"no seed was launched in both {args.full} ({sorted(full)}) and {args.racing} ({sorted(racing)})"
        )
    rows = [compare(seed, full[seed], racing[seed], *stores) for seed in seeds]
    table = Table(box=None, header_style="bold")
    for name in rows[0]:
        table.add_column(name.replace("_", " "), justify="right")
    for row in rows:
        table.add_row(*(shown(name, value) for name, value in row.items()))
    console.print(table)
    for name in ("speedup", "speedup_same_load"):
        logs = [math.log(row[name]) for row in rows if row[name] is not None]
        if logs:
            mean = math.exp(sum(logs) / len(logs))
            span = f"{math.exp(min(logs)):.2f} to {math.exp(max(logs)):.2f}"
            say(
                console,
                f"{name.replace('_', ' ')}: geometric mean {mean:.2f} ({span}, {len(logs)} of {len(rows)} seeds)",
            )
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2) + "\n")


def shown(name: str, value: Any) -> str:
    if value is None:
        return "never"
    if name.startswith("seconds"):
        return duration(value)
    return f"{value:.4f}" if name == "best_cv" else f"{value:.3g}"


def arms(store: RunStore) -> dict[int, Arm]:
    """The launches of a run by their seed; one that was interrupted or continued is refused."""
    found: dict[int, Arm] = {}
    seed, key, start = -1, "", 0.0
    folds: dict[str, dict[int, float]] = {}
    for event in read_events(store.storage):
        at = datetime.datetime.fromisoformat(event["time"]).timestamp()
        if event["event"] == "launch":
            seed, key, start, folds = int(event["options"]["seed"]), "", at, {}
        elif event["event"] == "race" or (event["event"] == "propose" and not key):  # old logs have no race
            key, start = event["key"], at
        elif event["event"] == "fold":
            if event.get("found"):
                raise SystemExit(f"{store.name}, seed {seed}: continued an earlier launch; its time says nothing")
            folds.setdefault(event["experiment"], {})[event["fold"]] = at - start
        elif event["event"] == "end" and not event["interrupted"]:
            if seed in found:
                raise SystemExit(f"{store.name}: launched twice with seed {seed}")
            complete = {e: max(times.values()) for e, times in folds.items() if len(times) == store.n_folds}
            found[seed] = Arm(complete, at - start, list(folds))
    return found


def compare(seed: int, full: Arm, racing: Arm, full_store: RunStore, racing_store: RunStore) -> dict[str, Any]:
    cv = [
        dict(zip(t["experiment"], t["cv_lwlrap"], strict=True))
        for t in map(leaderboard, (full_store, racing_store))
    ]
    best = max(full.complete, key=lambda e: cv[0][e])
    reached = [time for e, time in racing.complete.items() if cv[1][e] >= cv[0][best] - 1e-9]
    time = min(reached, default=None)
    load = slower(full, full_store, racing_store)
    spent = [epochs(arm, store) for arm, store in ((full, full_store), (racing, racing_store))]
    return {
        "seed": seed,
        "best_cv": cv[0][best],
        "seconds_full": full.complete[best],
        "seconds_racing": time,
        "speedup": None if time is None else full.complete[best] / time,
        "seconds_full_all": full.total,
        "seconds_racing_all": racing.total,
        "fold_epochs_spent": spent[1] / spent[0],
        "epochs_slower_in_full": load,
        "speedup_same_load": None if time is None else full.complete[best] / time / load,
    }


def epochs(arm: Arm, store: RunStore) -> int:
    """Fold-epochs that the launch trained, those of stopped trials included."""
    names = {e["experiment"] for e in read_events(store.storage) if e["event"] == "propose"}
    drawn = [
        e for e in names if store.experiment(e).training.seed == store.experiment(arm.experiments[0]).training.seed
    ]
    return sum(len(store.fold(e, k).curve()) for e in drawn for k in range(store.n_folds))


def slower(full: Arm, full_store: RunStore, racing_store: RunStore) -> float:
    """How much longer the same epochs took in the full arm: total seconds over the folds that both trained."""
    seconds = [0.0, 0.0]
    for experiment in full.experiments:
        for fold in range(full_store.n_folds):
            a, b = (store.fold(experiment, fold).curve() for store in (full_store, racing_store))
            common = min(len(a), len(b))
            if common > 1:  # the first epoch compiles and fills caches
                for i, curve in enumerate((a, b)):
                    seconds[i] += float(curve["seconds"].iloc[common - 1] - curve["seconds"].iloc[0])
    return seconds[0] / seconds[1] if seconds[1] else math.nan


if __name__ == "__main__":
    main()
