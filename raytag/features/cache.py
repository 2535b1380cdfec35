"""The mel cache: every recording is read and transformed once, whatever happens.

    CACHE_DIR/FEATURE_HASH/build.json          the parameters, and what the last build did
                           shards/*.parquet    the features (`raytag.features.shards`)
                           manifest.parquet    which clip lies in which shard (`raytag.features.manifest`)
                           index.parquet       files that were read: path, size, time of change, content

A cell of the cache is keyed by the clip and the content of its audio, a folder by the feature parameters: a
changed recording is computed again and nothing else is. Ray Data maps batches of clips to shards, each put in
place as a whole; a build that was killed continues with the clips that stand in no shard, and two builds at
once do some work twice and no harm.
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
from rich.console import Console

from raytag.cluster.resources import count_cpus
from raytag.console import ProgressBar, say
from raytag.experiment import Features
from raytag.features.manifest import ROWS, CacheError, Known, Manifest, feature_folder
from raytag.features.remarks import MEANING
from raytag.features.shards import ITEMS, compute_batch
from raytag.store.files import Storage

if TYPE_CHECKING:
    from raytag.datasets.table import ClipTable

__all__ = ["CacheError", "Manifest", "build_cache"]

#: A batch ends with so many clips or so much audio (s): a kill loses no more than this for each worker.
_BATCH_CLIPS, _BATCH_SECONDS = 256, 1800.0
#: Batches for each CPU, at least, as far as there are clips: the last ones even out what the others took.
_BATCHES_PER_CPU = 8
#: Unusable clips, and clips of a remark, that are named on the screen.
_NAMED, _REMARKED = 10, 3


def build_cache(
    table: ClipTable,
    features: Features,
    cache_dir: str,
    *,
    verify: bool = False,
    max_bad_share: float = 0.05,
    report: bool = True,
    console: Console | None = None,
) -> Manifest:
    """Make sure that the cache holds the features of every usable clip of a table.

    Parameters
    ----------
    table : ClipTable
        Its columns ``clip``, ``path``, ``duration`` and ``subset`` are used.
    features : Features
        The parameters.
    cache_dir : str
        A local folder or a ``pyarrow.fs`` URI (``s3://bucket/cache``), seen alike by all nodes.
    verify : bool
        Read every recording again, also where path, size and time of change are known.
    max_bad_share : float
        Largest tolerated share of unusable clips, of the curated and of the noisy ones. Those of the test subset
        stop nothing.
    report : bool
        Say what is unusable and odd, and refuse too much of it; otherwise the manifest has it.
    console : rich.console.Console, optional
        Where progress goes: a bar on a terminal, else a line every few seconds.

    Returns
    -------
    Manifest

    Raises
    ------
    CacheError
        Too many unusable clips (what could be computed stays cached), or a folder that cannot be written.

    Notes
    -----
    Ray must have been initialised unless everything is cached.
    """
    console = Console() if console is None else console
    started = time.monotonic()
    storage = feature_folder(features, cache_dir)
    try:
        known = Known(storage, console)
    except OSError as error:
        raise CacheError(
            f"the mel cache {storage.where()} cannot be read: {error}; choose another --cache-dir"
        ) from error
    clips = table.clips[["clip", "path", "duration"]]
    status = {path: _status(path) for path in clips["path"]}
    contents = {
        clip: _content(path, status[path], known) for clip, path in zip(clips["clip"], clips["path"], strict=True)
    }
    pending = _pending(clips, status, contents, known, verify)
    todo = f"{len(pending)} to {'verify' if verify else 'compute'}"
    say(console, f"features: {len(clips) - len(pending)} clips cached, {todo}")
    unreadable: dict[str, str] = {}
    workers: set[str] = set()
    computed = 0
    if len(pending):
        with ProgressBar(console, "features", len(pending), "clips") as progress:
            for results in _results(pending, known, storage, features):
                known.add(results)
                nameless = results[results["content"] == ""]
                unreadable.update(zip(nameless["clip"], nameless["reason"], strict=True))
                contents.update(zip(results["clip"], results["content"], strict=True))
                status.update(_sizes(results))
                workers.update(results.loc[results["computed"], "worker"])
                computed += int(results["computed"].sum())
                progress.advance(len(results))
        _check_shared(storage, known)
    rows = _rows(clips, contents, known, unreadable)
    manifest = Manifest(
        rows, features, storage, computed=computed, seconds=time.monotonic() - started, workers=frozenset(workers)
    )
    if known.changed:
        _save(manifest, known, status)
    if report:
        _report(manifest, table, max_bad_share, console)
    return manifest


def _status(path: str) -> tuple[int, int] | None:
    """Size and time of change (ns) of a file; None where there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _sizes(results: pd.DataFrame) -> Iterator[tuple[str, tuple[int, int]]]:
    """(path, status) of the files as the workers read them."""
    for path, size, mtime_ns in zip(results["path"], results["size"], results["mtime_ns"], strict=True):
        yield path, (size, mtime_ns)


def _content(path: str, status: tuple[int, int] | None, known: Known) -> str:
    """The content of a file if it is as it was when it was read, else ""."""
    return "" if status is None else known.index.get((path, *status), "")


def _pending(
    clips: pd.DataFrame,
    status: dict[str, tuple[int, int] | None],
    contents: dict[str, str],
    known: Known,
    verify: bool,
) -> pd.DataFrame:
    """Clips that a worker has to look at; missing files are not among them."""
    wanted = [
        status[path] is not None and (verify or (clip, contents[clip]) not in known.cells)
        for clip, path in zip(clips["clip"], clips["path"], strict=True)
    ]
    return clips[wanted]


def _batches(pending: pd.DataFrame, contents: dict[str, list[str]], cpus: int) -> list[pa.Table]:
    """Cut the clips into batches of about equal length in seconds."""
    seconds = pending["duration"].where(pending["duration"] > 0, 5.0).to_numpy()
    share = float(seconds.sum()) / (_BATCHES_PER_CPU * cpus)
    batches: list[list[dict[str, Any]]] = [[]]
    filled = 0.0
    for clip, path, length in zip(
        pending["clip"].tolist(), pending["path"].tolist(), seconds.tolist(), strict=True
    ):
        full = filled + length > _BATCH_SECONDS or len(batches[-1]) == _BATCH_CLIPS
        if (full and batches[-1]) or (filled + length / 2 > share and len(batches[-1]) >= _BATCH_CLIPS // 32):
            batches.append([])
            filled = 0.0
        batches[-1].append({"clip": clip, "path": path, "known": contents.get(clip, [])})
        filled += length
    return [pa.Table.from_pylist(batch, ITEMS) for batch in batches]


def _results(pending: pd.DataFrame, known: Known, storage: Storage, features: Features) -> Iterator[pd.DataFrame]:
    """Compute the clips on the cluster; rows of ``shards.compute_batch`` as they come."""
    import ray
    import ray.data

    if not ray.is_initialized():
        raise CacheError("the mel cache is built by Ray: call ray.init() first")
    cpus = count_cpus()
    batches = _batches(pending, known.contents(), cpus)
    work = partial(compute_batch, storage=storage, features_json=features.model_dump_json())
    with _ray_data_settings():
        dataset = ray.data.from_blocks(batches).map_batches(
            work, batch_size=None, batch_format="pyarrow", zero_copy_batch=True, num_cpus=1
        )
        try:
            rows: Any  # pa.Table
            for rows in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
                yield rows.to_pandas()
        except Exception as error:
            cause = _os_error(error)
            if cause is None:
                raise
            raise CacheError(
                f"a worker could not write to the mel cache {storage.where()}: {cause}. What was written is kept; "
                "make room or choose another --cache-dir and launch again"
            ) from error


def _os_error(error: BaseException | None) -> OSError | None:
    """The innermost OSError behind an error of a Ray task."""
    found = None
    while error is not None:
        found = error if isinstance(error, OSError) else found
        error = getattr(error, "cause", None) or error.__cause__
    return found


@contextmanager
def _ray_data_settings() -> Iterator[None]:
    """Every CPU works, and without Ray Data's own progress bars and log lines; for this job only."""
    from ray.data import DataContext

    context = DataContext.get_current().copy()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.raise_original_map_exception = True
    # With the allocator a task is submitted only when a CPU is free, so after each one a worker waits for the
    # driver's next round; and until Ray Data knows the size of the cluster, a second or more, one task runs at a
    # time. Without it the batches, which are small, queue at Ray and the workers take one after the other.
    context.op_resource_reservation_enabled = False
    logger = logging.getLogger("ray.data")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with DataContext.current(context):
            yield
    finally:
        logger.setLevel(level)


def _check_shared(storage: Storage, known: Known) -> None:
    """What the workers wrote must be seen from here: nodes may lack a shared disk."""
    unseen = sorted(set(known.shards) - set(storage.files("shards")))
    if unseen:
        raise CacheError(
            f"workers wrote {len(unseen)} shards to {storage.where()} that cannot be seen from here, such as "
            f"{unseen[0]}: the nodes do not share it. Choose a --cache-dir on a shared disk or an s3:// URI"
        )


def _rows(clips: pd.DataFrame, contents: dict[str, str], known: Known, unreadable: dict[str, str]) -> pd.DataFrame:
    rows = []
    for clip, path in zip(clips["clip"], clips["path"], strict=True):
        if contents[clip] == "":
            rows.append((clip, "", 0, "", unreadable.get(clip, f"missing: there is no file {path}"), ""))
        else:
            frames, shard, reason, remarks = known.cells[clip, contents[clip]]
            rows.append((clip, contents[clip], frames, "" if reason else shard, reason, remarks))
    return pd.DataFrame(rows, columns=ROWS).astype({"frames": "int64"})


def _save(manifest: Manifest, known: Known, status: dict[str, tuple[int, int] | None]) -> None:
    try:
        known.save({path: found for path, found in status.items() if found is not None})
        if manifest.computed:
            done = {
                "computed": manifest.computed,
                "seconds": round(manifest.seconds, 3),
                "workers": sorted(manifest.workers),
            }
            parameters = manifest.features.model_dump(mode="json")
            manifest.storage.write_json("build.json", {"features": parameters, "last_build": done})
    except OSError as error:
        raise CacheError(f"the mel cache {manifest.storage.where()} cannot be written: {error}") from error


def _report(manifest: Manifest, table: ClipTable, max_bad_share: float, console: Console) -> None:
    """Say what was done, what is unusable and what is odd; too much that is unusable is an error."""
    if manifest.computed:
        rate = manifest.computed / max(manifest.seconds, 1e-9)
        say(
            console,
            f"features: {manifest.computed} clips computed in {manifest.seconds:.1f} s ({rate:.0f} clips/s, "
            f"{len(manifest.workers)} processes)",
        )
    rows = manifest.rows.assign(subset=table.clips["subset"])  # the rows are the table's
    total, bad = len(rows), rows[rows["reason"] != ""]
    if len(bad):
        codes = bad["reason"].str.split(":").str[0].value_counts()
        kinds = ", ".join(f"{count} {code}" for code, count in codes.items())
        say(console, f"features: {len(bad)} of {total} clips are unusable and left out: {kinds}", style="yellow")
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
