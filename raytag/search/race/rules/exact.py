"""No rungs and no guess: what perfect scores on its other folds could not lift into the portfolio goes."""

from __future__ import annotations

import math

from raytag.search.race.rules.base import Rule
from raytag.search.race.state import Decision, Entry, State


class Exact(Rule):
    """An experiment is dropped when perfect scores on its remaining folds could not lift its cross-validated
    lwlrap to that of ``keep`` others, whatever these still score."""

    name = "exact"
    about = "drop only what perfect scores could not lift to place KEEP"

    def failing(self, state: State, entry: Entry) -> Decision | None:
        if state.depth(entry) == 0:
            return None
        bar, value = state.once("exact", lambda: _bar(state)), _bound(state, entry, 1.0)
        if value >= bar:
            return None
        reason = f"at most {value:.4f} with perfect scores on the other folds, below {bar:.4f}"
        return {"fold": None, "rung": None, "value": value, "bar": bar, "margin": 0.0, "reason": reason}


def _bar(state: State) -> float:
    """What ``keep`` experiments reach at least: whoever is below it at best is none of them."""
    least = sorted((_bound(state, e, 0.0) for e in state.active if not e.failed), reverse=True)
    return [*least, *[-math.inf] * state.keep][state.keep - 1]


def _bound(state: State, entry: Entry, unknown: float) -> float:
    """cv_lwlrap if all folds that are not finished score ``unknown``."""
    weights = state.weights
    # ties go on, on any Python: sum() rounds otherwise since 3.12
    total = math.fsum(w * entry.folds.get(k, unknown) for k, w in weights.items())
    return total / math.fsum(weights.values())
