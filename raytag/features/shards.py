"""Shards of the feature cache: what a worker computes and writes, and how it is read again.

A shard is one Parquet file with one row a clip:

    clip      string  clip id
    content   string  hash of the audio file's bytes, see `raytag.store.digest`
    frames    int32   frames; 0 where the clip is unusable
    reason    string  why it is unusable, else ""
    remarks   string  what is odd about it, a line each (`raytag.features.remarks`), else ""
    features  binary  int16 (frames, width), little-endian, as the feature set computes them
    path, size, mtime_ns   the file as it was read: a later build need not read it again
    features_digest, digest   of the features; of all else that the row says, features_digest included

It is named by the hash of its (clip, content) pairs, so a batch that is computed twice overwrites itself, and
two datasets that call different recordings by the same names do not overwrite each other. Its name also tells
whether its rows have digests: those of before have not, and a damaged file cannot pass for one of them.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from raytag import parts, plugins
from raytag.errors import DamagedError
from raytag.features.decoding import UnusableClip, read_bytes
from raytag.features.warmup import warm_up
from raytag.plugins import PluginError
from raytag.store.digest import digest
from raytag.store.files import Storage

FOLDER = "shards"
#: How the names of shards end whose rows have digests.
CHECKED = ".checked.parquet"
_CELL = {"clip": pa.string(), "content": pa.string(), "frames": pa.int32(), "reason": pa.string()}
_CELL |= {"remarks": pa.string()}
_FILE = {"path": pa.string(), "size": pa.int64(), "mtime_ns": pa.int64()}
_DIGESTS = {"features_digest": pa.string(), "digest": pa.string()}
_FEATURES = {"features": pa.binary()}
_SHARD = pa.schema({**_CELL, **_FILE, **_DIGESTS, **_FEATURES})

#: A batch ends with so many clips or so much audio (s): a kill loses no more than this for each worker.
_BATCH_CLIPS, _BATCH_SECONDS = 256, 1800.0
#: Batches for each CPU, at least, as far as there are clips: the last ones even out what the others took.
_BATCHES_PER_CPU = 8

#: Of the batches that are handed to `compute_batch`.
ITEMS = pa.schema({"clip": pa.string(), "path": pa.string(), "known": pa.list_(pa.string())})
#: Of the rows that `compute_batch` returns.
RESULTS = pa.schema(
    {
        **_CELL,
        **_FILE,
        "shard": pa.string(),
        "computed": pa.bool_(),
        "worker": pa.string(),
        "error": pa.string(),  # why the shard could not be written, else ""
    }
)


def batches_of(
    pending: pd.DataFrame, seconds: np.ndarray, contents: Mapping[str, list[str]], cpus: int
) -> list[pa.Table]:
    """Cut the clips, of ``seconds`` each, into batches of about equal length for `compute_batch`."""
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


def compute_batch(items: pa.Table, storage: Storage, features: parts.Features) -> pa.Table:
    """Read, compute and store a batch of clips; runs in a Ray worker.

    Parameters
    ----------
    items : pa.Table
        Schema `ITEMS`; ``known`` lists the contents of the clip that the cache already holds.
    storage : Storage
        The folder of the feature set.
    features : parts.Features
        The feature set.

    Returns
    -------
    pa.Table
        Schema `RESULTS`, a row a clip. A clip whose content is known gets no new cell; one that cannot even be
        read, or for which there is no memory here, has no content and stands in no shard.
    """
    warm_up()
    worker = f"{socket.gethostname()}:{os.getpid()}"
    results, cells = [], []
    for item in items.to_pylist():
        cell = compute_clip(item["clip"], item["path"], item["known"], features)
        results.append(cell)
        if cell["computed"]:
            cells.append(cell)
    if cells:
        name = shard_name([(cell["clip"], cell["content"]) for cell in cells])
        error = ""
        try:
            storage.write(f"{FOLDER}/{name}", _to_parquet(pa.Table.from_pylist(cells, _SHARD)))
        except OSError as fault:  # a full disk is told as it is, not as the error of a task
            error = fault.strerror or str(fault)
        for cell in cells:
            cell.update(shard=name, error=error)
    for cell in results:
        cell["worker"] = worker
    return pa.Table.from_pylist(results, RESULTS)


def compute_clip(clip: str, path: str, known: Sequence[str], features: parts.Features) -> dict[str, Any]:
    """A row of a shard: the features of a recording, or the ``reason`` why it has none.

    ``computed`` is false where its content is among the ``known`` ones, and where it could not even be read.
    """
    file = {"path": path, "size": 0, "mtime_ns": 0}
    cell: dict[str, Any] = {"clip": clip, "content": "", "frames": 0, "reason": "", "features": b"", **file}
    cell.update(remarks="", shard="", computed=False, error="")
    try:
        try:
            status = os.stat(path)  # before reading: a file that changes meanwhile is found changed next time
            cell.update(size=status.st_size, mtime_ns=status.st_mtime_ns)
        except OSError:
            pass  # read_bytes says what is wrong
        data = read_bytes(path)
        cell["content"] = digest(data)
        if cell["content"] in known:
            return cell
        cell["computed"] = True
        fixed, remarks = _of(features, data, path)
        cell["remarks"] = "\n".join(remarks)
        cell.update(frames=len(fixed), features=fixed.astype("<i2", copy=False).tobytes())
    except UnusableClip as error:
        cell.update(reason=error.reason, remarks="\n".join(error.remarks))
    except MemoryError:  # another machine may have it
        cell.update(content="", computed=False, reason="crashed: the decoder found no memory for it")
    cell["features_digest"] = digest(cell["features"])
    cell["digest"] = _digest(cell)
    return cell


def _of(features: parts.Features, data: bytes, path: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Frames and remarks of a recording; of a user's own feature set too what is wrong with it, in a sentence."""
    try:
        fixed, remarks = features.compute(data, path)
    except (UnusableClip, MemoryError):
        raise
    except Exception as error:
        if not (where := plugins.place(error)):
            raise
        raise PluginError(f"{where}: {type(error).__name__}: {error} (at the recording {path})") from error
    if fixed.dtype != np.int16 or fixed.ndim != 2 or fixed.shape[1] != features.width:
        wanted = f"int16 (frames, {features.width})"
        raise PluginError(f"features {features.name} make {fixed.dtype} {fixed.shape} of {path}, not {wanted}")
    return fixed, remarks


