"""Where numba keeps compiled code, chosen before any kernel is defined.

numba stores it beside the sources, or in the user's cache folder where the package is not writable. Where neither
can be written (a package installed by root, a container without a home), it refuses to define a cached function at
all: ``RuntimeError: cannot cache function …: no locator available``. Then raytag takes a folder of this user below
the temporary folder: compiled code lasts until the machine cleans that up.

A folder of your own: set ``NUMBA_CACHE_DIR``.
"""

from __future__ import annotations

import getpass
import os
import sys
import tempfile
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]


def choose_cache_folder() -> None:
    """Set ``NUMBA_CACHE_DIR`` where numba would find no folder to write to; to be called before it is imported."""
    if not os.environ.get("NUMBA_CACHE_DIR") and _numbas_choice() is None:
        os.environ["NUMBA_CACHE_DIR"] = str(_private_folder(Path(tempfile.gettempdir())))


def kernel_folder() -> Path:
    """The folder in or below which numba keeps raytag's compiled code (beside the sources: one a package)."""
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    return Path(chosen) if chosen else _numbas_choice() or _private_folder(Path(tempfile.gettempdir()))


def _numbas_choice() -> Path | None:
    """Beside the sources, else the user's cache folder: where a file can be made first, as numba tries it."""
    for folder in (PACKAGE / "__pycache__", _user_cache() / "numba"):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        except OSError:
            continue
        return folder
    return None


def _user_cache() -> Path:
    """The user's cache folder of this platform, as numba finds it."""
    if sys.platform == "darwin":
        return Path("~/Library/Caches").expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", "~/AppData/Local")).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()


def _private_folder(temporary: Path) -> Path:
    """A folder that no other user can write to: what lies in it is loaded as code."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number that has no name
        user = str(os.getuid()) if hasattr(os, "getuid") else "user"
    folder = temporary / f"raytag-numba-{user}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.stat(follow_symlinks=False)
    except OSError:  # a file has that name
        mine = False
    else:
        mine = not hasattr(os, "getuid") or (status.st_uid == os.getuid() and not status.st_mode & 0o022)
    return folder if mine else Path(tempfile.mkdtemp(prefix=f"{folder.name}-", dir=temporary))
