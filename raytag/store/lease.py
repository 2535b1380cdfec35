"""One driver a run: a lease with a heartbeat.

``runs/RUN/lease.json`` names its owner and when the owner was last alive. A second launch is refused while
the owner lives. A driver that was killed on this very host is noticed at once (its process is gone), one on
another host after ``STALE_SECONDS`` without a heartbeat.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import psutil

from raytag.errors import RefusedError
from raytag.store.files import Storage

HEARTBEAT_SECONDS = 5.0
STALE_SECONDS = 60.0
SETTLE_SECONDS = 0.3
FILE = "lease.json"


class LeaseError(RefusedError):
    """Another launch works on this run."""


class Lease:
    """Hold a run's lease for the duration of a ``with`` block."""

    def __init__(self, storage: Storage, run: str) -> None:
        self.storage = storage
        self.run = run
        self.on_lost: Callable[[], None] = lambda: None  # another launch took over: the owner must stop
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._record: dict[str, Any] = {
            "id": uuid.uuid4().hex,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "process_started": psutil.Process().create_time(),
            "since": time.time(),
        }

    def __enter__(self) -> Self:
        other = self._read()
        if other is not None and _alive(other):
            age = time.time() - other["since"]
            raise LeaseError(
                f"run {self.run!r} is being worked on by process {other['pid']} on {other['host']} "
                f"(for {age:.0f} s, last heard of {time.time() - other['beat']:.0f} s ago). "
                f"Wait for it, stop it, or give this launch another --run name"
            )
        self._beat()
        time.sleep(SETTLE_SECONDS)  # two launches of the same moment: the last to write wins, the other sees it
        written = self._read()
        if written is None or written["id"] != self._record["id"]:
            raise LeaseError(f"run {self.run!r} was taken by another launch at this moment; try again")
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        current = self._read()
        if current is not None and current["id"] == self._record["id"]:
            self.storage.delete(FILE)

    def _read(self) -> dict[str, Any] | None:
        try:
            record: dict[str, Any] = self.storage.read_json(FILE)
        except FileNotFoundError:
            return None
        return record

    def _beat(self) -> None:
        self.storage.write_json(FILE, {**self._record, "beat": time.time()})

    def _run(self) -> None:
        while not self._stop.wait(HEARTBEAT_SECONDS):
            try:
                current = self._read()
                if current is not None and current["id"] != self._record["id"]:
                    self.on_lost()  # this host slept for long and another launch took over
                    return
                self._beat()
            except OSError:
                continue  # a storage that is away for a moment: the next beat tries again


def holder(storage: Storage) -> dict[str, Any] | None:
    """Who holds a run's lease: host, pid, since and beat (seconds since 1970), and whether it is ``alive``.

    None where nobody does. A ValueError where the file is damaged.
    """
    try:
        record = storage.read_json(FILE)
        return {**record, "alive": _alive(record)}
    except FileNotFoundError:
        return None
    except (KeyError, TypeError):
        raise ValueError(f"{storage.where(FILE)} is damaged: it names no owner") from None


def _alive(record: dict[str, Any]) -> bool:
    """Whether the owner of a lease still runs, as far as this host can tell."""
    if record["host"] == socket.gethostname():
        try:
            return abs(psutil.Process(record["pid"]).create_time() - record["process_started"]) < 1.0
        except psutil.NoSuchProcess:
            return False
    return time.time() - record["beat"] < STALE_SECONDS
