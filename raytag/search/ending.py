"""The end of a launch: the leaderboard, what failed and what to do about it, and the command that comes next."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from raytag.cluster.resources import Resources
from raytag.console import say, size_words
from raytag.datasets.findings import some
from raytag.errors import NoRoomError, this_command
from raytag.search.driver import Driver
from raytag.search.failures import advice
from raytag.search.leaderboard import accuracy, leaderboard
from raytag.search.options import LaunchOptions
from raytag.search.race.standing import dropped, searches
from raytag.search.screen import show_leaderboard
from raytag.signals import exit_code
from raytag.store.disk import kept_checkpoints, stored_files
from raytag.store.events import launch_command, read_events
from raytag.store.run import RunStore


def report(options: LaunchOptions, store: RunStore, driver: Driver, resources: Resources, console: Console) -> int:
    """Print and write the leaderboard, what failed, and the command that comes next."""
    table = leaderboard(store, options.leaky)
    try:
        store.storage.write_csv("leaderboard.csv", table)
    except NoRoomError as error:
        say(console, f"The leaderboard is not written: {error}", "yellow")
    events = read_events(store.storage)
    out = dropped(searches(events))  # not the race alone: a run may hold several searches
    states = dict.fromkeys(out, "dropped") | dict.fromkeys(driver.failed, "failed")
    proposed = {name for search in searches(events) for name in search.proposed}
    only_read = {name for name in driver.ancestry.experiments if name not in proposed}
    states = dict.fromkeys(only_read, "as far as it is read") | states
    show_leaderboard(console, table, states, leaky=options.leaky)

    complete = store.complete()
    if complete:
        best = str(table["experiment"].iloc[0])
        shares = accuracy(store, best)
        if all(a is not None for a in shares):
            say(
                console,
                f"Top-1 accuracy of {best}: " + " ".join(f"{100 * a:.1f}" for a in shares if a is not None) + " %",
            )
    for experiment_id, reason in driver.failed.items():
        say(console, f"failed: {experiment_id} {reason}")
    if len(store.quarantine()):
        say(console, f"Clips left out, with reasons: {store.storage.where('quarantine.csv')}")
    say(console, f"Leaderboard: {store.storage.where('leaderboard.csv')}")
    say(console, f"Weights, curves and predictions: {store.storage.where('experiments')}/EXPERIMENT/fold_K/")
    where = [] if options.runs_dir == "runs" else ["--runs-dir", options.runs_dir]
    if kept := sum(file.size for file in kept_checkpoints(stored_files(store.storage))):
        say(
            console,
            f"Last checkpoints of finished folds, from which trainings of more --epochs go on: {size_words(kept)}; "
            "what is not needed is freed by " + shlex.join(["raytag", "prune", store.name, *where]),
        )
    again = this_command()
    if driver.interrupted:
        ended = [t for t in driver.trials.values() if t.state == "interrupted"]
        say(console, f"Interrupted. Kept: every finished fold and {len(ended)} checkpoints. Continue with: {again}")
        return exit_code()
    if driver.full:
        say(console, f"Stopped: {driver.full}. What is finished is kept; make room, then continue with: {again}")
        return 1
    traces = store.storage.where("events")
    slots = resources.slots()
    known = driver.ancestry.experiments | driver.experiments
    for words in advice(driver.failed, known, again, resources.cpus, resources.gpus, slots, traces):
        say(console, words)
    for words in _incomplete(store, events, states, again):
        say(console, words)
    if complete:
        say(console, "Next: " + shlex.join(["python", "ensemble_search.py", "--run", store.name, *where]))
    return 1 if driver.failed else 0


def _incomplete(
    store: RunStore, events: Sequence[Mapping[str, Any]], states: Mapping[str, str], again: str
) -> list[str]:
    """Experiments that lack folds though they neither failed nor were dropped, and the command that trains them."""
    commands: dict[str, list[str]] = {}
    for name, folds in store.incomplete().items():
        if name not in states:
            words = f"{name} lacks fold{'s' * (len(folds) > 1)} {', '.join(map(str, folds))}"
            commands.setdefault(launch_command(events, store.name, name), []).append(words)
    left_out = "this launch leaves them out by its --only-folds or --num-samples"
    return [
        some(own, "experiment is incomplete", "experiments are incomplete")
        + (f"; {left_out}" if command == again else f"; train them with: {command}")
        for command, own in commands.items()
    ]
