"""Which ensembles a run keeps."""

from __future__ import annotations

from raytag.store.run import REPORT, RunStore


def newest_first(store: RunStore) -> list[str]:
    """Names of the ensembles that are whole, by the time of their reports."""
    reports = {name: f"ensembles/{name}/{REPORT}" for name in store.storage.folders("ensembles")}
    times = {name: store.storage.modified(file) for name, file in reports.items() if store.storage.exists(file)}
    return sorted(times, key=lambda name: -times[name])
