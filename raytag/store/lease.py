"""One writer at a time: a lease with a heartbeat, for a run and for the name of an ensemble.

``lease.json`` in a folder names its owner and when it was last alive. Whoever comes second is refused while the
owner lives. An owner that was killed on this machine is noticed at once: its process is gone, as the kernel tells,
whatever the clock says. Of one on another machine, or in another container, only the heartbeats are seen: it is
gone when none has come for ``STALE_SECONDS`` and none comes while this process watches. Clocks that differ or jump
cost seconds of watching, never a second owner.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from raytag.errors import DamagedError, RefusedError
from raytag.store.files import Storage

HEARTBEAT_SECONDS = 5.0
STALE_SECONDS = 60.0
WATCH_SECONDS = 2.5 * HEARTBEAT_SECONDS
#: Between writing a lease and looking whether it still stands: longer than anybody takes from looking to writing.
SETTLE_SECONDS, REMOTE_SETTLE_SECONDS = 0.3, 2.0
ATTEMPTS = 5
FILE = "lease.json"


class LeaseError(RefusedError):
    """Another process holds the lease."""


class Lease:
    """Hold the lease of a folder for the duration of a ``with`` block.

    Parameters
    ----------
    storage : Storage
        The folder, which is made where it is missing and removed again where nothing else was put into it.
    what : str
        What is held, for messages: ``"run 'x'"``.
    way_out : str
        What to do when another one holds it: ``"give this launch another --run name"``.

    Attributes
    ----------
    lost : bool
        Another process took over, as this machine slept for long: the owner must stop.
    note : str
        A sentence where a damaged lease was taken over; else "".

    Raises
    ------
    LeaseError
        On entering, while another one holds it.
    """

    def __init__(self, storage: Storage, what: str, way_out: str) -> None:
        self.storage, self.what, self.way_out = storage, what, way_out
        self.lost = False
        self.note = ""
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._record: dict[str, Any] = {"id": uuid.uuid4().hex, **place(), "since": time.time()}

    def __enter__(self) -> Self:
        settle = SETTLE_SECONDS if self.storage.is_local else REMOTE_SETTLE_SECONDS
        for _ in range(ATTEMPTS):
            looked = self._refuse_while_held()
            self._beat()
            if time.monotonic() - looked < 0.9 * settle:
                break
            # Somebody may have written and settled since this process looked, and lost its record to this one's: it
            # gets time to beat before the next look, and a disk or a store that is slow gets more.
            self._remove()
            settle *= 2
            time.sleep(HEARTBEAT_SECONDS + settle)
        else:
            raise LeaseError(
                f"{self.storage.where()} answers too slowly to tell who works on {self.what}; try again"
            )
        time.sleep(settle)  # two of the same moment: the last to write wins, the other sees it
        written = self._read()
        if written is None or written.get("id") != self._record["id"]:
            raise LeaseError(f"{self.what} was taken by another process at this moment; try again")
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self._remove()

    def _refuse_while_held(self) -> float:
        """Return the monotonic time (s) of a look that found no living owner.

        Raises
        ------
        LeaseError
            Somebody holds the lease, or may: a damaged one that is young.
        """
        looked = time.monotonic()
        other = self._read()
        if other is None:
            return looked
        here = lives_here(other)
        if here is not None:
            if here:
                raise self._held_by(other)
            return looked
        age = time.time() - (other["beat"] if "id" in other else self.storage.modified(FILE))
        if 0 <= age < STALE_SECONDS:
            raise self._held_by(other)
        # By the clocks it is dead, or from the future. What clocks say of another machine is no proof.
        patience = looked + WATCH_SECONDS
        while time.monotonic() < patience:
            time.sleep(min(1.0, HEARTBEAT_SECONDS))
            looked = time.monotonic()
            now = self._read()
            if now is None:
                return looked
            if now != other:
                raise self._held_by(now)
        if "id" not in other:
            self.note = (
                f"{self.storage.where(FILE)} was damaged and nobody wrote to it for {WATCH_SECONDS:.0f} s: it is "
                "taken over, as of a process that was killed"
            )
        return looked

    def _held_by(self, other: Mapping[str, Any]) -> LeaseError:
        if "id" not in other:
            return LeaseError(
                f"{self.storage.where(FILE)} is damaged and was written just now, perhaps by a process that works "
                f"on {self.what}. Try again when it is {STALE_SECONDS:.0f} s old, or {self.way_out}"
            )
        now = time.time()
        return LeaseError(
            f"{self.what} is being worked on by process {other['pid']} on {other['host']} (for "
            f"{max(0.0, now - other['since']):.0f} s, last heard of {max(0.0, now - other['beat']):.0f} s ago). "
            f"Wait for it, stop it, or {self.way_out}"
        )

    def _read(self) -> dict[str, Any] | None:
        """The record; ``{"damaged": …}`` where the file holds none, None where there is no file."""
        try:
            record = self.storage.read_json(FILE)
        except FileNotFoundError:
            return None
        except ValueError as error:
            return {"damaged": str(error)}
        numbers = ("pid", "since", "beat")
        whole = (
            isinstance(record, dict)
            and all(isinstance(record.get(key), str) for key in ("id", "host"))
            and all(isinstance(record.get(key), int | float) for key in numbers)
        )
        return record if whole else {"damaged": repr(record)}

    def _beat(self) -> None:
        self.storage.write_json(FILE, {**self._record, "beat": time.time()})

    def _remove(self) -> None:
        """Give up what is this process's own, and a folder that holds nothing else."""
        with suppress(OSError):  # a storage that is away, or a folder that is not empty
            current = self._read()
            if current is None or current.get("id") != self._record["id"]:
                return
            self.storage.delete(FILE)
            if self.storage.is_local:
                os.rmdir(self.storage.root)

    def _run(self) -> None:
        while not self._stop.wait(HEARTBEAT_SECONDS):
            try:
                current = self._read()
                if current is not None and current.get("id", self._record["id"]) != self._record["id"]:
                    self.lost = True
                    return
                self._beat()  # over a damaged one too: its owner is here
            except OSError:
                continue  # a storage that is away for a moment: the next beat tries again


