"""The start of a launch: wrong input is refused first, then Ray starts while the rest of raytag is imported.

What cannot run on the data is refused once torch is there, before anything waits for Ray. Kernels that this machine
lacks are compiled beside all that.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from raytag import datasets, space
from raytag.cluster.session import ray_session
from raytag.compiled.once import compiling
from raytag.console import Stopwatch, say
from raytag.datasets.audit import audit
from raytag.datasets.demo import make_demo
from raytag.datasets.table import ClipTable
from raytag.features.manifest import feature_folder
from raytag.search.options import LaunchOptions


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
    folds : list of int
        To run, in this order unless raytag may choose it.
    watch : Stopwatch
        Of the parts of the start.
    wait_for_ray : callable
        Returns once Ray is there.
    wait_for_kernels : callable
        Returns once this machine has all kernels.
    """

    space: space.Space
    directory: Path
    table: ClipTable
    folds: list[int]
    watch: Stopwatch
    wait_for_ray: Callable[[], None]
    wait_for_kernels: Callable[[], None]


def start(options: LaunchOptions, console: Console) -> int:
    """Run a launch to its end; the exit code and errors are those of `raytag.search.command.launch`."""
    watch = Stopwatch()
    watch.lap("first imports")
    options.check()
    chosen = space.load(options.space).fix(options.changes())
    cache = feature_folder(chosen.features, options.cache)
    with ExitStack() as stack:
        # a dry run extracts none; where some are cached, the first worker that finds others compiles for its node
        rooms = ["train"] if options.dry_run or cache.exists("manifest.parquet") else ["features", "train"]
        wait_for_kernels = stack.enter_context(compiling(console, *rooms))
        directory = options.data if options.data is not None else demo(options, console)
        table = datasets.load(
            directory, n_folds=options.n_folds, fold_method=options.fold_method, seed=options.seed
        )
        say(console, str(audit(table)))
        folds = options.folds(table.n_folds)
        watch.lap("data")
        session = ray_session(options.address, dashboard=options.dashboard, console=console)
        wait_for_ray = stack.enter_context(session) if not options.dry_run else lambda: None
        from raytag.search.command import dry_run, launch  # takes seconds
        from raytag.search.prepare.preflight import prepare

        watch.lap("imports")
        chosen = prepare(options, chosen, table, folds, console)
        watch.lap("preflight")
        begun = Start(chosen, directory, table, folds, watch, wait_for_ray, wait_for_kernels)
        return dry_run(options, begun, console) if options.dry_run else launch(options, begun, console)


def demo(options: LaunchOptions, console: Console) -> Path:
    """The built-in demo data, synthesised once beside the runs."""
    base = Path(options.runs_dir) if "://" not in options.runs_dir else Path.cwd() / "runs"
    directory = base.absolute().parent / "data" / "demo"
    started = time.monotonic()
    made = make_demo(directory)
    seconds = time.monotonic() - started
    say(console, f"No --data given: using the built-in demo data in {made} ({seconds:.1f} s)")
    return made
