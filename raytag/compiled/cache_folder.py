"""The one folder for compiled code, chosen before any kernel is defined.

It lies in ``$NUMBA_CACHE_DIR`` where that is set, else in ``raytag/kernels`` in the user's cache folder. Where that
cannot be written (a container without a home), it lies in a folder of this user below the temporary folder:
compiled code lasts until the machine cleans that up. numba keeps a folder in it for each folder of sources, so
checkouts can share it.

Its name there is a digest of all sources that have to do with numba. numba itself looks at a function's file alone:
it would run code that was compiled with an older helper of another file, and fails on what it stored under the name
of a type that has another name today.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

from raytag.errors import RefusedError

#: The package's folder by the name that numba knows it by: links are not followed.
PACKAGE = Path(os.path.abspath(__file__)).parents[1]


def choose_cache_folder() -> None:
    """Set ``NUMBA_CACHE_DIR`` to a folder of these sources' own; children inherit it."""
    given = os.environ.get("NUMBA_CACHE_DIR")
    if given and Path(given).name == kernel_digest():
        return
    folder = Path(given or next(filter(is_private, _user_cache()), None) or private_folder("raytag-kernels"))
    folder /= kernel_digest()
    with suppress(OSError):  # then nothing is kept
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.environ["NUMBA_CACHE_DIR"] = str(folder)
    if "numba" in sys.modules:  # which has read the environment
        sys.modules["numba"].config.CACHE_DIR = str(folder)


def kernel_sources() -> list[Path]:
    """raytag's source files that have to do with numba, sorted."""
    return [path for path in sorted(PACKAGE.rglob("*.py")) if b"numba" in path.read_bytes()]


@cache
def kernel_digest() -> str:
    """16 hexadecimal digits for the kernels' sources."""
    digest = hashlib.sha256()
    for path in kernel_sources():
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _user_cache() -> Iterator[Path]:
    user_cache = "~/Library/Caches" if sys.platform == "darwin" else os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    with suppress(RuntimeError):  # nobody knows where ~ is
        yield Path(user_cache).expanduser().absolute() / "raytag" / "kernels"


def is_private(folder: Path, forbidden: int = 0o022) -> bool:
    """Whether this user can write to a folder, which is made where it is missing, and others cannot.

    ``forbidden`` are the rights that others may not have: what lies in it is loaded as code, or believed.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
        status = folder.stat(follow_symlinks=False)
    except OSError:
        return False
    return not hasattr(os, "getuid") or (status.st_uid == os.getuid() and not status.st_mode & forbidden)


def private_folder(name: str) -> Path:
    """A folder of that name in the system's temporary one that nobody else can enter, made if need be.

    Everybody may write to the temporary folder: where the name is taken by others, or open to them, another one is.

    Raises
    ------
    RefusedError
        All names are taken, or the folder cannot be made.
    """
    path = f"{tempfile.gettempdir()}/{name}-{os.getuid() if hasattr(os, 'getuid') else 'user'}"
    for number in range(10):
        folder = Path(path + f"-{number}" * (number > 0))
        if is_private(folder, 0o077):
            return folder
    raise RefusedError(f"{path} is no folder that this user alone can enter and write to: set TMPDIR to another")
