"""The feature cache: every recording is read and transformed once, whatever happens.

    CACHE_DIR/FEATURE_HASH/build.json          the parameters, and what the last build did
                           shards/*.parquet    the features (`raytag.features.shards`)
                           manifest.parquet    which clip lies in which shard (`raytag.features.manifest`)
                           index.parquet       files that were read: path, size, time of change, content

A cell of the cache is keyed by the clip and the content of its audio, a folder by the feature parameters: a
changed recording is computed again and nothing else is. Ray Data maps batches of clips to shards, each put in
place as a whole; a build that was killed continues with the clips that stand in no shard, and two builds at
once do some work twice and no harm. A cache that holds all that is asked for may be read-only. A cell that does not
hold what was computed is computed again, and a recording that kills its worker is left out.
"""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
from rich.console import Console

from raytag.cluster.resources import count_cpus
from raytag.console import ProgressBar, say
from raytag.datasets.recordings import MAX_SECONDS
from raytag.features.manifest import ROWS, CacheError, Known, Manifest, feature_folder
from raytag.features.report import bytes_of, check_room, check_written, known_cells, lengths, say_report
from raytag.features.shards import CHECKED, RESULTS, batches_of, compute_batch
from raytag.parts import Features
from raytag.plugins import PluginError
from raytag.store.files import Storage

if TYPE_CHECKING:
    from raytag.datasets.table import ClipTable

__all__ = ["CacheError", "Manifest", "build_cache"]


