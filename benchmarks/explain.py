#!/usr/bin/env python3
"""Every decision of a run's race, decided again from the facts in its event log.

    python benchmarks/explain.py runs/RUN

Prints the decisions with their reasons; the exit code is 1 if the facts before one of them give another decision.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.table import Table

from raytag.console import make_console, say
from raytag.search.race.replay import check
from raytag.store.events import read_events
from raytag.store.run import RunStore


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="folder of a run, runs/RUN")
    args = parser.parse_args()
    console = make_console()
    path = Path(args.run)
    events = read_events(RunStore(str(path.parent), path.name).storage)
    different = 0
    races = {e["key"]: e for e in events if e["event"] == "race"}  # the last launch of each search
    if not races:
        say(console, f"{args.run}: no launch of it raced")
    for key, race in races.items():
        decisions, wrong = check(events, key)
        facts = sum(e.get("key") == key and e["event"] in ("rung", "fold", "fail") for e in events)
        settings = race["settings"]
        say(
            console,
            f"search {key}: --stopping {settings['stopping']} --keep {settings['keep']}, folds "
            f"{', '.join(map(str, race['folds']))}; {facts} facts, {len(decisions)} decisions, "
            f"{len(wrong)} of them do not follow from the facts",
        )
        table = Table(box=None, header_style="bold")
        for name in ("decision", "experiment", "reason"):
            table.add_column(name)
        for decision in decisions:
            table.add_row(decision["event"], decision["experiment"], decision["reason"])
        console.print(table)
        for mismatch in wrong:
            say(console, f"event {mismatch.number}: logged {mismatch.logged}, recomputed {mismatch.recomputed}")
        different += len(wrong)
    return 1 if different else 0


if __name__ == "__main__":
    raise SystemExit(main())
