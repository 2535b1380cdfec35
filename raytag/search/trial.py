"""What runs in a Ray worker: one experiment on one fold, reported to Tune after each epoch."""

from __future__ import annotations

import json
import os
import platform
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from importlib import import_module
from typing import Any

import ray
import torch
from ray import tune

from raytag import plugins
from raytag.datasets.table import ClipTable
from raytag.errors import NoRoomError, redacted
from raytag.features.bank import Bank, mapped_bank
from raytag.features.cache import Manifest
from raytag.features.manifest import feature_hash
from raytag.parts import Features
from raytag.store.files import Storage
from raytag.store.run import RunStore
from raytag.train.fold import EpochReport, train_fold
from raytag.train.stages.lineage import Cell
from raytag.train.stages.reading import Reading
from raytag.train.twins import shorter_twin
from raytag.train.warmup import warm_up

STOP_POLL_SECONDS = 0.5
ROOM_POLL_SECONDS = 5.0


@dataclass(frozen=True)
class SharedBank:
    """The features of all clips for the trials of a node.

    ``bank`` refers to Ray's object store, which has it once a node and is read without a copy. Where the banks of a
    launch would take too much of it, it is None, and each node maps a file of its own, named ``key``, that it
    assembles from the cache's ``manifest``.
    """

    manifest: Manifest
    key: str
    bank: ray.ObjectRef[Bank] | None

    @classmethod
    def of(cls, manifest: Manifest, key: str, bank: Bank) -> SharedBank:
        """Of a bank that was assembled here; one in memory is moved to the object store."""
        return cls(manifest, key, None if bank.is_mapped else ray.put(bank))

    def open(self) -> Bank:
        if self.bank is None:
            return mapped_bank(self.key, self.manifest.bank, print)
        bank: Bank = ray.get(self.bank)
        return bank


@dataclass(frozen=True)
class Shared:
    """What all trials of a launch have in common; once per node in Ray's object store.

    ``banks`` are by the hash of their features, ``trusted`` are digests of the plugins that workers may import.
    """

    runs_dir: str
    run: str
    table: ClipTable
    banks: Mapping[str, SharedBank]
    stop_file: str
    gpus: float
    threads: int
    checkpoint_seconds: float
    waits_for_room: bool
    trusted: frozenset[str] = frozenset()


class StopFlag:
    """Whether the driver asked everyone to stop; looks at the run store at most twice a second."""

    def __init__(self, storage: Storage, name: str) -> None:
        self.storage, self.name = storage, name
        self._asked = 0.0
        self._set = False

    def __call__(self) -> bool:
        now = time.monotonic()
        if not self._set and now - self._asked >= STOP_POLL_SECONDS:
            self._asked, self._set = now, self.storage.exists(self.name)
        return self._set


def run_trial(config: Mapping[str, Any], shared: Shared) -> None:
    """Train one fold. Any error is reported as what it is; only a lost worker is Tune's to restart."""
    cell = Cell(int(config["fold"]), tuple(config["blind"]))
    gpu = shared.gpus > 0 and torch.cuda.is_available()
    started = time.time()
    name = f"{config['experiment']} {cell}"
    print(f"{name} on {'a GPU' if gpu else 'the CPU'}", flush=True)

    def report(progress: EpochReport) -> None:
        # into the worker's own log, which Ray's dashboard shows
        print(f"{name}: epoch {progress.epoch}/{progress.epochs}  lwlrap {progress.lwlrap:.4f}", flush=True)
        tune.report({"state": "running", **asdict(progress)})

    def tell(words: str) -> None:
        print(f"{name}: {words}", flush=True)
        tune.report({"state": "waiting", "reason": words})

    try:
        warm_up()
        plugins.trust(shared.trusted)
        store = RunStore(shared.runs_dir, shared.run)  # fails on a node that joined late and sees other files
        experiment = store.experiment(config["experiment"])
        for room in experiment.features.kernels:
            import_module(f"raytag.{room}.warmup").warm_up()
        should_stop = StopFlag(store.storage, shared.stop_file)
        if shared.waits_for_room:
            store.storage.patience = partial(wait_for_room, should_stop=should_stop, tell=tell)
        device = "cuda" if gpu else "cpu"
        own, banks = store.model(experiment.id, cell.folder), partial(open_bank, shared)
        outcome = train_fold(
            experiment,
            cell.fold,
            shared.table,
            banks(experiment.features),
            own,
            twin=None if cell.blind else shorter_twin(store, experiment, cell.fold, device),
            reading=Reading(experiment, cell, shared.table, store, banks, own, torch.device(device)),
            device=device,
            threads=shared.threads,
            checkpoint_seconds=shared.checkpoint_seconds,
            report=report,
            should_stop=should_stop,
        )
    except Exception as error:
        where = f" ({at})" if (at := plugins.place(error)) else ""
        reason, trace = redacted(f"{type(error).__name__}: {error}{where}"), redacted(traceback.format_exc())
        tune.report({"state": "failed", "reason": reason, "trace": trace})
        return
    worker = {
        "node": platform.node(),
        "pid": os.getpid(),
        "gpu_ids": ray.get_runtime_context().get_accelerator_ids().get("GPU", []),
        "started": round(started, 3),
        "first_step": outcome.first_step and round(outcome.first_step, 3),
        "ended": round(time.time(), 3),
    }
    tune.report(
        {
            "state": outcome.state,
            "result": json.dumps(outcome.result),  # as text: Tune would flatten a dict
            "worker": json.dumps(worker),
        }
    )


def wait_for_room(error: NoRoomError, should_stop: Callable[[], bool], tell: Callable[[str], None]) -> None:
    """Sleep for a while after a disk was found full; raises ``error`` where everyone is to stop."""
    tell(str(error))
    until = time.monotonic() + ROOM_POLL_SECONDS
    while time.monotonic() < until:
        if should_stop():
            raise error
        time.sleep(STOP_POLL_SECONDS)


def open_bank(shared: Shared, features: Features) -> Bank:
    """The features of all clips, from shared memory or from this node's memory-mapped file."""
    return shared.banks[feature_hash(features)].open()
