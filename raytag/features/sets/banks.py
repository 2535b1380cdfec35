"""The caches and banks of all feature sets of a launch, variants of recordings included."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
from rich.console import Console

from raytag import parts
from raytag.console import say
from raytag.datasets.table import ClipTable
from raytag.experiment import Features
from raytag.features.bank import Bank
from raytag.features.cache import build_cache
from raytag.features.manifest import CacheError, DamagedCells, Manifest, feature_hash
from raytag.features.report import say_report
from raytag.features.shards import salvage


def build_banks(
    table: ClipTable,
    sets: Sequence[parts.Features],
    cache_dir: str,
    *,
    assemble: Callable[[Manifest], Bank] = Manifest.bank,
    console: Console | None = None,
    verify: bool = False,
    max_bad_share: float = 0.05,
    report: bool = True,
    **options: Any,
) -> list[tuple[Manifest, Bank]]:
    """`raytag.features.cache.build_cache` for each feature set, then banks of the clips that are usable in all.

    Each variant of recordings has a cache of its own, of the clips that are trained on and whose recordings are
    usable. A clip of which a variant is unusable goes without that copy. Cells that turn out to be damaged are
    computed again.

    Parameters
    ----------
    sets : sequence of Features
        At least one, all different.
    assemble : callable
        Makes the bank of a manifest.

    Returns
    -------
    list of (Manifest, Bank)
        In the order of ``sets``. The manifests agree on what is unusable, the banks on their clips.

    Raises
    ------
    CacheError
        See `build_cache`; of the copies of a variant no larger share may be unusable either. Or what is damaged
        cannot be replaced.
    """
    console = Console() if console is None else console
    options |= {"report": False, "console": console}
    every = sorted((copy for features in sets for copy in features.copies()), key=lambda copy: copy.variant != "")
    copies = {feature_hash(copy): copy for copy in every}
    built: dict[str, Manifest] = {}

    def build(key: str, verify: bool = False) -> None:
        clips, own = table, copies[key]
        if own.variant:
            clips = _trainable(table, built[feature_hash(own.copies()[0])])
        built[key] = build_cache(clips, own, cache_dir, verify=verify, **options)

    for number, (key, own) in enumerate(copies.items(), start=1):
        if len(copies) > 1:
            say(console, f"features: set {number} of {len(copies)}: {describe(own)}")
        build(key, verify)
        if report and own.variant:
            say_report(built[key], table, max_bad_share, console)
        elif report and all(copy.variant for copy in [*copies.values()][number:]):  # before hours of variants
            say_report(agreed([*built.values()])[0], table, max_bad_share, console)

    def manifests() -> list[Manifest]:
        """Of the sets, each with those of its variants."""
        of = [[built[feature_hash(copy)] for copy in features.copies()] for features in sets]
        firsts = agreed([first for first, *_ in of])
        return [replace(m, features=f, copies=tuple(own[1:])) for m, f, own in zip(firsts, sets, of, strict=True)]

    def assembled(number: int) -> Bank:
        for _ in sets[number].copies():
            try:
                return assemble(manifests()[number])
            except DamagedCells as damage:
                say(console, f"features: damaged or gone: {damage.what}; computed again", "yellow")
                _forget(damage)
                build(next(key for key, m in built.items() if m.storage.root == damage.storage.root))
        return assemble(manifests()[number])

    banks = [assembled(number) for number in range(len(sets))]
    found = list(zip(manifests(), banks, strict=True))
    # what was computed again may have turned out unusable
    return [(m, b if list(b.clips) == m.usable["clip"].tolist() else assemble(m)) for m, b in found]


def _trainable(table: ClipTable, originals: Manifest) -> ClipTable:
    """The clips that variants are made of: test clips are only predicted."""
    usable = (table.clips["subset"] != "test") & table.clips["clip"].isin(originals.usable["clip"])
    return replace(table, clips=table.clips[usable].reset_index(drop=True))


def _forget(damage: DamagedCells) -> None:
    """Take damaged cells out of the cache."""
    storage = damage.storage
    try:
        for shard in damage.cells:
            salvage(storage, shard)
        storage.delete("manifest.parquet")  # it lists them
    except OSError as error:
        raise CacheError(
            f"what is damaged in the feature cache {storage.where()} cannot be replaced "
            f"({error.strerror or error}): make it writable, or choose another --cache-dir"
        ) from error


def agreed(manifests: Sequence[Manifest]) -> list[Manifest]:
    """The manifests of several feature sets of one table with the same clips usable: those that are so in all."""
    reasons = pd.DataFrame({i: manifest.rows["reason"] for i, manifest in enumerate(manifests)})
    first = reasons.where(reasons != "").bfill(axis=1)[0].fillna("")
    return [
        replace(m, rows=m.rows.assign(reason=m.rows["reason"].where(m.rows["reason"] != "", first)))
        for m in manifests
    ]


def describe(features: parts.Features) -> str:
    """What differs from the defaults, in words."""
    return ", ".join(f"{name}={value}" for name, value in Features.identity(features).items()) or "the defaults"
