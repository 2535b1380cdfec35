"""Which experiments train on: decisions as a function of the event log, without Ray.

``asha`` stops trials of the first fold at rungs (shares of their own epoch budget), each among experiments
whose learning-rate schedules are of one kind: a trial goes on when its best lwlrap so far is among the best
1/ETA of those that reached the rung before it, itself included, or among the best ``keep``. Survivors run
their other folds unstopped; the best ``keep`` at any rung pass it, so at least ``keep`` experiments complete
(Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning", the stopping variant).

``none`` never stops anything.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

RUNGS = (0.25, 0.5)  # shares of a trial's epoch budget
ETA = 2


@dataclass
class Entry:
    """What is known of one experiment."""

    id: str
    kind: str  # of its schedule; only like kinds are compared at rungs
    epochs: int  # its budget
    dropped: bool = False
    best: float = -math.inf  # lwlrap so far in the first fold
    rungs: dict[int, float] = field(default_factory=dict)
    folds: dict[int, float] = field(default_factory=dict)  # finished folds: lwlrap

    @property
    def mean(self) -> float:
        """Mean over the finished folds, or the best value of the running first one."""
        return sum(self.folds.values()) / len(self.folds) if self.folds else self.best


@dataclass(frozen=True)
class Decision:
    """A rung that was reached, and what follows."""

    experiment: str
    rung: int
    epoch: int
    value: float
    bar: float | None  # the value that had to be reached; None: nothing could be stopped
    stop: bool

    def event(self, fold: int) -> dict[str, Any]:
        return {
            "experiment": self.experiment,
            "fold": fold,
            "rung": self.rung,
            "epoch": self.epoch,
            "value": self.value,
            "bar": self.bar,
            "stop": self.stop,
        }


class Race:
    """The state of a race.

    Parameters
    ----------
    folds : sequence of int
        Folds in the order in which every experiment runs them.
    stopping : {"none", "asha"}
    keep : int
        At least so many experiments are never stopped.
    """

    def __init__(self, folds: Sequence[int], stopping: str, keep: int) -> None:
        if stopping not in ("none", "asha"):
            raise ValueError(f"stopping must be none or asha, not {stopping!r}")
        if keep < 1:
            raise ValueError(f"keep must be at least 1, not {keep}")
        self.folds, self.stopping, self.keep = list(folds), stopping, keep
        self.number: int | None = None  # experiments in all, once the driver knows
        self.entries: dict[str, Entry] = {}

    @property
    def can_stop(self) -> bool:
        """Whether any experiment may be stopped at all."""
        return self.stopping != "none" and (self.number is None or self.number > self.keep)

    def add(self, experiment_id: str, kind: str, epochs: int) -> None:
        """Enter an experiment; a second time changes nothing."""
        self.entries.setdefault(experiment_id, Entry(experiment_id, kind, epochs))

    def report(self, experiment_id: str, fold: int, epoch: int, best: float) -> Decision | None:
        """An epoch is done; a decision if it reached a rung for the first time.

        A training that continues from a checkpoint may pass several rungs at once: it is judged at the
        highest.
        """
        entry = self.entries[experiment_id]
        if fold != self.folds[0]:
            return None
        entry.best = max(entry.best, best)
        reached = [i for i, share in enumerate(RUNGS) if epoch >= max(1, math.ceil(share * entry.epochs))]
        if not reached or reached[-1] in entry.rungs or epoch >= entry.epochs:
            return None
        rung = reached[-1]
        for passed in reached:
            entry.rungs.setdefault(passed, entry.best)
        bar = self._bar(entry.kind, rung)
        stop = self.stopping == "asha" and bar is not None and entry.best < bar
        return Decision(experiment_id, rung, epoch, entry.best, bar, stop)

    def _bar(self, kind: str, rung: int) -> float | None:
        """The lowest value that passes a rung now: the best 1/ETA, and never fewer than ``keep``."""
        values = sorted(
            (e.rungs[rung] for e in self.entries.values() if e.kind == kind and rung in e.rungs), reverse=True
        )
        places = max(self.keep, math.ceil(len(values) / ETA))
        return values[places - 1] if len(values) > places else None

    def drop(self, experiment_id: str) -> None:
        self.entries[experiment_id].dropped = True

    def reopen(self, experiment_id: str) -> None:
        self.entries[experiment_id].dropped = False

    def finish(self, experiment_id: str, fold: int, value: float) -> None:
        """A fold is finished with this lwlrap."""
        self.entries[experiment_id].folds[fold] = value

    def first_fold_done(self, experiment_id: str) -> bool:
        entry = self.entries[experiment_id]
        return entry.dropped or self.folds[0] in entry.folds

    def next_fold(self, running: Iterable[tuple[str, int]]) -> tuple[str, int] | None:
        """The next trial: fold-major and the best experiment first, so that stopping saves most.

        ``running`` are the trials under way. A later fold waits for the experiment's first one, which may
        stop it. Where nothing can be stopped, one experiment after another is completed instead.
        """
        busy = set(running)
        if not self.can_stop:
            open_folds = (
                (e.id, fold)
                for e in self.entries.values()
                if not e.dropped
                for fold in self.folds
                if fold not in e.folds and (e.id, fold) not in busy
            )
            return next(open_folds, None)
        for position, fold in enumerate(self.folds):
            waiting = [
                e
                for e in self.entries.values()
                if not e.dropped
                and fold not in e.folds
                and (e.id, fold) not in busy
                and (position == 0 or self.folds[0] in e.folds)
            ]
            if waiting:
                best = max(waiting, key=lambda e: (e.mean, e.id))
                return best.id, fold
        return None

    def replay(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Take over the facts of earlier launches: rungs, drops and re-openings.

        Finished folds are not taken from the log but from the run store, which is where they live.
        """
        for event in events:
            entry = self.entries.get(event.get("experiment", ""))
            if entry is None:
                continue
            if event["event"] == "rung":
                entry.best = max(entry.best, event["value"])
                for rung in range(event["rung"] + 1):
                    entry.rungs.setdefault(rung, event["value"])
            elif event["event"] == "drop":
                entry.dropped = True
            elif event["event"] == "reopen":
                entry.dropped = False
