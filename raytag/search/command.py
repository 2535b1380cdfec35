"""From a space and a folder of recordings to finished folds: what ``launch.py`` does once wrong input is
refused."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial

import numpy as np
from rich.console import Console

from raytag.cluster.resources import Resources
from raytag.console import say
from raytag.search.driver import Driver
from raytag.search.ending import report
from raytag.search.options import LaunchOptions
from raytag.search.prepare.plan import Plan, fold_weights, make_budget, order_folds
from raytag.search.prepare.prepared import Prepared, Start, prepare
from raytag.search.race.fold_order import difficulty
from raytag.search.screen import Screen
from raytag.search.trial import Shared, open_bank, wait_for_room
from raytag.search.tuner import run
from raytag.signals import noted, received
from raytag.store.files import Storage
from raytag.store.lease import Lease

UNSEEN = 16  # trials that wait for room on a cluster that can grow, so that it does


def launch(options: LaunchOptions, start: Start, console: Console) -> int:
    """Run a search to its end; the exit code: 0 done, 1 some trials failed, 128 and the number of a signal.

    Raises
    ------
    ValueError, LeaseError
        Wrong input; the message says what to do.
    """
    runs_dir = Storage(options.runs_dir).uri
    name = options.run or re.sub(r"[\\?#:*]", "_", f"{start.space.name}-{start.directory.resolve().name}").strip()
    storage = Storage(runs_dir).sub(name)
    with Lease(storage, f"run {name!r}", "give this launch another --run name") as lease:
        start.said.open(storage)
        if lease.note:
            say(console, lease.note, "yellow")
        start.wait_for_ray()
        start.watch.lap("Ray")
        prepared = prepare(options, start, runs_dir, name, console)
        resources = Resources.find(
            options.cpus_per_trial, options.gpus_per_trial, may_grow=options.address is not None
        )
        stop_file = f"stop-{uuid.uuid4().hex[:8]}"
        shared = prepared.shared(options, resources, stop_file)
        start.watch.lap("bank")
        plan = settle(options, start, prepared, resources, shared, console)
        driver = Driver(prepared.store, prepared.log, plan)
        screen = Screen(console, driver, resources.slots(), stages=bool(start.space.earlier))
        if options.when_full == "wait":
            tell = partial(say, console, style="yellow")
            prepared.store.storage.patience = partial(
                wait_for_room, should_stop=lambda: bool(received() or lease.lost), tell=tell
            )
        driver.begin(screen)
        say(console, _summary(name, options, driver, resources))
        start.watch.lap("plan")
        prepared.log.append("ready", seconds=start.watch.parts)
        if options.timings:
            say(console, str(start.watch))
        look = interruption(driver, storage, stop_file, screen, lease)
        try:
            with screen, noted():
                run(driver, shared, resources.slots, look, waiting=UNSEEN if resources.may_grow else 0)
        finally:
            with suppress(OSError):
                storage.delete(stop_file)
        driver.end()
        if resources.gpus and any(t.device == "cpu" for t in driver.trials.values()):
            say(console, "Trials had a GPU but trained on the CPU: torch sees no CUDA device there")
        return report(options, prepared.store, driver, resources, console)


def settle(
    options: LaunchOptions,
    start: Start,
    prepared: Prepared,
    resources: Resources,
    shared: Shared,
    console: Console,
) -> Plan:
    """The plan with what depends on the usable clips: the order of the folds, their weights, the time budget."""
    folds, table = start.plan.folds, prepared.table

    def scores() -> np.ndarray:
        start.wait_for_kernels()
        start.watch.lap("kernels")
        features = start.space.first.features
        return difficulty(table, open_bank(shared, features), features, table.n_folds)

    if options.orders_folds:
        folds = order_folds(folds, prepared.log, table, scores, start.watch, console)
    on_gpu = resources.gpus > 0
    budget = make_budget(options, start.space, table, folds, resources.slots, on_gpu, console)
    return replace(start.plan, folds=folds, weights=fold_weights(table, folds), budget=budget)


def _summary(name: str, options: LaunchOptions, driver: Driver, resources: Resources) -> str:
    number, folds = driver.plan.number, driver.plan.folds
    many = "as many experiments as fit" if number is None else f"{number} experiments"
    kept = f"the best {options.keep} complete" if driver.race.can_stop else "nothing can be dropped"
    return (
        f"Run {name}: {many} × {len(folds)} folds, fold order {', '.join(map(str, folds))}, "
        f"{resources.slots()} trials at a time, stopping {options.stopping}, {kept}"
    )


def interruption(
    driver: Driver, storage: Storage, stop_file: str, screen: Screen, lease: Lease
) -> Callable[[], None]:
    """To be called between the events of a search: after a signal, or when another launch has taken the run over,
    running trials write a checkpoint and no more start. A second signal ends the launch at once."""

    def look() -> None:
        if driver.interrupted or not (received() or lease.lost):
            return
        why = "Interrupted" if received() else f"Another launch works on run {driver.store.name!r}"
        try:
            driver.interrupt()
            storage.write(stop_file, b"stop\n")
        except OSError as error:
            screen.say(f"{why}: running trials end with their last checkpoints, for they cannot be told: {error}")
            raise KeyboardInterrupt from None
        screen.say(f"{why}: running trials write their checkpoints (press Ctrl-C again to quit at once)")

    return look
