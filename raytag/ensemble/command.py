"""What ``ensemble_search.py`` does."""

from __future__ import annotations

import hashlib
import re
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from raytag.blends.trees import count_subsets
from raytag.cluster.session import ray_session
from raytag.compiled.once import compiling
from raytag.console import parse_duration, say
from raytag.ensemble import files as reports
from raytag.ensemble.figure import sizes_figure
from raytag.ensemble.options import EnsembleOptions
from raytag.ensemble.pipeline import EnsembleSettings, search_ensemble
from raytag.ensemble.predictions.oof import OofMatrix, load_oof
from raytag.ensemble.screen import show
from raytag.store.logfile import RunLog
from raytag.store.run import RunStore


def ensemble_search(options: EnsembleOptions, console: Console) -> int:
    """Run the search and write the ensemble; the exit code.

    Raises
    ------
    ValueError
        Wrong options, a run without complete experiments, or runs and files that do not fit together; the
        message says what to do.
    """
    with RunLog("ensemble search") as said:
        return _search(options, console, said)


def _search(options: EnsembleOptions, console: Console, said: RunLog) -> int:
    started = time.monotonic()
    options.check()
    stores = [RunStore(options.runs_dir, name) for name in options.run] or [RunStore.newest(options.runs_dir)]
    said.open(stores[0].storage)
    oof = load_oof(stores, [Path(file) for file in options.predictions])
    settings = EnsembleSettings(
        sizes=options.sizes(len(oof.experiments)),
        blend=options.blend,
        budget=parse_duration("--budget", options.budget),
        top=options.top,
        stackers=options.stackers,
        seed=options.seed,
        way=None if options.way == "auto" else options.way,
    )
    search = _identity(stores, oof, options, settings)
    store = stores[0]
    name = options.name or _next_name(store)
    storage = store.storage.sub(f"ensembles/{name}")
    for note in oof.notes:
        say(console, f"Note: {note}")
    if storage.exists(reports.REPORT):
        found = storage.read_json(reports.REPORT)
        if found["search"] != search:
            raise ValueError(
                f"ensemble {name!r} of run {store.name!r} exists and was searched with other options or other "
                "models; give another --name"
            )
        say(console, f"Ensemble {name} of run {store.name} exists: nothing to do")
        show(console, found, storage)
        return 0

    first, last, n_models = settings.sizes[0], settings.sizes[-1], len(oof.experiments)
    say(
        console,
        f"Run {', '.join(s.name for s in stores)}: {n_models} models, {len(oof.fnames)} clips, "
        f"{oof.n_folds} folds; {count_subsets(n_models, settings.sizes):,} subsets of {first} to {last} members",
    )
    with compiling(console, "blends") as wait_for_kernels, ray_session(options.address) as wait_for_ray:
        wait_for_ray()
        wait_for_kernels()
        ensemble = search_ensemble(oof, settings, console)
    submission = reports.submission_frame(store, oof, ensemble.test)
    report = reports.build_report(
        oof, ensemble, search, submission[1] if submission else [], time.monotonic() - started
    )
    sizes = reports.sizes_frame(oof, ensemble.choices)
    figure = sizes_figure(sizes, ensemble.assessment, f"{store.name}: {n_models} models")
    reports.write(storage, oof, ensemble, report, submission[0] if submission else None, figure)
    show(console, report, storage)
    return 0


def _identity(
    stores: list[RunStore], oof: OofMatrix, options: EnsembleOptions, settings: EnsembleSettings
) -> dict[str, Any]:
    """Whatever determines the result: the same search is not done twice."""
    return {
        "runs": [store.name for store in stores],
        "predictions": list(options.predictions),
        "models": list(oof.experiments),
        "content": _content(oof),
        "blend": settings.blend,
        "sizes": list(settings.sizes),
        "budget": settings.budget,
        "top": settings.top,
        "stackers": settings.stackers,
        "seed": settings.seed,
        "way": options.way,
    }


def _content(oof: OofMatrix) -> str:
    """Hash of all predictions: a file from outside may change under its name."""
    content = hashlib.blake2b(oof.probabilities.tobytes(), digest_size=8)
    if oof.test is not None:
        content.update(oof.test.tobytes())
    return content.hexdigest()


def _next_name(store: RunStore) -> str:
    taken = store.storage.folders("ensembles")
    numbers = [int(n.removeprefix("ensemble-")) for n in taken if re.fullmatch(r"ensemble-\d+", n)]
    return f"ensemble-{max(numbers, default=0) + 1:03d}"
