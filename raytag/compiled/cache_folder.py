"""The one folder for compiled code, chosen before any kernel is defined.

It is ``$NUMBA_CACHE_DIR`` where that is set, else ``raytag/kernels`` in the user's cache folder. Where that cannot
be written (a container without a home), it is a folder of this user below the temporary folder: compiled code lasts
until the machine cleans that up. numba keeps a folder in it for each folder of sources, so checkouts can share it.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def choose_cache_folder() -> None:
    """Set ``NUMBA_CACHE_DIR`` where it is not set; children inherit it."""
    if not os.environ.get("NUMBA_CACHE_DIR"):
        folder = next(filter(_is_private, _folders()), None) or tempfile.mkdtemp(prefix="raytag-kernels-")
        os.environ["NUMBA_CACHE_DIR"] = str(folder)
        if "numba" in sys.modules:  # which has read the environment
            sys.modules["numba"].config.CACHE_DIR = str(folder)


def _folders() -> Iterator[Path]:
    user_cache = "~/Library/Caches" if sys.platform == "darwin" else os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    with suppress(RuntimeError):  # nobody knows where ~ is
        yield Path(user_cache).expanduser().absolute() / "raytag" / "kernels"
    yield Path(tempfile.gettempdir()) / f"raytag-kernels-{os.getuid() if hasattr(os, 'getuid') else 'user'}"


def _is_private(folder: Path) -> bool:
    """Whether this user can write to a folder, and no other one: what lies in it is loaded as code."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
        status = folder.stat(follow_symlinks=False)
    except OSError:
        return False
    return not hasattr(os, "getuid") or (status.st_uid == os.getuid() and not status.st_mode & 0o022)
