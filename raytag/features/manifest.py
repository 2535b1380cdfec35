"""The manifest of a feature cache: which clip lies in which shard, and which are unusable and why.

The shards are the truth; ``manifest.parquet`` and ``index.parquet`` beside them spare looking into all of them
and reading all recordings again. Either may be deleted, and of two builders that write them at once either may
win: shards that the manifest does not list are looked into by the next build. Both carry a digest of themselves;
where it is missing or wrong they are made again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

from raytag import parts
from raytag.console import say
from raytag.datasets.findings import Finding, some
from raytag.errors import DamagedError
from raytag.experiment import Features
from raytag.features.bank import Bank
from raytag.features.remarks import MEANING, WRONG
from raytag.features.shards import FOLDER, read_cells, read_features, salvage, whole_rows
from raytag.store.digest import digest, unseal
from raytag.store.files import Storage

#: Raised whenever a change of raytag makes the same recording give other features.
FORMAT = 2

#: Columns of ``Manifest.rows``.
ROWS = ["clip", "content", "frames", "shard", "reason", "remarks"]
#: Files beside the shards that can be made again.
TABLES = ("manifest.parquet", "index.parquet", "build.json")
#: Columns of ``index.parquet``.
FILES = ["path", "size", "mtime_ns", "content"]
#: Before the digest of a file that carries its own.
_SEAL = b"digest of all other bytes: "
_SEAL_SIZE = len(_SEAL) + len(digest(b""))


class CacheError(ValueError):
    """A feature cache that cannot serve; the message says what to do."""


class DamagedCells(DamagedError):
    """Cells of a feature cache that do not hold what was computed, or are gone.

    Attributes
    ----------
    cells : dict of str to list of str
        Clips by shard.
    storage : Storage
        The folder of the feature set.
    """

    def __init__(self, cells: Mapping[str, Sequence[str]], storage: Storage) -> None:
        super().__init__(cells, storage)
        self.cells, self.storage = cells, storage

    @property
    def what(self) -> str:
        """How many of which shard."""
        where = self.storage.where(FOLDER)
        return ", ".join(
            f"{some(clips, 'cell', 'cells')} of shard {where}/{shard}" for shard, clips in self.cells.items()
        )

    def __str__(self) -> str:
        return f"damaged or gone are {self.what} of the feature cache: launch again, and they are computed again"


def feature_hash(features: parts.Features) -> str:
    """Name of the folder of a feature set: 16 hexadecimal digits over what differs from the defaults."""
    fields = {"format": FORMAT, **Features.identity(features)}
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:16]


def feature_folder(features: parts.Features, cache_dir: str) -> Storage:
    """The folder of a feature set in a cache (a local folder or URI)."""
    return Storage(cache_dir).sub(feature_hash(features))


@dataclass(frozen=True)
class Manifest:
    """The cached features of one table of clips; what `raytag.features.cache.build_cache` returns.

    Attributes
    ----------
    rows : pd.DataFrame
        A row a clip, in the table's order: ``clip`` (id), ``content`` (hash of the file, "" where it could not
        be read), ``frames`` (int64, 0 where unusable), ``shard`` (file name, "" where unusable), ``reason``
        ("" where usable, else ``code: sentence``, see `raytag.features.decoding.UnusableClip`), ``remarks`` (the
        same of what is odd, joined by line ends; "" where nothing is).
    features : Features
        The parameters.
    storage : Storage
        The folder of the feature set.
    computed : int
        Clips that the build computed, those found unusable included; the others were cached.
    seconds : float
        Wall time of the build.
    workers : frozenset of str
        ``host:pid`` of the processes that computed.
    copies : tuple of Manifest
        Of the feature set's variants, whose clips are some of these.
    """

    rows: pd.DataFrame
    features: parts.Features
    storage: Storage
    computed: int = 0
    seconds: float = 0.0
    workers: frozenset[str] = field(default_factory=frozenset)
    copies: tuple[Manifest, ...] = ()

    @property
    def usable(self) -> pd.DataFrame:
        """Rows of the clips that have features."""
        return self.rows[self.rows["reason"] == ""]

    @property
    def quarantined(self) -> pd.DataFrame:
        """Rows of the clips that have none, with reasons."""
        return self.rows[self.rows["reason"] != ""]

    @property
    def codes(self) -> list[str]:
        """Why each of `quarantined` is, in a word; of a variant's also which: ``silent as pitch:-24``."""
        variant = self.features.variant and f" as {self.features.variant}"
        return [reason.split(":")[0] + variant for reason in self.quarantined["reason"]]

    @property
    def remarks(self) -> pd.DataFrame:
        """What is odd about recordings: a row a remark, with ``clip``, ``code`` and ``text``."""
        found = [
            (clip, *line.split(": ", 1))
            for clip, lines in zip(self.rows["clip"], self.rows["remarks"], strict=True)
            for line in lines.splitlines()
        ]
        return pd.DataFrame(found, columns=["clip", "code", "text"], dtype="str")

    @property
    def key(self) -> str:
        """16 hexadecimal digits that change with the parameters and with any usable clip's id or audio."""
        usable = self.usable
        content = [feature_hash(self.features), usable["clip"].tolist(), usable["content"].tolist()]
        content += [copy.key for copy in self.copies]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

    @property
    def findings(self) -> list[Finding]:
        """Unusable recordings that are there, and odd ones: a finding for each kind."""
        bad = pd.concat([m.quarantined.assign(code=m.codes) for m in (self, *self.copies)])
        bad = bad[bad["code"] != "missing"]  # which the tables alone show
        found = [
            Finding("unusable", some(own["clip"].tolist(), f"recording is {code}", f"recordings are {code}"))
            for code, own in bad.groupby("code")
        ]
        for code, own in self.remarks.groupby("code", sort=False):
            named = [f"{clip}: {text}" for clip, text in zip(own["clip"], own["text"], strict=True)]
            text = some(named, f"recording: {MEANING[str(code)]}", f"recordings: {MEANING[str(code)]}")
            found.append(Finding(str(code), text, wrong=code in WRONG))
        return found

    def bank(self, clips: Sequence[str] | None = None) -> Bank:
        """Assemble the features of these clips (by default of all usable ones) into one array.

        Raises
        ------
        CacheError
            A clip that is not usable or not in the manifest.
        DamagedCells
            All that are damaged or gone.
        """
        usable = self.usable.set_index("clip")
        wanted = list(usable.index if clips is None else clips)
        lacking = [clip for clip in wanted if clip not in usable.index]
        if lacking:
            why = self.quarantined.set_index("clip")["reason"].get(lacking[0], "it is not in the manifest")
            raise CacheError(f"clip {lacking[0]!r} has no features: {why}")
        rows = [m.usable.set_index("clip").reindex(wanted).reset_index() for m in (self, *self.copies)]
        frames = np.concatenate([own["frames"].fillna(0).to_numpy(np.int64) for own in rows])
        offsets = np.concatenate([[0], np.cumsum(frames)])
        buffer = np.empty((offsets[-1], self.features.width), np.int16)
        for number, (manifest, own) in enumerate(zip((self, *self.copies), rows, strict=True)):
            manifest._fill(buffer, offsets[number * len(wanted) :], own)
        return Bank(buffer, offsets, wanted, len(rows))

    @property
    def nbytes(self) -> int:
        """Of the buffer of `bank`, bytes."""
        own = self.usable["clip"]
        frames = sum(int(m.usable["frames"][m.usable["clip"].isin(own)].sum()) for m in (self, *self.copies))
        return frames * self.features.width * 2

    def _fill(self, buffer: np.ndarray, offsets: np.ndarray, rows: pd.DataFrame) -> None:
        """Copy the features of clips into their places; what is not usable has none."""
        width = buffer.shape[1]
        places: dict[str, dict[tuple[str, str], int]] = {}
        for i, clip, content, shard in rows.dropna(subset="shard")[["clip", "content", "shard"]].itertuples():
            places.setdefault(shard, {})[clip, content] = i

        def copy(shard: str) -> list[str]:
            """Put the features of a shard in their places; clips whose features are not there."""
            missing = dict(places[shard])
            try:
                for clip, content, values in read_features(self.storage, shard):
                    i = missing.get((clip, content))
                    if i is not None and len(values) == (offsets[i + 1] - offsets[i]) * width:
                        buffer[offsets[i] : offsets[i + 1]] = values.reshape(-1, width)
                        del missing[clip, content]
            except DamagedError:
                pass  # `salvage` looks for what it still holds
            return [clip for clip, _ in missing]

        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            damaged = {shard: clips for shard, clips in zip(places, pool.map(copy, places), strict=True) if clips}
        if damaged:
            raise DamagedCells(damaged, self.storage)


