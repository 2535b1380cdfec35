"""The bank: the features of many clips in one contiguous array, made to be shared by all trials of a node.

It lives in Ray's object store, or in a file that the trials of a node map into memory; either way it is
read-only, one copy serves all processes, and the numbers are the same.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import uuid
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

from raytag.compiled.cache_folder import private_folder
from raytag.compiled.vectors import LANES, store_transposed
from raytag.errors import DamagedError, RefusedError
from raytag.store.digest import digest

#: Steps of the fixed point in a dB: an int16 of n stands for n / 256 dB, -128 to 127.996 dB, to 0.002 dB.
SCALE = 256

_MAGIC = b"raytag bank 3\n"
_PAGE = 4096  # bytes; the mapped frames begin at a multiple of it
_DIGEST_SIZE = len(digest(b""))
#: Files whose frames this process has compared with their digest: device, inode, time of change, size.
_checked: set[tuple[int, int, int, int]] = set()


class Bank:
    """The frames of many clips, one after the other; then those of variants of them, variant after variant.

    Parameters
    ----------
    buffer : int16 (total_frames, width)
        Frames of the first clip first, C-contiguous. Their unit is the feature set's: of log-mels dB times `SCALE`.
    offsets : int64 (copies · n_clips + 1,)
        Row i is ``buffer[offsets[i] : offsets[i + 1]]``: of clip i the recording, and in row v · n_clips + i its
        variant number v, which has no frames where it is left out.
    clips : sequence of str
        Clip ids, unique.
    copies : int
        1 and the number of variants.

    Notes
    -----
    The arrays are made read-only. ``ray.put(bank)`` stores the buffer once and ``ray.get`` maps it without a
    copy; a bank that is mapped from a file travels as the file's path instead.
    """

    def __init__(self, buffer: np.ndarray, offsets: np.ndarray, clips: Sequence[str], copies: int = 1) -> None:
        if buffer.dtype != np.int16 or buffer.ndim != 2 or not buffer.flags.c_contiguous:
            raise ValueError(
                f"buffer must be C-contiguous int16 (total_frames, width), not {buffer.dtype} {buffer.shape}"
            )
        if len(offsets) != copies * len(clips) + 1 or offsets[0] != 0 or offsets[-1] != len(buffer):
            raise ValueError(
                f"{len(offsets)} offsets from {offsets[0]} to {offsets[-1]} do not divide {len(buffer)} frames "
                f"among {copies} x {len(clips)} clips"
            )
        self.buffer = buffer
        self.offsets = np.ascontiguousarray(offsets, np.int64)
        self.clips = tuple(clips)
        self.copies = copies
        for array in (self.buffer, self.offsets):
            array.flags.writeable = False
        self._rows: dict[str, int] | None = None
        self._path: str | None = None

    @classmethod
    def from_logmels(cls, clips: Sequence[str], logmels: Sequence[np.ndarray]) -> Bank:
        """Build a bank from float32 (n_mels, T) spectrograms in dB.

        Raises
        ------
        ValueError
            Different numbers of bands, or values that `quantise` refuses; the message names the clip.
        """
        if len(clips) != len(logmels):
            raise ValueError(f"{len(clips)} clip ids for {len(logmels)} spectrograms")
        n_mels = {len(logmel) for logmel in logmels}
        if len(n_mels) > 1:
            raise ValueError(f"spectrograms of one bank must have equally many bands, not {sorted(n_mels)}")
        offsets = np.cumsum([0, *(logmel.shape[1] for logmel in logmels)], dtype=np.int64)
        buffer = np.empty((offsets[-1], n_mels.pop() if n_mels else 0), np.int16)
        for i, (clip, logmel) in enumerate(zip(clips, logmels, strict=True)):
            try:
                buffer[offsets[i] : offsets[i + 1]] = quantise(logmel)
            except ValueError as error:
                raise ValueError(f"{clip}: {error}") from None
        return cls(buffer, offsets, clips)

    def __len__(self) -> int:
        return len(self.clips)

    def __repr__(self) -> str:
        where = f", mapped from {self._path}" if self._path else ""
        copies = f" in {self.copies} copies" if self.copies > 1 else ""
        return f"<Bank of {len(self)} clips{copies}, {len(self.buffer)} frames of {self.width} values{where}>"

    @property
    def width(self) -> int:
        """Values of a frame, such as mel bands."""
        return int(self.buffer.shape[1])

    @property
    def is_mapped(self) -> bool:
        """Whether it is mapped from a file."""
        return self._path is not None

    @property
    def frames(self) -> np.ndarray:
        """int64 (copies · n_clips,): frames of each row."""
        return np.diff(self.offsets)

    @property
    def nbytes(self) -> int:
        """Bytes of the buffer."""
        return int(self.buffer.nbytes)

    def logmel(self, i: int) -> np.ndarray:
        """Clip number ``i`` of a bank of log-mels as float32 (n_mels, T), dB; a copy."""
        fixed = self.buffer[self.offsets[i] : self.offsets[i + 1]]
        return np.ascontiguousarray(fixed.T, np.float32) / np.float32(SCALE)

    def index(self, clip_ids: Iterable[str]) -> np.ndarray:
        """Rows of clips by id, int64; ``KeyError`` names a clip that the bank does not hold."""
        if self._rows is None:
            self._rows = {clip: i for i, clip in enumerate(self.clips)}
        wanted = list(clip_ids)
        try:
            return np.fromiter((self._rows[clip] for clip in wanted), np.int64, len(wanted))
        except KeyError as error:
            raise KeyError(f"clip {error.args[0]!r} is not among the {len(self)} clips of this bank") from None

    @property
    def originals(self) -> Bank:
        """The recordings alone, without variants; not copied."""
        offsets = self.offsets[: len(self) + 1]
        return self if self.copies == 1 else Bank(self.buffer[: offsets[-1]], offsets, self.clips)

    def copy_of(self, rows: np.ndarray, u: np.ndarray) -> np.ndarray:
        """Rows of one copy of each clip, int64 (n,); those that there are, the recording too, are equally likely.

        Parameters
        ----------
        rows : int64 (n,)
            The clips' own rows.
        u : float64 (n,)
            Uniform in [0, 1).
        """
        cells = rows + len(self) * np.arange(self.copies)[:, None]
        there = np.cumsum(self.offsets[cells + 1] > self.offsets[cells], axis=0)  # up to each copy
        return cells[(there > u * there[-1]).argmax(axis=0), np.arange(len(rows))]

    def __reduce__(self) -> tuple[Any, ...]:
        if self._path is not None:
            return Bank.memmap, (self._path,)
        return Bank, (self.buffer, self.offsets, self.clips, self.copies)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the bank to one file, through a temporary name: a reader never finds half of it.

        The file: a magic line, the length of a JSON header (8 bytes, little-endian), the header's digest, the
        header (width, frames of the rows, ids of the clips, copies, digest of the buffer), zeros up to a multiple
        of 4096, the buffer as little-endian int16.
        """
        path = Path(path)
        buffer = self.buffer.astype("<i2", copy=False)
        header = {"width": self.width, "frames": self.frames.tolist(), "clips": self.clips, "copies": self.copies}
        text = json.dumps({**header, "digest": digest(buffer.data)}).encode()
        head = _MAGIC + len(text).to_bytes(8, "little") + digest(text).encode() + text
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(temporary, "wb") as file:
                file.write(head + bytes(-len(head) % _PAGE))
                buffer.tofile(file)
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    @classmethod
    def memmap(cls, path: str | os.PathLike[str]) -> Bank:
        """Map a file of `save` into memory. A process reads all of it once, to compare it with its digest.

        Raises
        ------
        DamagedError
            The file is no bank of this version, or not what was written, or another user may have written it.
        """
        path = Path(path).absolute()
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o022:
                raise DamagedError(f"{path} is not a file that only this user may write")
            head = file.read(len(_MAGIC) + 8 + _DIGEST_SIZE)
            length = int.from_bytes(head[len(_MAGIC) : len(_MAGIC) + 8], "little")
            if not head.startswith(_MAGIC):
                raise DamagedError(f"{path} is not a bank file of this version of raytag")
            text = file.read(min(length, status.st_size))
            zeros = file.read(-(len(head) + length) % _PAGE)
            if digest(text).encode() != head[len(_MAGIC) + 8 :] or any(zeros):
                raise DamagedError(f"the header of {path} is damaged")
            header = json.loads(text)
            start = len(head) + length + len(zeros)
            offsets = np.cumsum([0, *header["frames"]], dtype=np.int64)
            shape = (int(offsets[-1]), header["width"])
            expected = start + 2 * shape[0] * shape[1]
            if status.st_size != expected:
                raise DamagedError(f"{path} has {status.st_size} bytes instead of {expected}")
            buffer = np.memmap(file, "<i2", "r", start, shape) if shape[0] * shape[1] else np.empty(shape, np.int16)
        key = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
        if key not in _checked:
            if digest(buffer.data) != header["digest"]:
                raise DamagedError(f"the features in {path} are damaged")
            _checked.add(key)
        bank = cls(buffer, offsets, header["clips"], header.get("copies", 1))
        bank._path = str(path)
        return bank


