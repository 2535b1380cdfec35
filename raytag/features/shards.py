"""Shards of the mel cache: what a worker computes and writes, and how it is read again.

A shard is one Parquet file with one row a clip:

    clip      string  clip id
    content   string  hash of the audio file's bytes, see `raytag.store.digest`
    frames    int32   frames; 0 where the clip is unusable
    reason    string  why it is unusable, else ""
    remarks   string  what is odd about it, a line each (`raytag.features.remarks`), else ""
    features  binary  int16 (frames, n_mels), little-endian, 1/256 dB
    path, size, mtime_ns   the file as it was read: a later build need not read it again

It is named by the hash of its (clip, content) pairs, so a batch that is computed twice overwrites itself, and
two datasets that call different recordings by the same names do not overwrite each other.
"""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from raytag.experiment import Features
from raytag.features import extract_from_bytes
from raytag.features.bank import quantise
from raytag.features.decoding import UnusableClip, read_bytes
from raytag.features.warmup import warm_up
from raytag.store.digest import digest
from raytag.store.files import Storage

FOLDER = "shards"
_CELL = {"clip": pa.string(), "content": pa.string(), "frames": pa.int32(), "reason": pa.string()}
_CELL |= {"remarks": pa.string()}
_FILE = {"path": pa.string(), "size": pa.int64(), "mtime_ns": pa.int64()}
_SHARD = pa.schema({**_CELL, **_FILE, "features": pa.binary()})
#: Columns that say what a shard holds, without the features.
COLUMNS = [*_CELL, *_FILE]

#: Of the batches that are handed to `compute_batch`.
ITEMS = pa.schema({"clip": pa.string(), "path": pa.string(), "known": pa.list_(pa.string())})
#: Of the rows that `compute_batch` returns.
RESULTS = pa.schema({**_CELL, **_FILE, "shard": pa.string(), "computed": pa.bool_(), "worker": pa.string()})


def compute_batch(items: pa.Table, storage: Storage, features_json: str) -> pa.Table:
    """Read, compute and store a batch of clips; runs in a Ray worker.

    Parameters
    ----------
    items : pa.Table
        Schema `ITEMS`; ``known`` lists the contents of the clip that the cache already holds.
    storage : Storage
        The folder of the feature set.
    features_json : str
        ``raytag.experiment.Features`` as JSON.

    Returns
    -------
    pa.Table
        Schema `RESULTS`, a row a clip. A clip whose content is known gets no new cell; one that cannot even be
        read has no content and stands in no shard.
    """
    warm_up()
    features = Features.model_validate_json(features_json)
    worker = f"{socket.gethostname()}:{os.getpid()}"
    results, cells = [], []
    for item in items.to_pylist():
        cell = _compute(item["clip"], item["path"], item["known"], features)
        results.append(cell)
        if cell["computed"]:
            cells.append(cell)
    if cells:
        name = shard_name([(cell["clip"], cell["content"]) for cell in cells])
        storage.write(f"{FOLDER}/{name}", _to_parquet(cells))
        for cell in cells:
            cell["shard"] = name
    for cell in results:
        cell["worker"] = worker
    return pa.Table.from_pylist(results, RESULTS)


def _compute(clip: str, path: str, known: Sequence[str], features: Features) -> dict[str, Any]:
    file = {"path": path, "size": 0, "mtime_ns": 0}
    cell: dict[str, Any] = {"clip": clip, "content": "", "frames": 0, "reason": "", "features": b"", **file}
    cell.update(remarks="", shard="", computed=False)
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
        logmel, remarks = extract_from_bytes(data, path, features)
        cell["remarks"] = "\n".join(remarks)
        fixed = _quantised(logmel)
        cell.update(frames=len(fixed), features=fixed.astype("<i2", copy=False).tobytes())
    except UnusableClip as error:
        cell["reason"] = error.reason
    return cell


def _quantised(logmel: np.ndarray) -> np.ndarray:
    try:
        return quantise(logmel)
    except ValueError as error:
        raise UnusableClip("out_of_range", str(error)) from None


def _to_parquet(cells: list[dict[str, Any]]) -> pa.Buffer:
    table = pa.Table.from_pylist([{name: cell[name] for name in _SHARD.names} for cell in cells], _SHARD)
    sink = pa.BufferOutputStream()  # grows without new pages each time, and its content need not be copied
    # log-mels hardly shrink, and what is not compressed is read at the speed of memory
    pq.write_table(table, sink, compression="none", use_dictionary=False, write_statistics=False)
    return sink.getvalue()


def shard_name(cells: Sequence[tuple[str, str]]) -> str:
    """File name of a shard by its (clip, content) pairs in any order."""
    text = "\n".join(f"{content} {clip}" for clip, content in sorted(cells))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest() + ".parquet"


def read_cells(storage: Storage, shard: str) -> pa.Table:
    """What a shard holds: all `COLUMNS`; its features are not read."""
    return _open(storage, shard, COLUMNS)


def read_features(storage: Storage, shard: str) -> Iterator[tuple[str, str, np.ndarray]]:
    """(clip, content, flat int16 features) of a shard's usable clips; views into memory that is read once."""
    table = _open(storage, shard, ["clip", "content", "features"])
    for batch in table.to_batches():
        column = batch.column("features")
        _, offsets, data = column.buffers()
        ends = np.frombuffer(offsets, np.int32, len(column) + 1, 4 * column.offset).tolist()
        values = np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8)
        clips, contents = batch.column("clip").to_pylist(), batch.column("content").to_pylist()
        for i, (clip, content) in enumerate(zip(clips, contents, strict=True)):
            if ends[i + 1] > ends[i]:
                yield clip, content, values[ends[i] : ends[i + 1]].view("<i2")


def _open(storage: Storage, shard: str, columns: list[str]) -> pa.Table:
    path = f"{storage.root}/{FOLDER}/{shard}"
    with storage.filesystem.open_input_file(path) as file:
        return pq.ParquetFile(file, pre_buffer=True).read(columns, use_threads=False)
