"""The manifest of a mel cache: which clip lies in which shard, and which are unusable and why.

The shards are the truth; ``manifest.parquet`` and ``index.parquet`` beside them spare looking into all of them
and reading all recordings again. Either may be deleted, and of two builders that write them at once either may
win: shards that the manifest does not list are looked into by the next build.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pyarrow as pa
from rich.console import Console

from raytag.console import say
from raytag.datasets.findings import Finding, some
from raytag.experiment import Features
from raytag.features.bank import Bank
from raytag.features.remarks import MEANING, WRONG
from raytag.features.shards import FOLDER, read_cells, read_features
from raytag.store.files import Storage

#: Raised whenever a change of raytag makes the same recording give other features.
FORMAT = 2

#: Columns of ``Manifest.rows``.
ROWS = ["clip", "content", "frames", "shard", "reason", "remarks"]


class CacheError(ValueError):
    """A mel cache that cannot serve; the message says what to do."""


def feature_hash(features: Features) -> str:
    """Name of the folder of a feature set: 16 hexadecimal digits over its parameters."""
    fields = {"format": FORMAT, **features.model_dump(mode="json")}
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:16]


def feature_folder(features: Features, cache_dir: str) -> Storage:
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
    """

    rows: pd.DataFrame
    features: Features
    storage: Storage
    computed: int = 0
    seconds: float = 0.0
    workers: frozenset[str] = field(default_factory=frozenset)

    @property
    def usable(self) -> pd.DataFrame:
        """Rows of the clips that have features."""
        return self.rows[self.rows["reason"] == ""]

    @property
    def quarantined(self) -> pd.DataFrame:
        """Rows of the clips that have none, with reasons."""
        return self.rows[self.rows["reason"] != ""]

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
        """16 hexadecimal digits that change with the parameters and with any clip's id or audio."""
        content = [feature_hash(self.features), self.rows["clip"].tolist(), self.rows["content"].tolist()]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

    @property
    def findings(self) -> list[Finding]:
        """Unusable recordings that are there, and odd ones: a finding for each kind."""
        bad = self.quarantined.assign(code=[reason.split(":")[0] for reason in self.quarantined["reason"]])
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
            A clip that is not usable or not in the manifest, or a shard that is damaged or gone.
        """
        usable = self.usable.set_index("clip")
        wanted = list(usable.index if clips is None else clips)
        rows = usable.reindex(wanted)
        if rows["shard"].isna().any():
            clip = rows.index[rows["shard"].isna()][0]
            bad = self.quarantined.set_index("clip")["reason"]
            raise CacheError(f"clip {clip!r} has no features: {bad.get(clip, 'it is not in the manifest')}")
        n_mels = self.features.n_mels
        offsets = np.concatenate([[0], np.cumsum(rows["frames"].to_numpy(np.int64))])
        buffer = np.empty((offsets[-1], n_mels), np.int16)
        places: dict[str, dict[tuple[str, str], int]] = {}
        for i, (clip, content, shard) in enumerate(zip(wanted, rows["content"], rows["shard"], strict=True)):
            places.setdefault(shard, {})[clip, content] = i

        def copy(shard: str) -> None:
            missing = dict(places[shard])
            try:
                for clip, content, values in read_features(self.storage, shard):
                    i = missing.pop((clip, content), None)
                    if i is not None:
                        buffer[offsets[i] : offsets[i + 1]] = values.reshape(-1, n_mels)
            except (OSError, ValueError, pa.ArrowException) as error:
                raise self._damaged(shard, str(error)) from error
            if missing:
                raise self._damaged(shard, f"it lacks clip {next(iter(missing))[0]!r}")

        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            list(pool.map(copy, places))
        return Bank(buffer, offsets, wanted)

    def _damaged(self, shard: str, why: str) -> CacheError:
        where = self.storage.where(f"{FOLDER}/{shard}")
        return CacheError(f"shard {where} of the mel cache is damaged or gone ({why}); delete it and launch again")


class Known:
    """What a cache folder holds already: cells (clip, content) and the index of files.

    Parameters
    ----------
    storage : Storage
        The folder of the feature set.
    console : Console
        For a warning about a damaged shard, whose clips are then computed again.
    """

    def __init__(self, storage: Storage, console: Console) -> None:
        self.storage = storage
        #: (clip, content) -> (frames, shard, reason, remarks)
        self.cells: dict[tuple[str, str], tuple[int, str, str, str]] = {}
        #: (path, size, mtime_ns) -> content
        self.index: dict[tuple[str, int, int], str] = {}
        self.shards = storage.files(FOLDER)
        listed: set[str] = set()
        cells = self._read("manifest.parquet")
        if cells is not None:
            self._add_cells(cells)
            listed = set(cells["shard"])
        files = self._read("index.parquet")
        if files is not None:
            self._add_files(files)
        for shard in self.shards:
            if shard in listed:
                continue
            try:
                frame = read_cells(storage, shard).to_pandas()
            except (OSError, ValueError, pa.ArrowException) as error:
                where = storage.where(f"{FOLDER}/{shard}")
                say(
                    console, f"features: shard {where} is damaged ({error}); its clips are computed again", "yellow"
                )
                storage.delete(f"{FOLDER}/{shard}")
                continue
            self._add_cells(frame.assign(shard=shard))
            self._add_files(frame)
        self.changed = set(self.shards) != listed

    def _read(self, name: str) -> pd.DataFrame | None:
        """A table of an earlier build; a damaged or missing one costs time, nothing else."""
        try:
            return self.storage.read_parquet(name)
        except (FileNotFoundError, pa.ArrowInvalid):
            return None

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
        self.storage.write_parquet("manifest.parquet", pd.DataFrame(cells, columns=ROWS))
        files = [
            (path, size, mtime_ns, content)
            for (path, size, mtime_ns), content in self.index.items()
            if current.get(path, (size, mtime_ns)) == (size, mtime_ns)
        ]
        columns = ["path", "size", "mtime_ns", "content"]
        self.storage.write_parquet("index.parquet", pd.DataFrame(files, columns=columns))
