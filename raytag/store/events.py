"""The event log of a run: numbered facts, one segment a launch, never rewritten.

Racing decisions and values told to a searcher are functions of this log. A segment is
``events/NNN.jsonl``, one JSON object a line with the keys ``n`` (number over all segments), ``time``
(UTC) and ``event``; other keys belong to the event.
"""

from __future__ import annotations

import datetime
import json
from typing import Any

from raytag.store.files import Storage


class EventLog:
    """Append to a new segment; read all of them.

    A local segment is appended to and flushed line by line. An object store has no append: there the
    segment is rewritten as a whole, which is cheap for the few events of a launch.
    """

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.past = read_events(storage)
        segments = storage.files("events")
        last = max((int(name.split(".")[0]) for name in segments), default=0)
        self.segment = f"events/{last + 1:03d}.jsonl"
        self._next = self.past[-1]["n"] + 1 if self.past else 0
        self._lines: list[str] = []

    def append(self, event: str, **fields: Any) -> dict[str, Any]:
        """Record an event and return it."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        record = {"n": self._next, "time": now, "event": event, **fields}
        self._next += 1
        line = json.dumps(record)
        self._lines.append(line)
        if self.storage.is_local and len(self._lines) > 1:
            with open(f"{self.storage.root}/{self.segment}", "a", encoding="utf-8") as file:
                file.write(line + "\n")
        else:
            self.storage.write(self.segment, ("\n".join(self._lines) + "\n").encode())
        return record


def read_events(storage: Storage) -> list[dict[str, Any]]:
    """All events in order. A last line cut off by a kill is left out; damage elsewhere is an error."""
    events: list[dict[str, Any]] = []
    for name in storage.files("events"):
        lines = storage.read(f"events/{name}").decode().splitlines()
        for i, line in enumerate(lines):
            try:
                events.append(json.loads(line))
            except json.JSONDecodeError:
                if i + 1 < len(lines):
                    raise ValueError(f"{storage.where(f'events/{name}')} line {i + 1} is not valid JSON") from None
    return events
