"""What a launch works on, in two steps: what is known without Ray, then the run with its clips and features."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from raytag import plugins
from raytag.cluster.resources import Resources, object_store_room
from raytag.cluster.same_files import check_nodes
from raytag.console import Stopwatch, say
from raytag.datasets.table import ClipTable
from raytag.errors import redacted
from raytag.features.bank import Bank, mapped_bank
from raytag.features.manifest import Manifest, feature_hash
from raytag.features.sets.banks import build_banks
from raytag.search.options import LaunchOptions
from raytag.search.prepare import preflight
from raytag.search.prepare.plan import Plan
from raytag.search.trial import Shared, SharedBank
from raytag.space import Space
from raytag.store.events import EventLog
from raytag.store.logfile import RunLog
from raytag.store.run import RunStore

BANK_SHARE = 0.4  # of a node's object store for all banks; what is beyond is memory-mapped from the node's disk


@dataclass(frozen=True)
class Start:
    """What a launch begins with.

    Attributes
    ----------
    space : Space
        With what the options and the data fix.
    directory : Path
        Of the recordings.
    table : ClipTable
    plan : Plan
        Before the order of folds and the time budget are known.
    watch : Stopwatch
        Of the parts of the start.
    said : RunLog
        What was said so far.
    wait_for_ray : callable
        Returns once Ray is there.
    wait_for_kernels : callable
        Returns once this machine has all kernels.
    """

    space: Space
    directory: Path
    table: ClipTable
    plan: Plan
    watch: Stopwatch
    said: RunLog
    wait_for_ray: Callable[[], None]
    wait_for_kernels: Callable[[], None]


@dataclass(frozen=True)
class Prepared:
    """The data of a run, ready to be trained on.

    Attributes
    ----------
    store : RunStore
    log : EventLog
    table : ClipTable
        Usable clips.
    banks : mapping of str to SharedBank
        Their features, by `feature_hash`: a bank for each feature set.
    nodes : int
        Of the cluster, all of which see the same files.
    """

    store: RunStore
    log: EventLog
    table: ClipTable
    banks: Mapping[str, SharedBank]
    nodes: int

    def shared(self, options: LaunchOptions, resources: Resources, stop_file: str) -> Shared:
        """What all trials have in common."""
        return Shared(
            runs_dir=self.store.runs_dir,
            run=self.store.name,
            table=self.table,
            banks=self.banks,
            stop_file=stop_file,
            gpus=resources.gpus,
            threads=max(1, int(resources.cpus)),
            checkpoint_seconds=options.checkpoint_seconds,
            waits_for_room=options.when_full == "wait",
            trusted=plugins.trusted(),
        )


def prepare(options: LaunchOptions, start: Start, runs_dir: str, name: str, console: Console) -> Prepared:
    """Open the run, check that all nodes see its files, and compute the features that are missing.

    Raises
    ------
    ValueError
        The run holds other data, nodes see other files, too many clips are unusable, or an experiment cannot run
        on those that are left.
    """
    store = RunStore.open_for(runs_dir, name, start.table, redacted(str(start.directory)))
    for file in plugins.trust_run(store.storage) if options.trust else ():
        say(console, f"Trusted, because of --trust: {store.storage.where(plugins.FOLDER)}/{file}")
    log = EventLog(store.storage)
    for words in log.damage:
        say(console, f"{words}: what it told is found in the store, or decided again", "yellow")
    command = redacted(shlex.join(sys.argv))
    log.append("launch", command=command, options=options.plain(), layout=start.table.layout)
    nodes = check_nodes(runs_dir, options.cache, str(start.table.clips["path"].iloc[0]))
    start.watch.lap("run store")
    banks: dict[str, SharedBank] = {}
    room = BANK_SHARE * object_store_room()

    def assemble(manifest: Manifest) -> Bank:
        nonlocal room
        start.watch.lap("features")
        key = f"{store.run['fingerprint'][:16]}-{manifest.key}"
        if manifest.nbytes <= room:
            bank = manifest.bank()
            room -= bank.nbytes
        else:
            bank = mapped_bank(key, manifest.bank, lambda words: say(console, words, "yellow"))
        banks[feature_hash(manifest.features)] = shared = SharedBank.of(manifest, key, bank)
        return bank if bank.is_mapped else shared.open()  # what was assembled in this process is let go

    found = build_banks(
        start.table,
        start.space.feature_sets,
        options.cache,
        assemble=assemble,
        verify=options.verify,
        max_bad_share=options.max_bad_share,
        max_clip_seconds=options.max_clip_seconds,
        console=console,
    )
    manifest = found[0][0]
    start.watch.lap("bank")
    usable = manifest.usable
    if told := store.set_contents(dict(zip(usable["clip"], usable["content"], strict=True))):
        say(console, told)
    store.set_quarantine(manifest.quarantined)
    for words in store.take_mended():
        say(console, words, "yellow")
    table = start.table.drop(manifest.quarantined["clip"].tolist())
    if len(table) < len(start.table):  # what is left may lack what the tables promised
        preflight.check_space(start.space, table, start.plan.folds)
    return Prepared(store, log, table, banks, nodes)
