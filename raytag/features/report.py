"""What a build of the feature cache says: whether there is room, what was done, what is unusable, what is odd."""

from __future__ import annotations

import math
import shutil
import uuid
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from rich.console import Console

from raytag.console import say, size_words
from raytag.features.manifest import CacheError, Known, Manifest
from raytag.features.remarks import MEANING
from raytag.features.sets.variants import longer
from raytag.features.shards import FOLDER
from raytag.parts import Features
from raytag.store.files import Storage

if TYPE_CHECKING:
    from raytag.datasets.table import ClipTable

#: Unusable clips, and clips of a remark, that are named on the screen.
_NAMED, _REMARKED = 10, 3
_SECONDS = 5.0  # of a clip whose length is not known


def known_cells(storage: Storage, console: Console) -> Known:
    """What the folder of a feature set holds; a `CacheError` where it cannot be read."""
    try:
        return Known(storage, console)
    except OSError as error:
        raise CacheError(
            f"the feature cache {storage.where()} cannot be read: {error}; choose another --cache-dir"
        ) from error


def lengths(clips: pd.DataFrame) -> np.ndarray:
    """Seconds of each clip, float64 (n,), by the column ``duration`` as far as it is known."""
    return clips["duration"].where(clips["duration"] > 0, _SECONDS).to_numpy()


def bytes_of(clips: pd.DataFrame, features: Features) -> int:
    """What the features of these clips take at most: silent ends are cut off."""
    seconds = float(lengths(clips).sum()) * longer(features.variant)
    return int(seconds * features.rate * features.width * 2)


def check_room(storage: Storage, clips: int, needed: int, console: Console) -> None:
    """Before hours of work: can what ``clips`` clips give, up to ``needed`` bytes, be kept?

    Raises
    ------
    CacheError
        The folder cannot be written. That a disk may become full is said only.
    """
    probe = f"{FOLDER}/.probe-{uuid.uuid4().hex[:8]}"
    try:
        storage.write(probe, b"")
        storage.delete(probe)
    except OSError as error:
        raise CacheError(
            f"{clips} clips are to be computed, and the feature cache {storage.where()} cannot be written "
            f"({error.strerror or error}): make it writable, or choose another --cache-dir"
        ) from error
    free = _free(storage)
    if free is not None and free < needed:
        words = f"{storage.where()} may need {size_words(needed)}, and {size_words(free)} are free there"
        say(console, f"features: {words}", "yellow")


def check_written(results: pd.DataFrame, storage: Storage, needed: int) -> None:
    """Refuse results of ``shards.compute_batch`` that could not be written, with a `CacheError`."""
    faults = results.loc[results["error"] != "", "error"]
    if faults.empty:
        return
    free = _free(storage)
    room = (
        "" if free is None else f"{size_words(free)} are free, "
    ) + f"the build takes up to {size_words(needed)}"
    raise CacheError(
        f"a worker could not write to the feature cache {storage.where()}: {faults.iloc[0]} ({room}). What was "
        "written is kept; make room or choose another --cache-dir and launch again"
    )


def _free(storage: Storage) -> int | None:
    """Bytes that are free; None in an object store."""
    return shutil.disk_usage(storage.root).free if storage.is_local else None


def say_report(manifest: Manifest, table: ClipTable, max_bad_share: float, console: Console) -> None:
    """Say what was done, what is unusable and what is odd; too much that is unusable is an error."""
    if manifest.computed:
        rate = manifest.computed / max(manifest.seconds, 1e-9)
        say(
            console,
            f"features: {manifest.computed} clips computed in {manifest.seconds:.1f} s ({rate:.0f} clips/s, "
            f"{len(manifest.workers)} processes)",
        )
    subset = table.clips.set_index("clip")["subset"]
    rows = manifest.rows.assign(subset=manifest.rows["clip"].map(subset))
    total, bad = len(rows), rows[rows["reason"] != ""]
    if len(bad):
        kinds = ", ".join(f"{count} {code}" for code, count in Counter(manifest.codes).most_common())
        left = "trained on without that copy" if manifest.features.variant else "left out"
        say(console, f"features: {len(bad)} of {total} clips are unusable and {left}: {kinds}", style="yellow")
        more = [f"and {len(bad) - _NAMED} more"] * (len(bad) > _NAMED)
        for line in _named(bad, "reason")[:_NAMED] + more:
            say(console, f"  {line}", style="yellow")
    found = manifest.remarks
    for code in found["code"].unique():
        clips = found[found["code"] == code]
        named = "; ".join(_named(clips, "text")[:_REMARKED]) + "; …" * (len(clips) > _REMARKED)
        say(console, f"features: {len(clips)} of {total} clips: {MEANING[code]} ({named})", style="yellow")
    check_shares(bad, table, max_bad_share, console)


def _named(clips: pd.DataFrame, column: str) -> list[str]:
    return [f"{clip}: {text}" for clip, text in zip(clips["clip"], clips[column], strict=True)]


def check_shares(bad: pd.DataFrame, table: ClipTable, max_bad_share: float, console: Console) -> None:
    """Unusable test clips cost their own predictions only; too many others are an error.

    Parameters
    ----------
    bad : pd.DataFrame
        Unusable clips: columns clip, subset and reason.
    table : ClipTable
        All clips.
    max_bad_share : float
        Largest tolerated share of unusable curated, and of unusable noisy clips.
    console : rich.console.Console
        For what unusable test clips mean.

    Raises
    ------
    CacheError
        More than that are unusable.
    """
    totals, counts = table.clips["subset"].value_counts(), bad["subset"].value_counts()
    if "test" in counts:
        if counts["test"] == totals["test"]:
            what = "nothing can be predicted for them, and there will be no submission"
        elif table.submission is None:
            what = "they get no prediction"
        else:
            what = "they get no prediction of their own; in a submission their rows are the mean over the others"
        say(console, f"features: {counts['test']} of {totals['test']} test clips are unusable: {what}", "yellow")
    shares = (counts / totals).drop("test", errors="ignore").dropna()
    if shares.empty or shares.max() <= max_bad_share:
        return
    subset, share = str(shares.idxmax()), float(shares.max())
    named = _named(bad[bad["subset"] == subset], "reason")
    raise CacheError(
        f"{len(named)} of {totals[subset]} {subset} clips are unusable ({share:.1%}, more than the tolerated "
        f"{max_bad_share:.1%}): {'; '.join(named[:3])}{' …' if len(named) > 3 else ''}. Repair these files or take "
        f"them out of the dataset, or tolerate them with --max-bad-share {math.ceil(share * 100) / 100:g}"
    )
