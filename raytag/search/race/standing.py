"""What became of the experiments of a run in each of its searches, as the event log tells.

No rule is asked: a log whose rules are no longer there can be read too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Search:
    """One sequence of proposals and its race.

    Attributes
    ----------
    key : str
        Names it in the log.
    race : mapping
        The event of its last launch: ``settings``, ``folds``, and ``number``, the experiments it is to draw in all
        (None: as many as its time allows).
    proposed : dict of str to int
        Number of the first proposal of each experiment.
    dropped, failed : dict of str to str
        Reasons by experiment; failed are those of the last launch, for the next one tries them again.
    """

    key: str
    race: Mapping[str, Any] = field(default_factory=dict)
    proposed: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def active(self) -> list[str]:
        """The experiments that its last launch was about."""
        number = self.race.get("number")
        return [name for name, index in self.proposed.items() if number is None or index < number]

    @property
    def open(self) -> list[str]:
        """Those of them that are neither dropped nor failed."""
        return [name for name in self.active if name not in self.dropped and name not in self.failed]


def searches(events: Iterable[Mapping[str, Any]]) -> list[Search]:
    """The searches of a run; what was launched last comes last."""
    found: dict[str, Search] = {}
    for event in events:
        what, key = event["event"], event.get("key")
        if key is None:
            continue
        search = found.setdefault(key, Search(key))
        if what == "race":
            search.race, search.failed = event, {}
            found[key] = found.pop(key)
        elif what == "propose":
            search.proposed.setdefault(event["experiment"], int(event["index"]))
        elif what == "drop":
            search.dropped[event["experiment"]] = event["reason"]
        elif what == "reopen":
            search.dropped.pop(event["experiment"], None)
        elif what == "fail":
            search.failed[event["experiment"]] = f"fold {event['fold']}: {event['reason']}"
    return list(found.values())


def dropped(found: Iterable[Search]) -> dict[str, str]:
    """Experiments that every search which proposed them has dropped, with the last reason."""
    found = list(found)
    kept = {name for search in found for name in search.proposed if name not in search.dropped}
    return {name: why for search in found for name, why in search.dropped.items() if name not in kept}
