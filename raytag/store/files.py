"""Files by name below one root, on a local disk or in an object store.

A thin layer over ``pyarrow.fs`` so that a run store or a cache may be ``runs``, ``/mnt/runs`` or
``s3://bucket/runs``. Writing replaces a file as a whole: on a disk through a temporary name and a rename,
in an object store by one PUT; a reader never sees half a file.
"""

from __future__ import annotations

import io
import json
import os
import re
import uuid
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from raytag.errors import redacted


class Storage:
    """Read and write whole files below ``uri``.

    Parameters
    ----------
    uri : str
        A local folder (made absolute) or a ``pyarrow.fs`` URI such as ``s3://bucket/runs``.
    """

    def __init__(self, uri: str | os.PathLike[str]) -> None:
        text = os.fspath(uri)
        if "://" in text:
            self.filesystem, self.root = pafs.FileSystem.from_uri(text)
            self.uri = text.rstrip("/")
        else:
            self.filesystem, self.root = pafs.LocalFileSystem(), str(Path(text).absolute())
            self.uri = self.root
        self.is_local = isinstance(self.filesystem, pafs.LocalFileSystem)

    def __reduce__(self) -> tuple[type[Storage], tuple[str]]:
        return Storage, (self.uri,)

    def sub(self, name: str) -> Storage:
        """The storage of a folder below this one."""
        base, _, query = self.uri.partition("?")
        return Storage(f"{base}/{name}" + (f"?{query}" if query else ""))

    def beside(self, name: str) -> Storage:
        """The storage of a folder next to this one."""
        base, _, query = self.uri.partition("?")
        return Storage(f"{base.rpartition('/')[0]}/{name}" + (f"?{query}" if query else ""))

    def where(self, name: str = "") -> str:
        """The path or URI of ``name``, for messages: without secrets."""
        base = redacted(self.uri.partition("?")[0])
        return f"{base}/{name}" if name else base

    def _path(self, name: str) -> str:
        return f"{self.root}/{name}" if name else self.root

    def exists(self, name: str) -> bool:
        return self.filesystem.get_file_info(self._path(name)).type != pafs.FileType.NotFound

    def read(self, name: str) -> bytes:
        """The content of a file; ``FileNotFoundError`` names it."""
        try:
            with self.filesystem.open_input_stream(self._path(name)) as stream:
                return bytes(stream.read())
        except FileNotFoundError:
            raise FileNotFoundError(f"{self.where(name)} does not exist") from None

    def write(self, name: str, data: bytes | pa.Buffer) -> None:
        """Put a file in place as a whole, making its folders."""
        path = self._path(name)
        if not self.is_local:
            with self.filesystem.open_output_stream(path) as stream:
                stream.write(data)
            return
        folder = os.path.dirname(path)
        os.makedirs(folder, exist_ok=True)
        temporary = f"{folder}/.{os.path.basename(path)}.{uuid.uuid4().hex[:8]}.tmp"
        try:
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise

    def delete(self, name: str) -> None:
        """Remove a file if it is there."""
        if self.exists(name):
            self.filesystem.delete_file(self._path(name))

    def delete_folder(self, name: str) -> None:
        """Remove a folder and all that is in it, if it is there."""
        if self.exists(name):
            self.filesystem.delete_dir(self._path(name))

    def folders(self, name: str = "") -> list[str]:
        """Names of the folders directly below ``name``, sorted."""
        return self._list(name, pafs.FileType.Directory)

    def files(self, name: str = "") -> list[str]:
        """Names of the files directly below ``name``, sorted, temporary ones left out."""
        return [f for f in self._list(name, pafs.FileType.File) if not f.startswith(".")]

    def _list(self, name: str, kind: pafs.FileType) -> list[str]:
        selector = pafs.FileSelector(self._path(name), allow_not_found=True)
        return sorted(info.base_name for info in self.filesystem.get_file_info(selector) if info.type == kind)

    def modified(self, name: str) -> float:
        """Seconds since the epoch at which a file was last written."""
        return float(self.filesystem.get_file_info(self._path(name)).mtime_ns or 0) / 1e9

    def read_json(self, name: str) -> Any:
        data = self.read(name)
        try:
            return json.loads(data)
        except json.JSONDecodeError as error:
            raise ValueError(f"{self.where(name)} is not valid JSON: {error}") from None

    def write_json(self, name: str, value: Any) -> None:
        self.write(name, (json.dumps(value, indent=2) + "\n").encode())

    def read_parquet(self, name: str) -> pd.DataFrame:
        return pq.read_table(io.BytesIO(self.read(name))).to_pandas()

    def write_parquet(self, name: str, frame: pd.DataFrame) -> None:
        sink = io.BytesIO()
        pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), sink)
        self.write(name, sink.getvalue())

    def read_csv(self, name: str) -> pd.DataFrame:
        return pd.read_csv(io.BytesIO(self.read(name)), keep_default_na=False, na_values=[""])

    def write_csv(self, name: str, frame: pd.DataFrame) -> None:
        self.write(name, frame.to_csv(index=False).encode())


def check_name(option: str, name: str) -> None:
    """Refuse a name of a folder that would lie elsewhere, or that later commands would not find.

    Raises
    ------
    ValueError
        With the option and what a name may be.
    """
    if re.search(r"[/\\?#:*\x00-\x1f]", name) or name.startswith(".") or name != name.strip() or not name:
        raise ValueError(
            f"{option} {name}: the name of a folder cannot begin with a dot, or hold any of / \\ ? # : *"
        )