class Known:
    """What a cache folder holds already: cells (clip, content) and the index of files.

    Parameters
    ----------
    storage : Storage
        The folder of the feature set.
    console : Console
        For a word about what is damaged, and made again: tables from the shards, cells by the build.
    """

    def __init__(self, storage: Storage, console: Console) -> None:
        self.storage = storage
        #: (clip, content) -> (frames, shard, reason, remarks)
        self.cells: dict[tuple[str, str], tuple[int, str, str, str]] = {}
        #: (path, size, mtime_ns) -> content
        self.index: dict[tuple[str, int, int], str] = {}
        self.shards = storage.files(FOLDER)
        self._unread: list[str] = []
        cells, files = self._table("manifest.parquet", ROWS), self._table("index.parquet", FILES)
        self._read("build.json")
        if self._unread:
            names = " and ".join(self._unread)
            words = f"features: {names} in {storage.where()}: no digest, or a wrong one; made again"
            say(console, words, "yellow")
        listed: set[str] = set()
        if cells is not None:
            self._add_cells(cells)
            listed = set(cells["shard"])
            for shard in sorted(listed.difference(self.shards)):
                lost = int((cells["shard"] == shard).sum())
                say(console, f"features: shard {self._where(shard)} is gone, and with it {lost} cells", "yellow")
        if files is not None:
            self._add_files(files)
        self._look_into([shard for shard in self.shards if files is None or shard not in listed], console)
        #: Whether the tables should be written again.
        self.changed = bool(self._unread) or set(self.shards) != listed or (files is None and bool(self.shards))

    def _where(self, shard: str) -> str:
        return self.storage.where(f"{FOLDER}/{shard}")

    def _look_into(self, shards: list[str], console: Console) -> None:
        """Take in what shards hold; what is damaged is thrown away."""
        for shard in shards:
            try:
                table, damaged = read_cells(self.storage, shard)
                told = f"{damaged} cells of shard {self._where(shard)} are damaged"
            except DamagedError as error:
                table, damaged, told = None, 1, str(error)
            if damaged:
                say(console, f"features: {told}: computed again", "yellow")
                with suppress(OSError):  # on a disk that cannot be written it stays, and nobody believes it
                    salvage(self.storage, shard)
                    known, self.shards = self.shards, self.storage.files(FOLDER)
                    shards += [new for new in self.shards if new not in known]  # looked into by this very loop
                    continue
            if table is not None:
                frame = table.to_pandas()
                self._add_cells(frame.assign(shard=shard))
                self._add_files(frame)

    def _read(self, name: str) -> bytes | None:
        """A file of an earlier build; a missing, damaged or old one costs time, nothing else."""
        try:
            return _read_table(self.storage, name)
        except FileNotFoundError:
            return None
        except DamagedError:
            self._unread.append(name)
            return None

    def _table(self, name: str, columns: list[str]) -> pd.DataFrame | None:
        data = self._read(name)
        return None if data is None else pq.read_table(pa.BufferReader(data), columns=columns).to_pandas()

    def _add_cells(self, frame: pd.DataFrame) -> None:
        present = frame[frame["shard"].isin(self.shards)]
        columns = (present[name].tolist() for name in ROWS)
        for clip, content, *cell in zip(*columns, strict=True):
            self.cells.setdefault((clip, content), tuple(cell))

    def _add_files(self, frame: pd.DataFrame) -> None:
        columns = ("path", "size", "mtime_ns", "content")
        for path, size, mtime_ns, content in zip(*(frame[name].tolist() for name in columns), strict=True):
            self.index[path, size, mtime_ns] = content

    def add(self, results: pd.DataFrame) -> None:
        """Take in rows of ``shards.compute_batch`` whose content could be read."""
        readable = results[results["content"] != ""]
        self.shards = sorted({*self.shards, *readable["shard"]} - {""})
        self._add_cells(readable[readable["computed"]])
        self._add_files(readable)
        self.changed = self.changed or bool(len(readable))

    def contents(self) -> dict[str, list[str]]:
        """Known contents of each clip."""
        contents: dict[str, list[str]] = {}
        for clip, content in self.cells:
            contents.setdefault(clip, []).append(content)
        return contents

    def save(self, current: dict[str, tuple[int, int]]) -> None:
        """Write both tables; of the paths in ``current`` only the entry of this (size, mtime_ns) is kept."""
        cells = [(clip, content, *cell) for (clip, content), cell in self.cells.items()]
        files = [
            (path, size, mtime_ns, content)
            for (path, size, mtime_ns), content in self.index.items()
            if current.get(path, (size, mtime_ns)) == (size, mtime_ns)
        ]
        for name, rows, columns in (("manifest.parquet", cells, ROWS), ("index.parquet", files, FILES)):
            sink = pa.BufferOutputStream()
            table = pa.Table.from_pandas(pd.DataFrame(rows, columns=columns), preserve_index=False)
            pq.write_table(table, sink)
            self.storage.write(name, _sealed(sink.getvalue().to_pybytes()))


