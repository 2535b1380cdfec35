"""Nothing is dropped: full cross-validation."""

from __future__ import annotations

from raytag.search.race.rules.base import Rule
from raytag.search.race.state import Entry, State


class Nothing(Rule):
    name = "none"
    about = "train everything"
    can_stop = False

    def failing(self, state: State, entry: Entry) -> None:
        return None
