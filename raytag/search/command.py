"""From a space and a folder of recordings to finished folds: what ``launch.py`` does once wrong input is
refused."""

from __future__ import annotations

import re
import signal
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType

from rich.console import Console

from raytag.cluster.resources import Resources
from raytag.console import say
from raytag.features.bank import Bank
from raytag.search.driver import Driver
from raytag.search.ending import report
from raytag.search.options import LaunchOptions
from raytag.search.prepare.plan import Plan, fold_weights, make_budget, order_folds
from raytag.search.prepare.prepared import Prepared, Start, prepare
from raytag.search.screen import Screen
from raytag.search.trial import Shared, open_bank
from raytag.search.tuner import run
from raytag.store.files import Storage
from raytag.store.lease import Lease

UNSEEN = 16  # trials that wait for room on a cluster that can grow, so that it does


def launch(options: LaunchOptions, start: Start, console: Console) -> int:
    """Run a search to its end; the exit code (0 done, 1 some trials failed, 130 interrupted).

    Raises
    ------
    ValueError, LeaseError
        Wrong input; the message says what to do.
    """
    runs_dir = Storage(options.runs_dir).uri
    name = options.run or re.sub(r"[\\?#:*]", "_", f"{start.space.name}-{start.directory.resolve().name}").strip()
    storage = Storage(runs_dir).sub(name)
    with Lease(storage, name) as lease:
        start.said.open(storage)
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
        screen = Screen(console, driver, resources.slots())
        driver.begin(screen)
        say(console, _summary(name, options, driver, resources))
        start.watch.lap("plan")
        prepared.log.append("ready", seconds=start.watch.parts)
        if options.timings:
            say(console, str(start.watch))
        with screen, on_interrupt(driver, storage, stop_file, screen, lease):
            run(driver, shared, resources.slots, waiting=UNSEEN if resources.may_grow else 0)
        storage.delete(stop_file)
        prepared.log.append("end", interrupted=driver.interrupted, failed=sorted(driver.failed))
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

    def bank() -> Bank:
        start.wait_for_kernels()
        start.watch.lap("kernels")
        return open_bank(shared)

    if options.orders_folds:
        folds = order_folds(folds, prepared.log, table, bank, start.watch, console)
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


@contextmanager
def on_interrupt(driver: Driver, storage: Storage, stop_file: str, screen: Screen, lease: Lease) -> Iterator[None]:
    """Ctrl-C or SIGTERM: let running trials write a checkpoint and start no more; a second one ends at once."""

    def handle(number: int, frame: FrameType | None) -> None:
        if driver.interrupted:
            raise KeyboardInterrupt
        driver.interrupt()
        storage.write(stop_file, b"stop\n")
        screen.say("Interrupted: running trials write their checkpoints (press Ctrl-C again to quit at once)")

    previous = {s: signal.signal(s, handle) for s in (signal.SIGINT, signal.SIGTERM)}
    lease.on_lost = lambda: handle(signal.SIGTERM, None)
    try:
        yield
    finally:
        for s, old in previous.items():
            signal.signal(s, old)
