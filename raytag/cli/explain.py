"""Every decision of a run's race, decided again from the facts in its event log.

Prints the decisions with their reasons; the exit code is 1 if the facts before one of them give another decision.
"""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", nargs="?", help="name, path or URI of a run; by default the newest")
    parser.add_argument("--runs-dir", default="runs", help="where runs are looked up by name (%(default)s)")


def run(arguments: argparse.Namespace) -> int:
    """Print all decisions; 1 if any does not follow from the facts before it."""
    from rich.table import Table

    from raytag.console import make_console, say
    from raytag.search.race.replay import check
    from raytag.store.events import read_events
    from raytag.store.run import RunStore

    console = make_console()
    store = RunStore.find(arguments.run, arguments.runs_dir)
    events = read_events(store.storage)
    different = 0
    races = {e["key"]: e for e in events if e["event"] == "race"}  # the last launch of each search
    if not races:
        say(console, f"{arguments.run or store.name}: no launch of it raced")
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
        proposed = [e for e in events if e["event"] == "propose" and e["key"] == key]
        stages = {e["experiment"]: str(e.get("stage", "1")) for e in proposed}
        several = len({*stages.values()}) > 1  # each races by itself
        table = Table(box=None, header_style="bold")
        for name in ("decision", *(["stage"] if several else []), "experiment", "reason"):
            table.add_column(name)
        for decision in decisions:
            experiment = decision["experiment"]
            stage = [stages.get(experiment, "")] if several else []
            table.add_row(decision["event"], *stage, experiment, decision["reason"])
        console.print(table)
        for mismatch in wrong:
            say(console, f"event {mismatch.number}: logged {mismatch.logged}, recomputed {mismatch.recomputed}")
        different += len(wrong)
    return 1 if different else 0
