"""Replays of a race: over a table of recorded learning curves, and over the log of a run.

Both drive the very ``Race`` that a launch drives, without Ray.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raytag.search.race.race import DECISIONS, FACTS, Race
from raytag.search.race.settings import Settings

STAMPS = ("n", "time", "key")  # what the log adds to an event


@dataclass(frozen=True)
class Curves:
    """Recorded learning curves of every experiment on every fold.

    Attributes
    ----------
    best : np.ndarray [shape=(E, K, T), dtype=float64]
        Best lwlrap so far after each epoch.
    final : np.ndarray [shape=(E, K), dtype=float64]
        lwlrap of the finished fold.
    kinds : tuple of str, length E
        Kinds of schedule.
    clip_variance : np.ndarray [shape=(E, K), dtype=float64] or None
        Variance of a cell by a bootstrap over clips, where it was recorded; NaN elsewhere.
    """

    best: NDArray[np.float64]
    final: NDArray[np.float64]
    kinds: tuple[str, ...]
    clip_variance: NDArray[np.float64] | None = None

    def take(self, rows: Sequence[int]) -> Curves:
        """The experiments ``rows`` alone."""
        index = np.asarray(rows, dtype=np.intp)
        variance = None if self.clip_variance is None else self.clip_variance[index]
        return Curves(self.best[index], self.final[index], tuple(self.kinds[i] for i in index), variance)

    def folds(self, order: Sequence[int]) -> Curves:
        """The same with the folds in another order."""
        index = np.asarray(order, dtype=np.intp)
        variance = None if self.clip_variance is None else self.clip_variance[:, index]
        return Curves(self.best[:, index], self.final[:, index], self.kinds, variance)


@dataclass
class Replay:
    """What a race would have done.

    Attributes
    ----------
    epochs : np.ndarray [shape=(E, K), dtype=int64]
        Epochs trained.
    complete : list of int
        Experiments that finished all folds.
    race : Race
        In its last state.
    events : list
        Its log.
    """

    epochs: NDArray[np.int64]
    race: Race
    complete: list[int] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)


def simulate(curves: Curves, settings: Settings, order: Sequence[int], slots: int = 1) -> Replay:
    """Race through recorded curves, one epoch of each running trial a tick.

    Parameters
    ----------
    curves : Curves
        Folds are run in the order of its axis.
    settings : Settings
    order : sequence of int
        Experiments in order of proposal; those not named take no part.
    slots : int
        Trials at a time.
    """
    n, folds, length = curves.best.shape
    race = Race()
    replay = Replay(np.zeros((n, folds), np.int64), race)

    def put(event: str, **fields: Any) -> None:
        record = {"event": event, **fields}
        replay.events.append(record)
        race.apply(record)
        while (decision := race.next_decision()) is not None:
            replay.events.append(decision)
            race.apply(decision)

    put("race", settings=settings.plain(), folds=list(range(folds)), weights=[1.0] * folds, number=len(order))
    for index, e in enumerate(order):
        put("propose", experiment=str(e), index=index, kind=curves.kinds[e], epochs=length)
    running: list[tuple[int, int, str, int]] = []  # (tick of the next epoch's end, number, experiment, fold)
    tick = started = 0
    while True:
        busy = [(name, k) for _, _, name, k in running]
        while len(running) < slots and (found := race.next_trial(busy)) is not None:
            heapq.heappush(running, (tick + 1, started, found[0], found[1]))
            busy.append(found)
            started += 1
        if not running:
            break
        tick, number, name, k = heapq.heappop(running)
        row = int(name)
        replay.epochs[row, k] += 1
        epoch = int(replay.epochs[row, k])
        if epoch == length:
            # like the driver, which resamples clips in the first fold only
            known = None
            if curves.clip_variance is not None and k == 0 and not math.isnan(curves.clip_variance[row, 0]):
                known = float(curves.clip_variance[row, 0])
            put("fold", experiment=name, fold=k, lwlrap=float(curves.final[row, k]), clip_variance=known)
            continue
        rung = race.rung(name, k, epoch)
        if rung is not None:
            value = float(curves.best[row, k, epoch - 1])
            put("rung", experiment=name, fold=k, rung=rung, epoch=epoch, value=value)
        if race.entries[name].open:
            heapq.heappush(running, (tick + 1, number, name, k))
    replay.complete = [int(e.id) for e in race.active if len(e.folds) == folds]
    return replay


@dataclass(frozen=True)
class Mismatch:
    """A decision in the log that the facts before it do not give, or one that is missing."""

    number: int  # of the event in the log
    logged: dict[str, Any] | None
    recomputed: dict[str, Any] | None


def check(events: Iterable[Mapping[str, Any]], key: str) -> tuple[list[dict[str, Any]], list[Mismatch]]:
    """Decide again from the facts of a log, and compare with the decisions that it holds.

    Parameters
    ----------
    events : iterable of mapping
        A run's log (``raytag.store.events.read_events``).
    key : str
        The sequence of proposals whose race it is; a run may hold several.

    Returns
    -------
    decisions : list of dict
        All decisions in the log.
    mismatches : list of Mismatch
        Empty when every decision follows from the facts before it. A driver that was killed between a fact and
        its decision decides when the next launch starts: that decision may stand after that launch's facts.
    """
    race = Race()
    decisions: list[dict[str, Any]] = []
    wrong: list[Mismatch] = []
    number = -1
    for event in events:
        if event["event"] not in FACTS + DECISIONS or event.get("key") != key:
            continue
        due = race.next_decision()
        if event["event"] in DECISIONS:
            logged = {k: v for k, v in event.items() if k not in STAMPS}
            decisions.append(logged)
            if not _same(logged, due):
                wrong.append(Mismatch(event["n"], logged, due))
        elif due is not None and event["event"] != "race":
            wrong.append(Mismatch(event["n"], None, due))
        number = event["n"]
        race.apply(event)
    due = race.next_decision()
    if due is not None:
        wrong.append(Mismatch(number, None, due))
    return decisions, wrong


def _same(logged: Mapping[str, Any], due: Mapping[str, Any] | None) -> bool:
    """Equal but for the reason's words, which a later version may put otherwise, and for the last bits of numbers,
    which another processor's linear algebra rounds otherwise."""
    if due is None or logged.keys() != due.keys():
        return False
    pairs = [(value, due[name]) for name, value in logged.items() if name != "reason"]
    return all(
        math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12) if isinstance(a, float) and isinstance(b, float) else a == b
        for a, b in pairs
    )
