"""What a launch or a search said, kept in ``runs/RUN/log.txt``: what scrolled away can be read later.

One line each, with the time (UTC): every line that was said but progress (`raytag.console.say`), how each trial
ended, warnings of Python and records of level WARNING and above of this process, and the error that ended it. A
convenience beside the event log, which decides: where it cannot be written nothing ends, and lines wait for room.
"""

from __future__ import annotations

import datetime
import logging
import os
import platform
import threading
import time
import warnings
from types import TracebackType
from typing import Self, TextIO

from raytag import __version__
from raytag.console import listeners
from raytag.store.files import Storage

FILE = "log.txt"
UPLOAD_SECONDS = 60.0  # least time between two writes to an object store, which has no append
MOST_WAITING = 10_000  # lines that wait for room on the disk; older ones are given up
LOGGERS = ("", "ray", "ray.data")  # Ray's do not hand their records on to the root


class RunLog(logging.Handler):
    """Listen for the duration of a ``with`` block; lines wait until `open` says which run they belong to.

    Parameters
    ----------
    what : str
        Who is speaking, for the first line: ``launch``.
    """

    def __init__(self, what: str) -> None:
        super().__init__(logging.WARNING)
        self.what = what
        self._storage: Storage | None = None
        self._waiting: list[str] = []
        self._wrote = -UPLOAD_SECONDS
        self._guard = threading.RLock()
        self._last: logging.LogRecord | None = None
        self._alone = False  # no other handler prints what reaches the root
        self._show_warning = warnings.showwarning

    def __enter__(self) -> Self:
        self.line(f"--- {self.what}, raytag {__version__}, process {os.getpid()} on {platform.node()}")
        listeners.append(self.line)
        self._alone = not logging.root.handlers
        for name in LOGGERS:
            logging.getLogger(name).addHandler(self)
        self._show_warning = warnings.showwarning
        warnings.showwarning = self._warn
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        warnings.showwarning = self._show_warning
        for name in LOGGERS:
            logging.getLogger(name).removeHandler(self)
        listeners.remove(self.line)
        if error is not None:
            self.line(f"ended by {type(error).__name__}{f': {error}' if str(error) else ''}")
        self.line(f"--- end of process {os.getpid()}", at_once=True)

    def open(self, storage: Storage) -> None:
        """Write into the folder of this run from now on, what was said before too."""
        with self._guard:
            self._storage = storage
            self._write()

    def line(self, text: str, at_once: bool = False) -> None:
        """Add a line, or several, each with the time; what cannot be printed stands there as an escape."""
        now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        rows = ["".join(map(_plain, row)) for row in text.split("\n")]
        with self._guard:
            self._waiting = [*self._waiting, *(f"{now} {row}\n" for row in rows)][-MOST_WAITING:]
            if at_once or (self._storage and self._storage.is_local) or time.monotonic() > self._due:
                self._write()

    @property
    def _due(self) -> float:
        return self._wrote + UPLOAD_SECONDS

    def _write(self) -> None:
        """Put the waiting lines behind what is there; two that write at once to a disk lose nothing."""
        if self._storage is None or not self._waiting:
            return
        lines, self._waiting, self._wrote = self._waiting, [], time.monotonic()
        data = "".join(lines).encode()
        try:
            if self._storage.is_local:
                with open(f"{self._storage.root}/{FILE}", "ab") as file:
                    file.write(data)
            else:
                before = self._storage.read(FILE) if self._storage.exists(FILE) else b""
                self._storage.write(FILE, before + data)
        except OSError:
            self._waiting = lines + self._waiting  # a full disk, a store that is away: the next line tries again

    def emit(self, record: logging.LogRecord) -> None:
        """A record that loggers hand on is heard once, and printed as it would be if nobody listened."""
        if record is self._last:
            return
        self._last = record
        try:
            self.line(f"{record.levelname.lower()}: {record.name}: {record.getMessage()}")
        except Exception:
            self.handleError(record)
        if self._alone and logging.lastResort is not None and record.name.partition(".")[0] != "ray":
            logging.lastResort.handle(record)

    def _warn(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        self.line(f"{category.__name__}: {message} ({filename}:{lineno})")
        self._show_warning(message, category, filename, lineno, file, line)


def _plain(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()