def find_damage(storage: Storage) -> Iterator[str]:
    """Read everything in a folder of features; what is damaged, a sentence each."""
    for name in TABLES:
        try:
            _read_table(storage, name)
        except FileNotFoundError:
            pass  # any of them may be deleted
        except DamagedError as error:
            yield f"{storage.where(name)}: {error}"
    for shard in storage.files(FOLDER):
        try:
            _, damaged = whole_rows(storage, shard)
        except DamagedError as error:
            yield str(error)
        else:
            if damaged:
                yield f"{damaged} cells of shard {storage.where(f'{FOLDER}/{shard}')} are damaged"


def _read_table(storage: Storage, name: str) -> bytes:
    """The content of one of `TABLES`; ``DamagedError`` where it is not whole or carries no digest."""
    data = storage.read(name)
    return _unsealed_json(data) if name.endswith(".json") else _unsealed(data)


def _unsealed_json(data: bytes) -> bytes:
    """JSON of `Storage.write_json`; ``DamagedError`` where it is not whole or has no digest."""
    try:
        value = json.loads(data)
        content, whole = unseal(value)
    except ValueError:
        value = content = whole = None
    if not whole or content is value:
        raise DamagedError("no digest, or a wrong one")
    return data


def _sealed(parquet: bytes) -> bytes:
    """A Parquet file with a digest of itself between its data and its footer, where no reader of Parquet looks."""
    at = len(parquet) - 8 - int.from_bytes(parquet[-8:-4], "little")
    return parquet[:at] + _SEAL + digest(parquet).encode() + parquet[at:]


def _unsealed(data: bytes) -> bytes:
    """The file that `_sealed` was given; ``DamagedError`` where it is not whole or has no digest."""
    end = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    parquet = data[: max(end - _SEAL_SIZE, 0)] + data[max(end, 0) :]
    if end < _SEAL_SIZE or data[end - _SEAL_SIZE : end] != _SEAL + digest(parquet).encode():
        raise DamagedError("no digest, or a wrong one")
    return parquet