def build_cache(
    table: ClipTable,
    features: Features,
    cache_dir: str,
    *,
    verify: bool = False,
    max_bad_share: float = 0.05,
    max_clip_seconds: float = MAX_SECONDS,
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
    max_clip_seconds : float
        Clips whose ``duration`` is longer are unusable, cached or not.
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
        Too many unusable clips, or a folder that cannot be written; what could be computed stays cached.

    Notes
    -----
    Ray must have been initialised unless everything is cached.
    """
    console = Console() if console is None else console
    started = time.monotonic()
    storage = feature_folder(features, cache_dir)
    known = known_cells(storage, console)
    clips = table.clips[["clip", "path", "duration"]]
    status = {path: _status(path) for path in clips["path"]}
    contents = {
        clip: _content(path, status[path], known) for clip, path in zip(clips["clip"], clips["path"], strict=True)
    }
    nameless = _too_long(clips, max_clip_seconds)
    contents.update(dict.fromkeys(nameless, ""))
    pending = _pending(clips, status, contents, known, verify)
    pending = pending[~pending["clip"].isin(list(nameless))]
    todo = f"{len(pending)} to {'verify' if verify else 'compute'}"
    say(console, f"features: {len(clips) - len(pending)} clips cached, {todo}")
    workers: set[str] = set()
    computed = 0
    if len(pending):
        needed = bytes_of(pending, features)
        check_room(storage, len(pending), needed, console)
        with (
            ProgressBar(console, "features", len(pending), "clips") as progress,
            closing(_results(pending, known, storage, features, console)) as found,
        ):
            for results in found:
                check_written(results, storage, needed)
                known.add(results)
                unread = results[results["content"] == ""]
                nameless.update(zip(unread["clip"], unread["reason"], strict=True))
                contents.update(zip(results["clip"], results["content"], strict=True))
                status.update(_sizes(results))
                workers.update(results.loc[results["computed"], "worker"])
                computed += int(results["computed"].sum())
                progress.advance(len(results))
        _check_shared(storage, known)
    rows = _rows(clips, contents, known, nameless)
    unchecked = int((~rows["shard"].str.endswith(CHECKED) & (rows["shard"] != "")).sum())
    if unchecked:
        words = f"features: {unchecked} clips were cached before cells had digests, and cannot be checked"
        say(console, f"{words}; delete {storage.where()} to have them computed again")
    manifest = Manifest(
        rows, features, storage, computed=computed, seconds=time.monotonic() - started, workers=frozenset(workers)
    )
    if known.changed:
        _save(manifest, known, status, console)
    if report:
        say_report(manifest, table, max_bad_share, console)
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


def _too_long(clips: pd.DataFrame, limit: float) -> dict[str, str]:
    """Reasons why clips are left out by the length that their headers announce."""
    long = clips[clips["duration"] > limit]
    words = f"more than the {limit:g} s of --max-clip-seconds"
    return {
        clip: f"too_large: the header announces {seconds:.0f} s, {words}"
        for clip, seconds in zip(long["clip"], long["duration"], strict=True)
    }


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
    return clips[np.array(wanted, bool)]


def _results(
    pending: pd.DataFrame, known: Known, storage: Storage, features: Features, console: Console
) -> Generator[pd.DataFrame]:
    """Compute the clips on the cluster; rows of ``shards.compute_batch`` as they come."""
    import ray
    import ray.data

    if not ray.is_initialized():
        raise CacheError("the feature cache is built by Ray: call ray.init() first")
    batches = batches_of(pending, lengths(pending), known.contents(), count_cpus())
    work = partial(compute_batch, storage=storage, features=features)
    seen: set[str] = set()
    with _ray_data_settings():
        with warnings.catch_warnings(action="ignore"):  # Ray is going to give max_retries another name
            # a batch that kills its worker would do so again: its clips are tried one by one below
            dataset = ray.data.from_blocks(batches).map_batches(
                work, batch_size=None, batch_format="pyarrow", zero_copy_batch=True, num_cpus=1, max_retries=0
            )
        rows: Any  # pa.Table
        for rows in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            results = rows.to_pandas()
            seen.update(results["clip"])
            yield results
    lost = [
        batch.slice(i, 1)
        for batch in batches
        for i, clip in enumerate(batch.column("clip").to_pylist())
        if clip not in seen
    ]
    if lost:
        say(console, f"features: a worker was lost; its {len(lost)} clips are computed one by one", "yellow")
        yield from _one_by_one(lost, work)


def _one_by_one(lost: list[pa.Table], work: Callable[[pa.Table], pa.Table]) -> Iterator[pd.DataFrame]:
    """Each clip in a task of its own; one that loses its worker, and then another, is what kills them.

    An error that Python knows of is raised: it has nothing to do with the recording.
    """
    import ray
    from ray.exceptions import OutOfMemoryError, RayError, RayTaskError

    task: Any = ray.remote(num_cpus=1, max_retries=0)(lambda item: work(item))
    running = {task.remote(item): item for item in lost}
    again = []
    while running:
        done = ray.wait(list(running))[0][0]
        item = running.pop(done)
        try:
            yield ray.get(done).to_pandas()
        except RayTaskError as error:
            if isinstance(error.cause, PluginError):  # a sentence, not the traceback of a task
                raise error.cause from None
            raise
        except RayError:
            again.append(item)
    for item in again:  # alone on its node's memory, as far as this build is concerned
        try:
            yield ray.get(task.remote(item)).to_pandas()
        except RayTaskError:
            raise
        except RayError as error:
            why = "ran out of memory" if isinstance(error, OutOfMemoryError) else "crashed"
            row: dict[str, Any] = dict.fromkeys(RESULTS.names, "")
            row |= {"frames": 0, "size": 0, "mtime_ns": 0, "computed": False}
            row |= {"reason": f"crashed: the decoder {why}, twice", **item.select(["clip", "path"]).to_pylist()[0]}
            yield pd.DataFrame([row])


@contextmanager
def _ray_data_settings() -> Iterator[None]:
    """Every CPU works, and without Ray Data's own progress bars and log lines; for this job only."""
    from ray.data import DataContext

    context = DataContext.get_current().copy()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.max_errored_blocks = -1  # a lost worker loses its batch only
    # With the allocator a task is submitted only when a CPU is free, so after each one a worker waits for the
    # driver's next round; and until Ray Data knows the size of the cluster, a second or more, one task runs at a
    # time. Without it the batches, which are small, queue at Ray and the workers take one after the other.
    context.op_resource_reservation_enabled = False
    logger = logging.getLogger("ray.data")
    level = logger.level
    logger.setLevel(logging.CRITICAL)  # at each lost batch it prints where in Ray it was noticed
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


def _save(manifest: Manifest, known: Known, status: dict[str, tuple[int, int] | None], console: Console) -> None:
    """Write the tables; without them the next build looks into the shards."""
    parameters = manifest.features.model_dump(mode="json")
    done = {
        "computed": manifest.computed,
        "seconds": round(manifest.seconds, 3),
        "workers": sorted(manifest.workers),
    }
    try:
        known.save({path: found for path, found in status.items() if found is not None})
        manifest.storage.write_json("build.json", {"features": parameters, "last_build": done})
    except OSError as error:
        where = f"{manifest.storage.where()} ({error.strerror or error})"
        say(
            console,
            f"features: the tables of the cache cannot be written to {where}: next time they are made again",
        )