def _digest(cell: Mapping[str, Any]) -> str:
    """Of all that a row says but its features, which have their own."""
    facts = [cell[name] for name in (*_CELL, *_FILE, "features_digest")]
    return digest(json.dumps(facts).encode())


def _to_parquet(table: pa.Table) -> pa.Buffer:
    sink = pa.BufferOutputStream()  # grows without new pages each time, and its content need not be copied
    # log-mels hardly shrink, and what is not compressed is read at the speed of memory
    pq.write_table(table, sink, compression="none", use_dictionary=False, write_statistics=False)
    return sink.getvalue()


def shard_name(cells: Sequence[tuple[str, str]]) -> str:
    """File name of a shard by its (clip, content) pairs in any order."""
    text = "\n".join(f"{content} {clip}" for clip, content in sorted(cells))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest() + CHECKED


def read_cells(storage: Storage, shard: str) -> tuple[pa.Table, int]:
    """What a shard holds but its features, which are not read: whole rows, and the number of damaged ones.

    Raises
    ------
    DamagedError
        The file is no shard, or not to be read.
    """
    table = _open(storage, shard, {**_CELL, **_FILE})
    whole = _whole(table, shard)
    return table.filter(pa.array(whole, pa.bool_())), whole.count(False)


def read_features(storage: Storage, shard: str) -> Iterator[tuple[str, str, np.ndarray]]:
    """(clip, content, flat int16 features) of a shard's usable clips; views into memory that is read once.

    Features that are damaged are left out; errors are those of `read_cells`. Other facts are not looked at: a
    damaged id or content is nobody's.
    """
    table = _open(storage, shard, {"clip": pa.string(), "content": pa.string(), **_FEATURES})
    for batch in table.to_batches():
        clips, contents = batch.column("clip").to_pylist(), batch.column("content").to_pylist()
        for clip, content, values in zip(clips, contents, _features(batch, shard), strict=True):
            if values is not None and len(values):
                yield clip, content, np.frombuffer(values, "<i2")


