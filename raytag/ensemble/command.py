"""What ``ensemble_search.py`` does."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
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
from raytag.ensemble.predictions.windows import windowed
from raytag.ensemble.screen import show
from raytag.errors import DamagedError
from raytag.store.lease import Lease, LeaseError
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
    oof = load_oof(stores, [Path(file) for file in options.predictions], leaky=options.leaky)
    settings = EnsembleSettings(
        sizes=options.sizes(len(oof.experiments)),
        blend=options.blend,
        budget=parse_duration("--budget", options.budget),
        top=options.top,
        stackers=options.stackers,
        seed=options.seed,
        way=options.way,
        stackers_from=options.stackers_from,
        stacker_draws=options.stacker_draws,
        faithful=options.faithful,
    )
    search = _identity(stores, oof, options, settings)
    store = stores[0]
    for note in oof.notes:
        say(console, f"Note: {note}")
    if options.name and _shown(store, options.name, search, console):
        return 0
    first, last, n_models = settings.sizes[0], settings.sizes[-1], len(oof.experiments)
    with ExitStack() as names:
        name, lease = names.enter_context(reserved(store, options.name))
        if lease.note:
            say(console, lease.note, "yellow")
        if _shown(store, name, search, console):  # by another search, which has just ended
            return 0
        say(
            console,
            f"Run {', '.join(s.name for s in stores)}: {n_models} models, {len(oof.fnames)} clips, "
            f"{oof.n_folds} folds; {count_subsets(n_models, settings.sizes):,} subsets of {first} to {last} "
            "members",
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
        if lease.lost:
            lost, (name, _) = name, names.enter_context(reserved(store, None))
            say(
                console,
                f"Another search took the name {lost} while this machine slept: this one is {name}",
                "yellow",
            )
        storage = store.storage.sub(f"ensembles/{name}")
        reports.write(storage, oof, ensemble, report, submission[0] if submission else None, figure)
    show(console, report, storage)
    return 0


@contextmanager
def reserved(store: RunStore, name: str | None) -> Iterator[tuple[str, Lease]]:
    """Hold the name of an ensemble of a run; None: the next free one, which no other search gets.

    Raises
    ------
    LeaseError
        Another search holds the name that is asked for.
    """
    done = [n for n in _numbers(store) if store.storage.exists(f"ensembles/ensemble-{n:03d}/{reports.REPORT}")]
    number = max(done, default=0)
    with ExitStack() as held:
        while True:
            number += 1
            found = name or f"ensemble-{number:03d}"
            storage = store.storage.sub(f"ensembles/{found}")
            lease = Lease(storage, f"ensemble {found!r} of run {store.name!r}", "give another --name")
            try:
                held.enter_context(lease)
            except LeaseError:
                if name is not None:
                    raise
                continue
            if name is not None or not storage.exists(reports.REPORT):
                break
            held.close()  # another search ended there just now
        yield found, lease


def _numbers(store: RunStore) -> list[int]:
    taken = store.storage.folders("ensembles")
    return [int(n.removeprefix("ensemble-")) for n in taken if re.fullmatch(r"ensemble-\d+", n)]


def _shown(store: RunStore, name: str, search: dict[str, Any], console: Console) -> bool:
    """Whether the ensemble exists as a whole; then it is shown.

    Raises
    ------
    ValueError
        It came from another search.
    """
    storage = store.storage.sub(f"ensembles/{name}")
    if not storage.exists(reports.REPORT):
        return False
    try:
        found = reports.read_report(storage)
    except DamagedError as error:
        say(console, f"{error}: ensemble {name} is searched again", "yellow")
        return False
    if found["search"] != search:
        raise ValueError(
            f"ensemble {name!r} of run {store.name!r} exists and was searched with other options or other "
            "models; give another --name"
        )
    say(console, f"Ensemble {name} of run {store.name} exists: nothing to do")
    show(console, found, storage)
    return True


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
        "stackers_from": settings.stackers_from,
        "stacker_draws": settings.stacker_draws,
        "faithful": settings.faithful,
        "windows": windowed(oof) if settings.stackers else [],
    }


def _content(oof: OofMatrix) -> str:
    """Hash of all predictions: a file from outside may change under its name."""
    content = hashlib.blake2b(oof.probabilities.tobytes(), digest_size=8)
    if oof.test is not None:
        content.update(oof.test.tobytes())
    return content.hexdigest()
