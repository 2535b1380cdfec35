"""Rungs in the first fold: ASHA among experiments whose schedules are of one kind."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from raytag.search.race.rules.base import Rule
from raytag.search.race.state import Decision, Entry, Rung, State


class Rungs(Rule):
    """At a share of its own epoch budget a trial goes on when its best lwlrap so far is among the best 1/eta of
    those that reached the rung before it, itself included, or among the best ``keep`` (Li et al. 2020, "A System
    for Massively Parallel Hyperparameter Tuning", the stopping variant)."""

    name = "asha"
    about = "stop at 1/4 and 1/2 of the first fold only"
    rungs: ClassVar[tuple[float, ...]] = (0.25, 0.5)

    def failing(self, state: State, entry: Entry) -> Decision | None:
        """Judged when the rung is reached, and again only if it was dropped there and the rules change."""
        if state.depth(entry):
            return None
        rung = state.last_rung(entry, state.shares)
        if rung is None or not (state.judged == (entry.id, rung) or entry.dropped):
            return None
        bar = state.once(("rung", entry.kind, rung), lambda: _bar(state, entry.kind, rung))
        value = entry.rungs[rung]
        if bar is None or value >= bar:
            return None
        number = state.shares.index(rung[1])
        reason = f"lwlrap {value:.4f} below {bar:.4f} at rung {number + 1} of fold {rung[0]}"
        return {"fold": rung[0], "rung": number, "value": value, "bar": bar, "margin": 0.0, "reason": reason}


def _bar(state: State, kind: str, rung: Rung) -> float | None:
    return rung_bar([e.rungs[rung] for e in state.like(kind, rung)], state.keep, state.eta)


def rung_bar(values: Sequence[float], keep: int, eta: float) -> float | None:
    """The lowest value that passes a rung: the best 1/eta of ``values``, and never fewer than ``keep``.

    None while all pass.
    """
    places = max(keep, math.ceil(len(values) / eta))
    return sorted(values, reverse=True)[places - 1] if len(values) > places else None
