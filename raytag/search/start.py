"""The start of a launch: wrong input is refused first, then Ray starts while the rest of raytag is imported.

What cannot run on the data is refused once torch is there, before anything waits for Ray. Kernels that this machine
lacks are compiled beside all that.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console

from raytag import datasets, plugins, space
from raytag.cluster.session import ray_session
from raytag.compiled.once import compiling
from raytag.console import Stopwatch, say
from raytag.datasets.audit import audit
from raytag.datasets.demo import make_demo
from raytag.features.manifest import feature_folder
from raytag.search.options import LaunchOptions
from raytag.store.logfile import RunLog


def start(options: LaunchOptions, console: Console) -> int:
    """Run a launch to its end; the exit code and errors are those of `raytag.search.command.launch`."""
    watch = Stopwatch()
    watch.lap("first imports")
    options.check()
    with plugins.trusting(options.trust):  # of runs whose experiments are parents
        chosen = space.load(options.space).fix(options.changes())
    sets = [copy for features in chosen.feature_sets for copy in features.copies()]
    caches = [feature_folder(features, options.cache) for features in sets]
    with ExitStack() as stack:
        said = stack.enter_context(RunLog("launch"))
        for plugin in plugins.loaded(chosen.plugins):
            say(console, f"Plugin {plugin}")
        # a dry run extracts none; where some are cached, the first worker that finds others compiles for its node
        extracts = not (options.dry_run or all(cache.exists("manifest.parquet") for cache in caches))
        rooms = ["features", "train"] if extracts else ["train"]
        rooms += sorted({room for features in sets for room in features.kernels})
        wait_for_kernels = stack.enter_context(compiling(console, *rooms))
        directory = options.data if options.data is not None else demo(options, console)
        table = datasets.load(
            directory,
            n_folds=options.n_folds,
            fold_method=options.fold_method,
            seed=options.seed,
            labels_separator=options.labels_separator,
        )
        say(console, str(audit(table)))
        folds = options.folds(table.n_folds)
        watch.lap("data")
        session = ray_session(options.address, dashboard=options.dashboard, console=console)
        wait_for_ray = stack.enter_context(session) if not options.dry_run else lambda: None
        # these take seconds
        from raytag.search.command import launch
        from raytag.search.prepare import preflight
        from raytag.search.prepare.dry_run import dry_run
        from raytag.search.prepare.plan import make_plan
        from raytag.search.prepare.prepared import Start

        watch.lap("imports")
        chosen = preflight.prepare(options, chosen, table, folds, console)
        plan = make_plan(options, chosen, table, folds, console)
        watch.lap("preflight")
        begun = Start(chosen, directory, table, plan, watch, said, wait_for_ray, wait_for_kernels)
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
