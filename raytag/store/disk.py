"""What a run takes of the disk: its files with their sizes, by what they are for."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import NamedTuple

import pyarrow.fs as pafs

from raytag.store.files import Storage

KINDS = ("weights", "checkpoints", "predictions", "rest")
TEMPORARY_SECONDS = 3600.0  # a temporary file of this age belongs to a writer that was killed


class StoredFile(NamedTuple):
    """A file of a run: its name below the run's folder, size (bytes), and time of change (s since 1970)."""

    name: str
    size: int
    modified: float

    @property
    def base(self) -> str:
        """Its name in its folder."""
        return self.name.rpartition("/")[2]

    @property
    def kind(self) -> str:
        """One of `KINDS`."""
        if self.base == "weights.safetensors":
            return "weights"
        if self.base.startswith("checkpoint"):
            return "checkpoints"
        predictions = ("oof.parquet", "test.parquet", "pseudo.parquet", "windows.parquet", "submission.csv")
        return "predictions" if self.base in predictions else "rest"

    @property
    def abandoned(self) -> bool:
        """Whether it is what a writer left that was killed before its file was whole."""
        old = time.time() - self.modified > TEMPORARY_SECONDS
        return self.base.startswith(".") and self.base.endswith(".tmp") and old


def stored_files(storage: Storage) -> list[StoredFile]:
    """Every file below a folder, temporary ones too, by name."""
    selector = pafs.FileSelector(storage.root, allow_not_found=True, recursive=True)
    start = len(storage.root.rstrip("/")) + 1
    return sorted(
        StoredFile(info.path[start:], int(info.size or 0), (info.mtime_ns or 0) / 1e9)
        for info in storage.filesystem.get_file_info(selector)
        if info.type == pafs.FileType.File
    )


def sizes(files: Iterable[StoredFile]) -> dict[str, int]:
    """Bytes by kind."""
    found = dict.fromkeys(KINDS, 0)
    for file in files:
        found[file.kind] += file.size
    return found


def kept_checkpoints(files: Iterable[StoredFile]) -> list[StoredFile]:
    """The checkpoints of finished folds: only a longer training can still use them."""
    files = list(files)
    finished = {f.name.removesuffix("result.json") for f in files if f.base == "result.json"}
    return [f for f in files if f.kind == "checkpoints" and f.name.removesuffix(f.base) in finished]
