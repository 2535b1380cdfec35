"""From a space and a folder of recordings to finished folds: what ``launch.py`` does."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import ray
from rich.console import Console

from raytag import space
from raytag.cluster.resources import Slots, gpus_per_trial, object_store_room, trials_on
from raytag.cluster.same_files import check_nodes
from raytag.console import duration, parse_duration, say
from raytag.datasets.table import ClipTable
from raytag.features.cache import Manifest, build
from raytag.search import budget, searchers
from raytag.search.driver import Driver
from raytag.search.failures import advice
from raytag.search.leaderboard import accuracy, write_leaderboard
from raytag.search.options import LaunchOptions
from raytag.search.prepare import preflight
from raytag.search.prepare.estimate import predicted_seconds
from raytag.search.race.fold_order import difficulty, typical_first
from raytag.search.race.rules import Settings
from raytag.search.screen import Screen, show_leaderboard
from raytag.search.start import Start
from raytag.search.trial import Shared, open_bank
from raytag.search.tuner import run
from raytag.store.events import EventLog, read_events
from raytag.store.files import Storage
from raytag.store.lease import Lease
from raytag.store.run import RunStore

MOST_IN_A_BUDGET = 1000  # grid points that a time budget alone may ask for
UNSEEN = 16  # trials that wait for room on a cluster that can grow, so that it does
BANK_SHARE = 0.4  # of a node's object store; a larger bank is memory-mapped from the node's disk


def launch(options: LaunchOptions, start: Start, console: Console) -> int:
    """Run a search to its end; the exit code (0 done, 1 some trials failed, 130 interrupted).

    Raises
    ------
    ValueError, LeaseError
        Wrong input; the message says what to do.
    """
    chosen, directory, table, folds = start.space, start.directory, start.table, start.folds
    features, watch = chosen.features, start.watch
    runs_dir = Storage(options.runs_dir).uri
    name = options.run or f"{chosen.name}-{directory.resolve().name}"
    storage = Storage(runs_dir).sub(name)
    with Lease(storage, name) as lease:
        start.wait_for_ray()
        watch.lap("Ray")
        store = RunStore.open_for(runs_dir, name, table, str(directory))
        log = EventLog(store.storage)
        log.append("launch", command=shlex.join(sys.argv), options=options.plain(), layout=table.layout)
        nodes = check_nodes(runs_dir, options.cache, str(table.clips["path"].iloc[0]))
        watch.lap("run store")
        manifest = build(
            table,
            features,
            options.cache,
            verify=options.verify,
            max_bad_share=options.max_bad_share,
            console=console,
        )
        watch.lap("features")
        store.set_quarantine(manifest.quarantined)
        usable = table.drop(manifest.quarantined["clip"].tolist())
        if len(usable) < len(table):  # what is left may lack what the tables promised
            preflight.check(chosen, usable, folds)
        gpus = gpus_per_trial(options.gpus_per_trial)
        stop_file = f"stop-{uuid.uuid4().hex[:8]}"
        shared = make_shared(options, store, usable, manifest, gpus, stop_file)
        watch.lap("bank")
        searcher = searchers.build(options.search, chosen, options.seed, options.number or MOST_IN_A_BUDGET)
        if options.orders_folds:
            folds = order_folds(folds, log, shared, table.n_folds, start, console)
        autoscaling = options.address is not None and nodes > 0
        slots = Slots(options.cpus_per_trial, gpus)
        if slots() < 1 and not autoscaling:
            there = ray.cluster_resources()
            raise ValueError(
                f"no trial fits: one takes {slots.cpus:g} CPUs and {gpus:g} GPUs of one node, the cluster has "
                f"{there.get('CPU', 0):g} and {there.get('GPU', 0):g} in all. Lower --cpus-per-trial or "
                "--gpus-per-trial"
            )
        screen = Screen(console, slots())
        key = searchers.search_key(options.search, chosen, options.seed)
        settings = Settings(options.stopping, options.keep)
        time_budget = make_budget(options, chosen, usable, folds, slots, console)
        weights = fold_weights(usable, folds)
        driver = Driver(
            store,
            searcher,
            key,
            settings,
            folds,
            weights,
            options.number,
            log,
            time_budget,
            screen.notify,
            screen.announce,
        )
        screen.driver = driver
        many = "as many experiments as fit" if driver.number is None else f"{driver.number} experiments"
        say(
            console,
            f"Run {name}: {many} × {len(folds)} folds, fold order {', '.join(map(str, folds))}, "
            f"{slots()} trials at a time, stopping {options.stopping}"
            + (f", the best {options.keep} complete" if driver.race.can_stop else ", nothing can be dropped"),
        )
        watch.lap("plan")
        log.append("ready", seconds=watch.parts)
        if options.timings:
            say(console, str(watch))
        with screen, on_interrupt(driver, store.storage, stop_file, screen, lease):
            run(driver, shared, slots, waiting=UNSEEN if autoscaling else 0)
        store.storage.delete(stop_file)
        log.append("end", interrupted=driver.interrupted, failed=sorted(driver.failed))
        if gpus and any(t.device == "cpu" for t in driver.trials.values()):
            say(console, "Trials had a GPU but trained on the CPU: torch sees no CUDA device there")
        return report(options, store, driver, slots, console)


def dry_run(options: LaunchOptions, start: Start, console: Console) -> int:
    """Print the trials and how long they would take on this machine; train nothing."""
    chosen, table, folds, watch = start.space, start.table, start.folds, start.watch
    searcher = searchers.build(options.search, chosen, options.seed, options.number or MOST_IN_A_BUDGET)
    number = options.number if searcher.size is None else min(options.number or searcher.size, searcher.size)
    if number is None:
        say(console, f"as many experiments as {options.time_budget} allows; these are the first 8 at most")
        number = 8
    if options.search == "hyperopt":  # later proposals depend on results: only the first ones are known
        say(console, f"hyperopt: proposals after the first {searchers.INITIAL_POINTS} depend on results")
        number = min(number, searchers.INITIAL_POINTS)
    drawn = [searcher.propose(i) for i in range(number)]
    varied = sorted(chosen.vary)
    for experiment in drawn:
        values = experiment.flat()
        words = ", ".join(f"{key}={values[key]}" for key in varied) if varied else ""
        say(console, f"{experiment.id}  folds {','.join(map(str, folds))}  {words}")
    watch.lap("plan")
    start.wait_for_kernels()
    watch.lap("kernels")
    say(console, "Timing a few training steps …")
    seconds = predicted_seconds(drawn, table, folds)
    slots = max(1, trials_on({"CPU": os.cpu_count() or 1}, options.cpus_per_trial, 0.0))
    say(
        console,
        f"{len(drawn) * len(folds)} trials, {duration(seconds)} of training on one core of this machine, "
        f"{duration(seconds / slots)} with {slots} trials at a time"
        + (f"; --stopping {options.stopping} shortens that" if options.stopping != "none" else "")
        + (f"; the time budget is {options.time_budget}" if options.time_budget else ""),
    )
    watch.lap("timing")
    if options.timings:
        say(console, str(watch))
    return 0


def order_folds(
    folds: Sequence[int], log: EventLog, shared: Shared, n_folds: int, start: Start, console: Console
) -> list[int]:
    """The order of the run's last launch over the same folds; for a new run a typical fold first."""
    for event in reversed(log.past):
        if event["event"] == "race" and sorted(event["folds"]) == sorted(folds):
            return list(event["folds"])
    if n_folds < 3:  # of two folds neither is typical
        return list(folds)
    start.wait_for_kernels()
    start.watch.lap("kernels")
    scores = difficulty(shared.table, open_bank(shared), n_folds)
    order = typical_first(scores)
    words = " ".join(f"{k}: {scores[k]:.3f}" for k in sorted(order))
    say(console, f"A ridge baseline's lwlrap by fold, to put a typical one first: {words}")
    start.watch.lap("order of folds")
    return order


