"""Files by name below one root, on a local disk or in an object store.

A thin layer over ``pyarrow.fs`` so that a run store or a cache may be ``runs``, ``/mnt/runs`` or
``s3://bucket/runs``. Writing replaces a file as a whole: on a disk through a temporary name and a rename,
in an object store by one PUT; a reader never sees half a file. What was written is on the disk, content and name,
when writing returns: a loss of power takes nothing back.
"""

from __future__ import annotations

import errno
import io
import json
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from raytag.errors import DamagedError, NoRoomError, redacted
from raytag.store.digest import digest, seal, unseal

#: What is known of a file: ``{"bytes": size, "digest": …}``; empty for files of before there were digests.
Kept = Mapping[str, Any]


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
        #: Called where a disk is full, before writing is tried again; it raises to give up. By default none waits.
        self.patience: Callable[[NoRoomError], None] | None = None

    def __reduce__(self) -> tuple[type[Storage], tuple[str]]:
        return Storage, (self.uri,)

    def sub(self, name: str) -> Storage:
        """The storage of a folder below this one."""
        base, _, query = self.uri.partition("?")
        below = Storage(f"{base}/{name}" + (f"?{query}" if query else ""))
        below.patience = self.patience
        return below

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

    def read(self, name: str, kept: Kept | None = None) -> bytes:
        """The content of a file.

        Raises
        ------
        FileNotFoundError
            Named by path or URI.
        DamagedError
            It is not what was kept.
        """
        try:
            with self.filesystem.open_input_stream(self._path(name)) as stream:
                data = bytes(stream.read())
        except FileNotFoundError:
            raise FileNotFoundError(f"{self.where(name)} does not exist") from None
        if kept and kept["digest"] != digest(data):
            raise DamagedError(f"{self.where(name)} is damaged: it does not hold what was written")
        return data

    def write(self, name: str, data: bytes | pa.Buffer) -> dict[str, Any]:
        """Put a file in place as a whole, making its folders; what to keep of it for `read`.

        Raises
        ------
        NoRoomError
            The disk is full, or not to be written to.
        """
        path = self._path(name)
        if not self.is_local:
            with self.filesystem.open_output_stream(path) as stream:
                stream.write(data)
        else:
            self._until_there_is_room(lambda: _put(path, data))
        return {"bytes": len(data), "digest": digest(data)}

    def _until_there_is_room(self, write: Callable[[], None]) -> None:
        while True:
            try:
                return write()
            except NoRoomError as error:
                if self.patience is None or error.errno not in FULL:
                    raise
                self.patience(error)

    def append(self, name: str, line: str) -> None:
        """Add a line to a file on a local disk, where it lies when this returns; `NoRoomError` as in `write`."""
        path = self._path(name)
        self._until_there_is_room(lambda: _append(path, line.encode() + b"\n"))

    def move(self, name: str, target: str) -> None:
        """Give a file another name below this root; on a disk in one step."""
        if self.is_local:
            os.makedirs(os.path.dirname(self._path(target)), exist_ok=True)
        self.filesystem.move(self._path(name), self._path(target))

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

    def sizes(self, name: str = "") -> dict[str, int]:
        """Bytes of the files directly below ``name``, temporary ones left out."""
        selector = pafs.FileSelector(self._path(name), allow_not_found=True)
        found = self.filesystem.get_file_info(selector)
        return {i.base_name: i.size for i in found if i.type == pafs.FileType.File and i.base_name[0] != "."}

    def _list(self, name: str, kind: pafs.FileType) -> list[str]:
        selector = pafs.FileSelector(self._path(name), allow_not_found=True)
        return sorted(info.base_name for info in self.filesystem.get_file_info(selector) if info.type == kind)

    def modified(self, name: str) -> float:
        """Seconds since the epoch at which a file was last written."""
        return float(self.filesystem.get_file_info(self._path(name)).mtime_ns or 0) / 1e9

    def read_json(self, name: str) -> Any:
        """What `write_json` wrote; a `DamagedError` where it is not that."""
        data = self.read(name)
        try:
            value, whole = unseal(json.loads(data))
        except ValueError as error:
            raise DamagedError(f"{self.where(name)} is damaged: it is not valid JSON ({error})") from None
        if not whole:
            raise DamagedError(f"{self.where(name)} is damaged: it does not hold what was written")
        return value

    def write_json(self, name: str, value: Mapping[str, Any]) -> None:
        """An object and its digest."""
        self.write(name, (json.dumps(seal(value), indent=2) + "\n").encode())

    def read_parquet(self, name: str, kept: Kept | None = None) -> pd.DataFrame:
        data = self.read(name, kept)
        try:
            table = pq.read_table(io.BytesIO(data))
            if not kept:
                table.validate(full=True)  # names that are no text would be found much later
            return table.to_pandas()
        except (pa.ArrowException, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise DamagedError(f"{self.where(name)} is damaged: {error}") from None

    def write_parquet(self, name: str, frame: pd.DataFrame) -> dict[str, Any]:
        sink = io.BytesIO()
        pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), sink)
        return self.write(name, sink.getvalue())

    def read_csv(self, name: str, kept: Kept | None = None) -> pd.DataFrame:
        data = self.read(name, kept)
        try:
            return pd.read_csv(io.BytesIO(data), keep_default_na=False, na_values=[""])
        except ValueError as error:
            raise DamagedError(f"{self.where(name)} is damaged: {error}") from None

    def write_csv(self, name: str, frame: pd.DataFrame) -> dict[str, Any]:
        return self.write(name, frame.to_csv(index=False).encode())


#: What the system says of a disk that is full, and of one that is not to be written to.
FULL = {errno.ENOSPC, errno.EDQUOT}
NO_ROOM = FULL | {errno.EROFS, errno.EACCES, errno.EPERM}


def _put(path: str, data: bytes | pa.Buffer) -> None:
    folder, name = os.path.split(path)
    temporary = f"{folder}/.{name}.{uuid.uuid4().hex[:8]}.tmp"
    with _no_room(folder, len(data)):
        try:
            os.makedirs(folder, exist_ok=True)
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
            _sync_folder(folder)
        except BaseException:
            with suppress(OSError):  # the disk went away
                Path(temporary).unlink(missing_ok=True)
            raise


def _append(path: str, data: bytes) -> None:
    with _no_room(os.path.dirname(path), len(data)), open(path, "r+b", buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        try:
            if file.write(data) < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(file.fileno())
        except OSError:
            with suppress(OSError):
                file.truncate(end)  # half a line would swallow the next
            raise


@contextmanager
def _no_room(folder: str, size: int) -> Iterator[None]:
    """Name the folder and its room where the system only says that there is none."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        words = f"{folder} cannot be written to ({error.strerror})"
        if error.errno in FULL:
            there = next(p for p in (Path(folder), *Path(folder).parents) if p.exists())
            free = shutil.disk_usage(there).free
            words = f"{folder} has no room ({error.strerror}): {size:,} bytes to write, {free:,} are free there"
        raise NoRoomError(error.errno, words) from None


def _sync_folder(folder: str) -> None:
    """A name is on the disk only when its folder is."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


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
