"""A rung, then a paired comparison after each fold with the experiment that holds the portfolio's last place."""

from __future__ import annotations

import math
from collections.abc import Sequence

from raytag.search.race.rules.rungs import Rungs
from raytag.search.race.state import Decision, Entry, State


class Paired(Rungs):
    """After each fold an experiment is compared with the one that holds place ``keep`` on the same folds: it is
    dropped when the mean difference exceeds z standard errors (`paired_margin`)."""

    name = "paired"
    about = (
        "stop the weaker half at 1/2 of the first fold, then after each fold drop what is clearly below place KEEP "
        "on the same folds"
    )
    rungs = (0.5,)
    needs_clip_variance = True

    def failing(self, state: State, entry: Entry) -> Decision | None:
        depth = state.depth(entry)
        if depth == 0:
            return super().failing(state, entry)
        found, variance = state.once(("paired", depth), lambda: _bar(state, depth)), state.variance
        if found is None or variance is None:
            return None
        (bar, holder), value = found, state.mean(entry, depth)
        margin = paired_margin(variance, depth, len(state.folds), state.z)
        if bar - value <= margin:
            return None
        folds = state.folds[:depth]
        reason = (
            f"mean lwlrap {value:.4f} on fold{'s' * (depth > 1)} {', '.join(map(str, folds))} is {bar - value:.4f} "
            f"below {holder}, which holds place {state.keep}; allowed are {margin:.4f}"
        )
        return {"fold": folds[-1], "rung": None, "value": value, "bar": bar, "margin": margin, "reason": reason}


def _bar(state: State, depth: int) -> tuple[float, str] | None:
    """The bar after ``depth`` folds and the experiment that holds it; who was dropped keeps his place in it."""
    means = [(state.mean(e, depth), e.id) for e in state.active if not e.failed and state.depth(e) >= depth]
    return portfolio_bar(means, state.keep)


def portfolio_bar(means: Sequence[tuple[float, str]], keep: int) -> tuple[float, str] | None:
    """The ``keep``-th best of (mean over the same folds, experiment); None before ``keep`` + 2 are known."""
    return sorted(means, reverse=True)[keep - 1] if len(means) >= keep + 2 else None


def paired_margin(variance: float, done: int, folds: int, z: float) -> float:
    """How far below the bar an experiment's mean over its first ``done`` folds may lie.

    z · s · √(2 (1/d − 1/K)): z standard errors of the difference between two experiments' means over d of K
    folds as a guess of their difference over all K, where s² is the variance of what the two-way layout
    experiment + fold leaves unexplained (sampling d of K without replacement: Cochran 1977, section 2.5).

    Parameters
    ----------
    variance : float
        s², in squared units of lwlrap.
    done, folds : int
        d and K.
    z : float
    """
    return z * math.sqrt(max(variance, 0.0) * 2.0 * (1.0 / done - 1.0 / folds))