def whole_rows(storage: Storage, shard: str, source: pa.NativeFile | None = None) -> tuple[pa.Table, int]:
    """Everything that a shard holds, compared with all digests: whole rows, and the number of damaged ones.

    ``source`` has its bytes, where they are read already. Errors are those of `read_cells`.
    """
    table = _open(storage, shard, {**_CELL, **_FILE, **_FEATURES}, source)
    heard = [values is not None for batch in table.to_batches() for values in _features(batch, shard)]
    whole = [both and facts for both, facts in zip(heard, _whole(table, shard), strict=True)]
    return table.filter(pa.array(whole, pa.bool_())), whole.count(False)


def salvage(storage: Storage, shard: str) -> None:
    """Keep the whole rows of a damaged shard under the name that is theirs, and remove it.

    Nothing is kept of a shard without digests, for nobody knows which of its rows are whole. ``OSError`` where it
    cannot be read or written.
    """
    table = _SHARD.empty_table()
    if shard.endswith(CHECKED) and storage.exists(f"{FOLDER}/{shard}"):
        data = storage.read(f"{FOLDER}/{shard}")  # a disk or network that fails now says nothing of the shard
        with suppress(DamagedError):
            table, _ = whole_rows(storage, shard, pa.BufferReader(data))
    name = shard_name(list(zip(table["clip"].to_pylist(), table["content"].to_pylist(), strict=True)))
    if name == shard:  # it was another fault, which is over
        return
    if len(table):
        storage.write(f"{FOLDER}/{name}", _to_parquet(table.select(_SHARD.names)))
    storage.delete(f"{FOLDER}/{shard}")


def _features(batch: pa.RecordBatch, shard: str) -> list[memoryview | None]:
    """The bytes of each row's features; None where they are damaged."""
    column = batch.column("features")
    _, offsets, data = column.buffers()
    ends = np.frombuffer(offsets, np.int32, len(column) + 1, 4 * column.offset).tolist()
    values = memoryview(b"" if data is None else data)
    parts = [values[start:end] for start, end in itertools.pairwise(ends)]
    if not shard.endswith(CHECKED):
        return [*parts]
    known = batch.column("features_digest").to_pylist()
    return [part if digest(part) == own else None for part, own in zip(parts, known, strict=True)]


def _whole(table: pa.Table, shard: str) -> list[bool]:
    """Of each row, whether it says what was written; rows of shards without digests are believed."""
    if not shard.endswith(CHECKED):
        return [True] * len(table)
    rows = table.drop_columns(["features"]) if "features" in table.column_names else table
    return [_digest(row) == row["digest"] for row in rows.to_pylist()]


def _open(
    storage: Storage, shard: str, columns: Mapping[str, pa.DataType], source: pa.NativeFile | None = None
) -> pa.Table:
    """Columns of a shard and, where its rows have them, the digests."""
    if shard.endswith(CHECKED):
        columns = {**columns, **_DIGESTS}
    path = f"{storage.root}/{FOLDER}/{shard}"
    try:
        with source or storage.filesystem.open_input_file(path) as file:
            parquet = pq.ParquetFile(file, pre_buffer=True)
            _check_footer(parquet.metadata, file.size())
            table = parquet.read(list(columns), use_threads=False)
        schema = pa.schema(columns)
        if not table.select(schema.names).schema.equals(schema):
            raise ValueError("its columns are not those of a shard")
        table.validate(full=True)
        return table.select(schema.names)
    except FileNotFoundError:
        raise DamagedError(f"shard {storage.where(f'{FOLDER}/{shard}')} of the feature cache is gone") from None
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        where = storage.where(f"{FOLDER}/{shard}")
        raise DamagedError(f"shard {where} of the feature cache is damaged ({error})") from error


def _check_footer(footer: pq.FileMetaData, size: int) -> None:
    """What is read takes no more memory than the file has bytes, whatever a damaged footer promises."""
    for group in map(footer.row_group, range(footer.num_row_groups)):
        for column in map(group.column, range(group.num_columns)):
            rows, stored = column.num_values, column.total_compressed_size
            if column.compression != "UNCOMPRESSED" or column.total_uncompressed_size != stored:
                raise ValueError("its footer says that it is compressed, which shards are not")
            if rows != group.num_rows or not 0 <= 4 * rows <= size or not 0 <= stored <= size:
                raise ValueError(f"its footer promises {rows} rows in {stored} of {size} bytes")