def place() -> dict[str, Any]:
    """Where this process is, so that others can tell whether it lives.

    ``machine`` is this boot of this machine, or its network card where the system does not tell, and ``processes``
    the space that its process numbers belong to: two containers may have one host name and use one number twice.
    """
    machine = processes = ""
    with suppress(OSError):
        machine = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        processes = os.readlink("/proc/self/ns/pid")
    return {
        "host": socket.gethostname(),
        "machine": machine or f"{uuid.getnode():012x}",
        "processes": processes,
        "pid": os.getpid(),
        "started": start_of(os.getpid()),
    }


def lives_here(record: Mapping[str, Any]) -> bool | None:
    """Whether the process that a record names lives; None where that cannot be told from here."""
    here = place()
    if any(record.get(key) != here[key] for key in ("host", "machine", "processes")) or not record.get("started"):
        return None
    found = start_of(int(record["pid"]))
    if found == "":
        return None
    return found == record["started"]


def start_of(pid: int) -> str | None:
    """When a process began, by a measure that no change of the clock moves.

    Returns
    -------
    str or None
        "" when it cannot be told, None when there is no such process, or one that ended and was not yet collected.
    """
    try:
        # after the name, which may hold anything: the state, and 19 fields later clock ticks since the boot
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return None if fields[0] in "ZX" else f"{fields[19]} ticks"
    except (OSError, IndexError):
        pass
    if os.path.isdir("/proc/self"):
        return "" if psutil.pid_exists(pid) else None  # another user's, whom some systems hide
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.2f} s"
    except psutil.NoSuchProcess:
        return None
    except psutil.Error:
        return ""


def holder(storage: Storage) -> dict[str, Any] | None:
    """Who holds the lease of a folder: host, pid, since and beat (seconds since 1970), and whether it is ``alive``.

    None where nobody does. A ValueError where the file is damaged.
    """
    try:
        record = storage.read_json(FILE)
        lives = lives_here(record)
        return {**record, "alive": time.time() - record["beat"] < STALE_SECONDS if lives is None else lives}
    except FileNotFoundError:
        return None
    except (KeyError, TypeError):
        raise DamagedError(f"{storage.where(FILE)} is damaged: it names no owner") from None
