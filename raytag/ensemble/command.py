"""What ``ensemble_search.py`` does."""

from __future__ import annotations

import re
import time
from typing import Any

from rich.console import Console

from raytag.console import say
from raytag.ensemble import pipeline
from raytag.ensemble import report as reports
from raytag.ensemble.oof import load_oof
from raytag.ensemble.options import EnsembleOptions
from raytag.ensemble.trees import count_subsets
from raytag.search.session import ray_session
from raytag.store import RunStore


def ensemble_search(options: EnsembleOptions, console: Console) -> int:
    """Run the search and write the ensemble; the exit code.

    Raises
    ------
    ValueError
        Wrong options, or a run without complete experiments; the message says what to do.
    """
    started = time.monotonic()
    options.check()
    store = RunStore(options.runs_dir, options.run) if options.run else RunStore.newest(options.runs_dir)
    oof = load_oof(store)
    sizes = options.sizes(len(oof.experiments))
    # whatever determines the result: the same search is not done twice
    search: dict[str, Any] = {
        "sizes": list(sizes),
        "top": options.top,
        "stackers": options.stackers,
        "seed": options.seed,
        "experiments": list(oof.experiments),
    }
    name = options.name or _next_name(store)
    storage = store.storage.sub(f"ensembles/{name}")

    if storage.exists(reports.REPORT):
        found = storage.read_json(reports.REPORT)
        if found["search"] != search:
            raise ValueError(
                f"ensemble {name!r} of run {store.name!r} exists and was searched with other options or other "
                "experiments; give another --name"
            )
        say(console, f"Ensemble {name} of run {store.name} exists: nothing to do")
        reports.show(console, found, storage)
        return 0

    n_subsets = count_subsets(len(oof.experiments), sizes)
    say(
        console,
        f"Run {store.name}: {len(oof.experiments)} complete experiments, {len(oof.fnames)} clips, "
        f"{oof.n_folds} folds; {n_subsets:,} subsets of {sizes[0]} to {sizes[-1]} members",
    )
    with ray_session(options.address):
        subset = pipeline.choose_subset(oof, sizes, options.top, console)
        stackers = None
        if options.stackers and pipeline.can_nest(subset):
            stackers = pipeline.train_stackers(
                oof, subset.final.members, subset.left_out, options.stackers, options.seed, console
            )
    blend = pipeline.final_blend(oof, subset, stackers)
    submission = reports.submission_frame(store, oof, blend)
    report = reports.build_report(
        store,
        search,
        n_subsets,
        oof,
        subset,
        stackers,
        blend,
        submission[1] if submission else [],
        time.monotonic() - started,
    )
    reports.write(
        storage,
        report,
        reports.subsets_frame(oof, subset),
        reports.predictions_frame(oof.fnames, blend.oof, oof.classes),
        submission[0] if submission else None,
        reports.stackers_frame(oof, stackers) if stackers else None,
    )
    reports.show(console, report, storage)
    return 0


def _next_name(store: RunStore) -> str:
    taken = store.storage.folders("ensembles")
    numbers = [int(n.removeprefix("ensemble-")) for n in taken if re.fullmatch(r"ensemble-\d+", n)]
    return f"ensemble-{max(numbers, default=0) + 1:03d}"
