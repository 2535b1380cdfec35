"""raytag's settings tuned on half of the experiments and judged on the other half."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from _replays import Arrival, arrivals, race, replays

from raytag.search.race.replay import Curves
from raytag.search.race.settings import Settings

RUNGS: tuple[tuple[float, ...], ...] = ((), (0.25,), (0.375,), (0.5,), (0.25, 0.5))
ETAS = (1.33, 1.5, 2.0, 3.0)
ZS = (0.0, 0.25, 0.5, 0.75, 1.0)


def grid(keep: int) -> list[Settings]:
    """Every setting of the paired race; without rungs eta says nothing, and stands there once."""
    found = []
    for rungs, eta, z in itertools.product(RUNGS, ETAS, ZS):
        if rungs or eta == Settings.eta:
            found.append(Settings("paired", keep, rungs, eta, z))
    return found


def words(settings: Settings) -> str:
    """``rungs 0.25 0.5, eta 2, z 0.5``."""
    if not settings.shares:
        return f"no rungs, z {settings.z:g}"
    return f"rungs {' '.join(f'{r:g}' for r in settings.shares)}, eta {settings.eta:g}, z {settings.z:g}"


def frontier(points: Sequence[tuple[float, float]]) -> list[int]:
    """Which of the points (spent, kept) no other point beats: none spends less and keeps as much.

    Indices by ascending spend. Of equal points the first stands.
    """
    found: list[int] = []
    for i in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1], i)):
        if not found or points[i][1] > points[found[-1]][1]:
            found.append(i)
    return found


def choose(spent: Sequence[float], kept: Sequence[float], tolerance: float) -> int:
    """The least spend among settings that keep the largest share less ``tolerance``; of equals the first."""
    enough = max(kept) - tolerance - 1e-12  # shares are fractions of small numbers
    return min((i for i in range(len(spent)) if kept[i] >= enough), key=lambda i: (spent[i], -kept[i], i))


@dataclass(frozen=True)
class Halving:
    """One split of the experiments."""

    chosen: Settings
    tuned: pd.DataFrame  # replays of the chosen setting on the half that chose it
    judged: pd.DataFrame  # and on the other half
    default: pd.DataFrame  # of the built-in settings on that other half


def tune(
    curves: Curves,
    keep: int,
    *,
    halvings: int,
    orders: int,
    tolerance: float,
    seed: int,
    advance: Callable[[float], None],
) -> list[Halving]:
    """Choose settings on random halves of the experiments; judge each on the experiments that it never saw.

    Every halving draws its own order of folds, the same for both halves. All settings see the same ``orders``
    random orders of arrival on the tuning half; the judged half is replayed four times as often.

    Parameters
    ----------
    curves : Curves
    keep : int
        Size of the portfolio of a half.
    halvings, orders : int
    tolerance : float
        How much less than the largest median share of the true best ``keep`` a setting may keep to be chosen for
        its spend.
    seed : int
    advance : callable
        Told 1 after each replay; there are ``replays_needed(...)`` of them.
    """
    n, n_folds = curves.final.shape
    settings, found = grid(keep), []
    for i in range(halvings):
        rng = np.random.default_rng([seed, i])
        shuffled = [int(e) for e in rng.permutation(n)]
        ordered = curves.folds([int(k) for k in rng.permutation(n_folds)])
        left, right = ordered.take(shuffled[: n // 2]), ordered.take(shuffled[n // 2 :])
        seen = arrivals(n // 2, n_folds, orders, [seed, i, 0], shuffle_folds=False)
        fresh = arrivals(n - n // 2, n_folds, 4 * orders, [seed, i, 1], shuffle_folds=False)
        tried = [replays(left, race(s), seen, keep, advance) for s in settings]
        best = choose([t["spent"].median() for t in tried], [t["kept"].median() / keep for t in tried], tolerance)

        def judge(s: Settings, right: Curves = right, fresh: Sequence[Arrival] = fresh) -> pd.DataFrame:
            return replays(right, race(s), fresh, keep, advance)

        default = judge(replace(Settings(), keep=keep))
        found.append(Halving(settings[best], tried[best], judge(settings[best]), default))
    return found


def replays_needed(halvings: int, orders: int) -> int:
    return halvings * orders * (len(grid(1)) + 8)
