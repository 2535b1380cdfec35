"""The event log of a run: numbered facts, one segment a launch, never rewritten.

Racing decisions and values told to a searcher are functions of this log. A segment is
``events/NNN.jsonl``, one JSON object a line with the keys ``n`` (number over all segments), ``time``
(UTC), ``event`` and, last, ``crc`` (CRC-32 of the line without it); other keys belong to the event.

The store is the truth and the log its story: a line that is damaged is left out by whoever reads it, and
`EventLog.damage` says so. What it told is found in the store again, or decided again.
"""

from __future__ import annotations

import datetime
import json
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

from raytag.store.files import Storage

FOLDER = "events"


class EventLog:
    """Append to a new segment; read all of them.

    A local segment is appended to line by line, each on the disk before the next is decided. An object store
    has no append: there the segment is rewritten as a whole, which is cheap for the few events of a launch.

    Attributes
    ----------
    past : list of dict
        The events of earlier launches.
    damage : list of str
        Where lines of earlier launches are damaged or missing.
    """

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.past, self.damage = read_log(storage)
        segments = storage.files(FOLDER)
        last = max((int(name.split(".")[0]) for name in segments), default=0)
        self.segment = f"{FOLDER}/{last + 1:03d}.jsonl"
        self._next = self.past[-1]["n"] + 1 if self.past else 0
        self._lines: list[str] = []

    def append(self, event: str, **fields: Any) -> dict[str, Any]:
        """Record an event and return it."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        record = {"n": self._next, "time": now, "event": event, **fields}
        line = _sealed(json.dumps(record))
        if self.storage.is_local and self._lines:
            self.storage.append(self.segment, line)
        else:
            self.storage.write(self.segment, "".join(f"{row}\n" for row in [*self._lines, line]).encode())
        self._next += 1
        self._lines.append(line)
        return record


def read_events(storage: Storage) -> list[dict[str, Any]]:
    """All events in order, without lines that are damaged."""
    return read_log(storage)[0]


def read_log(storage: Storage) -> tuple[list[dict[str, Any]], list[str]]:
    """All events in order, and where lines are damaged or missing, in words.

    A last line without an end was cut off by a kill: it never was, and is no damage.
    """
    events: list[dict[str, Any]] = []
    damage: list[str] = []
    for name in storage.files(FOLDER):
        where = storage.where(f"{FOLDER}/{name}")
        *lines, last = storage.read(f"{FOLDER}/{name}").split(b"\n")
        # where only its end is damaged a last line counts
        lines += [line for line in (last, last[:-1]) if line and _unsealed(line) is not None][:1]
        for i, line in enumerate(lines):
            event = _unsealed(line)
            if event is None:
                damage.append(f"{where} line {i + 1} is damaged")
                continue
            expected = events[-1]["n"] + 1 if events else 0
            # a damaged line is a gap in the numbers too, and is named already
            if event["n"] > expected + len(damage):
                damage.append(f"{where} line {i + 1}: events {expected} to {event['n'] - 1} are missing before it")
            events.append(event)
    return events, damage


def launch_command(events: Iterable[Mapping[str, Any]], run: str, experiment: str | None = None) -> str:
    """The command line that last launched a run, or the search that proposed an experiment of it."""
    events = list(events)
    keys = {e["key"] for e in events if e["event"] == "propose" and e["experiment"] == experiment}
    found = command = None
    for event in events:
        if event["event"] == "launch":
            command = event["command"]
        if experiment is None or event.get("key") in keys:
            found = command or found
    return f"python {found}" if found else f"python launch.py --run {run} (and its --space, --data)"


def _sealed(line: str) -> str:
    return f'{line[:-1]}, "crc": "{zlib.crc32(line.encode()):08x}"}}'


def _unsealed(line: bytes) -> dict[str, Any] | None:
    """The event of a line; None where it is damaged. Lines of before there was a ``crc`` are read as they are."""
    content, mark, crc = line.rpartition(b', "crc": "')
    if mark:
        line = content + b"}"
        if crc != f'{zlib.crc32(line):08x}"}}'.encode():
            return None
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and {"n", "event"} <= event.keys() else None