def mapped_bank(key: str, assemble: Callable[[], Bank], say: Callable[[str], None]) -> Bank:
    """Map this node's file of a bank, assembling it first if it is not there, or not to be trusted.

    Parameters
    ----------
    key : str
        Its name; changes with the content. Two processes that assemble at once write the same, and the last wins.
    assemble : callable
        Makes the bank.
    say : callable
        Takes a word on why a file that is there is assembled anew.

    Raises
    ------
    RefusedError
        There is no room for it, or no folder of this user's own; the message names the folder.
    """
    path = private_folder("raytag-banks") / key
    try:
        return Bank.memmap(path)
    except FileNotFoundError:
        pass
    except (DamagedError, OSError) as error:
        say(f"{error}: it is assembled anew")
    bank = assemble()
    try:
        bank.save(path)
    except OSError as error:
        free = shutil.disk_usage(path.parent).free
        raise RefusedError(
            f"the features of {len(bank)} clips, {bank.nbytes / 1e9:.1f} GB, cannot be written to {path.parent} "
            f"({error.strerror}; {free / 1e9:.1f} GB are free): make room there, or set TMPDIR to another folder"
        ) from error
    return Bank.memmap(path)


def quantise(logmel: np.ndarray) -> np.ndarray:
    """Log-mel to fixed point: float32 (n_mels, T) dB to int16 (T, n_mels), rounded to 1/256 dB.

    Raises
    ------
    ValueError
        A value is NaN or outside -128 .. 127.996 dB.
    """
    fixed, fits = _quantise(np.ascontiguousarray(logmel, np.float32))
    if not fits:
        raise ValueError(
            f"log-mel values from {np.min(logmel):g} to {np.max(logmel):g} dB do not fit the bank's fixed point, "
            f"-128 to 127.996 dB"
        )
    return fixed


@njit(cache=True, nogil=True)
def _quantise(logmel: np.ndarray) -> tuple[np.ndarray, bool]:
    n_mels, frames = logmel.shape
    turned = np.empty((frames, n_mels), np.float32)
    if n_mels < LANES or frames < LANES:
        turned[:] = logmel.T
    else:
        source, target = logmel.reshape(-1), turned.reshape(-1)
        for m in range(0, n_mels, LANES):
            m = min(m, n_mels - LANES)  # the last tile overlaps the one before
            for t in range(0, frames, LANES):
                t = min(t, frames - LANES)
                store_transposed(source, m * frames + t, frames, target, t * n_mels + m, n_mels)
    out = np.empty((frames, n_mels), np.int16)
    misfits = 0
    for t in range(frames):
        for m in range(n_mels):
            value = np.rint(turned[t, m] * np.float32(SCALE))
            misfits += not (value >= np.float32(-32768) and value <= np.float32(32767))
            out[t, m] = np.int16(value)
    return out, misfits == 0