def fold_weights(table: ClipTable, folds: Sequence[int]) -> list[float]:
    """Number of labels that each fold's out-of-fold predictions are scored on."""
    rows = table.rows("curated")
    labels, of = table.targets(rows).sum(1), table.clips["fold"].to_numpy()[rows]
    return [float(labels[of == k].sum()) for k in folds]


def make_budget(
    options: LaunchOptions,
    chosen: space.Space,
    table: ClipTable,
    folds: Sequence[int],
    slots: Slots,
    console: Console,
) -> budget.Budget | None:
    """The clock of --time-budget, started; says what it means for this space on this machine."""
    if options.time_budget is None:
        return None
    first = chosen.first
    seconds = None  # on a GPU only its own epochs can tell
    if not slots.gpus:
        say(console, "Timing a few training steps for the time budget …")
        seconds = predicted_seconds([first], table, folds[:1]) / first.training.epochs
    clock = budget.Budget(parse_duration("--time-budget", options.time_budget), slots, seconds)
    epochs = first.training.epochs
    racing = options.stopping != "none"  # then a fold waits for the one before it
    longest = epochs * (len(folds) if racing else 1)
    say(
        console, f"--time-budget {options.time_budget}: " + clock.explain(epochs, len(folds), options.keep, longest)
    )
    return clock


def make_shared(
    options: LaunchOptions,
    store: RunStore,
    table: ClipTable,
    manifest: Manifest,
    gpus: float,
    stop_file: str,
) -> Shared:
    """Decide where the bank lives: in the object store, or mapped from each node's disk when it is large."""
    clips = table.clips["clip"].tolist()
    frames = int(manifest.usable["frames"].sum())
    size = frames * manifest.features.n_mels * 2
    in_memory = size <= BANK_SHARE * object_store_room()
    return Shared(
        runs_dir=store.runs_dir,
        run=store.name,
        table=table,
        bank=manifest.bank(clips) if in_memory else None,
        manifest=manifest,
        bank_key=f"{store.run['fingerprint'][:16]}-{manifest.key}",
        stop_file=stop_file,
        gpus=gpus,
        threads=max(1, int(options.cpus_per_trial)),
        checkpoint_seconds=options.checkpoint_seconds,
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


def report(options: LaunchOptions, store: RunStore, driver: Driver, slots: Slots, console: Console) -> int:
    """Print and write the leaderboard, what failed, and the command that comes next."""
    table = write_leaderboard(store)
    states: dict[str, str] = {}
    for event in read_events(store.storage):  # not the race alone: a run may hold the races of several searches
        if event["event"] == "drop":
            states[event["experiment"]] = "dropped"
        elif event["event"] == "reopen":
            states.pop(event["experiment"], None)
    states |= dict.fromkeys(driver.failed, "failed")
    show_leaderboard(console, table, states)

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
    again = shlex.join(["python", *sys.argv])
    if driver.interrupted:
        ended = [t for t in driver.trials.values() if t.state == "interrupted"]
        say(console, f"Interrupted. Kept: every finished fold and {len(ended)} checkpoints. Continue with: {again}")
        return 130
    traces = store.storage.where("events")
    for words in advice(driver.failed, driver.experiments, again, slots.cpus, slots.gpus, slots(), traces):
        say(console, words)
    if complete:
        where = [] if options.runs_dir == "runs" else ["--runs-dir", options.runs_dir]
        say(console, "Next: " + shlex.join(["python", "ensemble_search.py", "--run", store.name, *where]))
    return 1 if driver.failed else 0
