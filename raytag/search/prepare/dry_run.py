"""What a launch would train, and how long that would take on this machine."""

from __future__ import annotations

import os

from rich.console import Console

from raytag.cluster.resources import trials_on
from raytag.console import duration, say
from raytag.features.report import check_shares
from raytag.search.options import LaunchOptions
from raytag.search.prepare.estimate import predicted_seconds
from raytag.search.prepare.prepared import Start
from raytag.train.stages.lineage import models


def dry_run(options: LaunchOptions, start: Start, console: Console) -> int:
    """Print the trials and how long they would take on this machine; train nothing.

    Raises
    ------
    CacheError
        More files than are tolerated are missing or unreadable, as the launch would find.
    """
    lost = start.table.clips[start.table.clips["duration"].isna()]
    check_shares(lost.assign(reason="missing or unreadable"), start.table, options.max_bad_share, console)
    plan, folds, watch = start.plan, start.plan.folds, start.watch
    number = plan.number
    if number is None:
        say(console, f"as many experiments as {options.time_budget} allows; these are the first 8 at most")
        number = 8
    known = plan.searcher.known
    if known is not None:
        say(console, f"{options.search}: proposals after the first {known} depend on results")
        number = min(number, known)
    drawn = [plan.searcher.propose(i) for i in range(number)]
    varied = start.space.varied
    for experiment in drawn:
        values = experiment.flat()
        words = ", ".join(f"{key}={values[key]}" for key in varied if key in values)
        after = f"  after {', '.join(parent.id for parent in experiment.parents)}" if experiment.parents else ""
        say(console, f"{experiment.id}  folds {','.join(map(str, folds))}{after}  {words}")
    trials = models(drawn, folds, start.table.n_folds)
    watch.lap("plan")
    start.wait_for_kernels()
    watch.lap("kernels")
    before = len(trials) - len({e.hash for e in drawn}) * len(folds)
    earlier = f" ({before} of earlier stages)" if before else ""
    say(console, "Timing a few training steps …")
    seconds = predicted_seconds(trials, start.table)
    slots = max(1, trials_on({"CPU": os.cpu_count() or 1}, options.cpus_per_trial, 0.0))
    say(
        console,
        f"{len(trials)} trials{earlier}, {duration(seconds)} of training on one core of this machine, "
        f"{duration(seconds / slots)} with {slots} trials at a time"
        + (f"; --stopping {options.stopping} shortens that" if plan.settings.rule.can_stop else "")
        + (f"; the time budget is {options.time_budget}" if options.time_budget else ""),
    )
    watch.lap("timing")
    if options.timings:
        say(console, str(watch))
    return 0
