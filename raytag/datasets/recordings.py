"""What may be opened as a recording or a table, and how much a recording may ask for.

Folders of recordings hold named pipes, which make a reader wait for ever, and headers that promise ten hours of a
thousand channels: both are found out before anything is opened, and before anything is allocated.
"""

from __future__ import annotations

import errno
import os
import stat

#: Bounds that no option moves, because a process that decodes must live: they are generous for sound.
MAX_RATE = 10_000_000  # Hz
MAX_CHANNELS = 1024
MAX_SAMPLES = 2**30  # of all channels, or of the one that is left after resampling: 4 GiB
MAX_BYTES = 2**32  # of a file
#: Default of ``--max-clip-seconds``.
MAX_SECONDS = 7200.0

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def require_file(path: str | os.PathLike[str]) -> os.stat_result:
    """The status of a regular file that is not too large to be read.

    Raises
    ------
    OSError
        It is another thing, such as a named pipe, has more than `MAX_BYTES`, or is not there; ``strerror`` says so.
    """
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "something else")
        raise OSError(errno.EINVAL, f"it is {kind}, not a file", os.fspath(path))
    if status.st_size > MAX_BYTES:
        raise OSError(errno.EFBIG, f"it has {status.st_size} bytes, a file may have {MAX_BYTES}", os.fspath(path))
    return status


def check_header(frames: int, rate: int, channels: int) -> None:
    """Refuse what a header promises beyond the bounds of this module.

    Raises
    ------
    OverflowError
        With a sentence that has the number and the bound.
    """
    if channels > MAX_CHANNELS:
        raise OverflowError(f"the header announces {channels} channels; there may be {MAX_CHANNELS}")
    if rate > MAX_RATE:
        raise OverflowError(f"the header announces {rate} Hz; there may be {MAX_RATE}")
    if frames * channels > MAX_SAMPLES:
        raise OverflowError(
            f"the header announces {frames} frames of {channels} channels; there may be {MAX_SAMPLES} samples"
        )
