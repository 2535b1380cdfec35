"""The end of a launch: the leaderboard, what failed and what to do about it, and the command that comes next."""

from __future__ import annotations

import shlex
import sys

from rich.console import Console

from raytag.cluster.resources import Resources
from raytag.console import say, size_words
from raytag.search.driver import Driver
from raytag.search.failures import advice
from raytag.search.leaderboard import accuracy, write_leaderboard
from raytag.search.options import LaunchOptions
from raytag.search.race.standing import dropped, searches
from raytag.search.screen import show_leaderboard
from raytag.store.disk import kept_checkpoints, stored_files
from raytag.store.events import read_events
from raytag.store.run import RunStore


def report(options: LaunchOptions, store: RunStore, driver: Driver, resources: Resources, console: Console) -> int:
    """Print and write the leaderboard, what failed, and the command that comes next."""
    table = write_leaderboard(store)
    out = dropped(searches(read_events(store.storage)))  # not the race alone: a run may hold several searches
    show_leaderboard(console, table, dict.fromkeys(out, "dropped") | dict.fromkeys(driver.failed, "failed"))

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
    again = shlex.join(["python", *sys.argv])
    if driver.interrupted:
        ended = [t for t in driver.trials.values() if t.state == "interrupted"]
        say(console, f"Interrupted. Kept: every finished fold and {len(ended)} checkpoints. Continue with: {again}")
        return 130
    traces = store.storage.where("events")
    slots = resources.slots()
    for words in advice(driver.failed, driver.experiments, again, resources.cpus, resources.gpus, slots, traces):
        say(console, words)
    if complete:
        say(console, "Next: " + shlex.join(["python", "ensemble_search.py", "--run", store.name, *where]))
    return 1 if driver.failed else 0
