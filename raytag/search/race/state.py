"""What is known of a race: plain values that a stopping rule may read, and what follows from them."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from raytag.search.race.fold_effects import TwoWay

Decision = dict[str, Any]  # an event without number and time
Rung = tuple[int, float]  # first fold, share of the budget: both may differ in a later launch
T = TypeVar("T")


@dataclass
class Entry:
    """What is known of one experiment."""

    id: str
    index: int  # its proposal
    kind: str  # of its schedule; only like kinds are compared at rungs
    epochs: int  # its budget on a fold
    rungs: dict[Rung, float] = field(default_factory=dict)  # best lwlrap so far when the first fold reached them
    folds: dict[int, float] = field(default_factory=dict)  # finished folds: lwlrap
    dropped: bool = False
    failed: bool = False  # in this launch; the next one tries again
    passed: int = 0  # folds without a gap that it had when one was lost
    stage: str = "1"  # only experiments of one stage are compared

    @property
    def open(self) -> bool:
        return not (self.dropped or self.failed)


@dataclass
class State:
    """The facts of a race so far, among experiments of one stage. Whoever judges by it leaves it as it is.

    Folds come in one order for all. S_d are its first d folds; experiments are compared on the same S_d only,
    because folds differ more than experiments do.
    """

    keep: int = 1  # size of the portfolio
    shares: tuple[float, ...] = ()  # of a trial's epochs: the rungs
    eta: float = 1.0  # 1/eta of the trials pass a rung
    z: float = 0.0  # standard errors below the bar that are allowed
    folds: list[int] = field(default_factory=list)  # in the order in which every experiment runs them
    weights: dict[int, float] = field(default_factory=dict)  # share of each fold in cv_lwlrap
    number: int | None = None  # experiments that take part; None: as many as are proposed
    entries: dict[str, Entry] = field(default_factory=dict)
    priors: list[float] = field(default_factory=list)  # variances of one cell by a bootstrap over clips
    judged: tuple[str, Rung] | None = None  # the experiment and the rung that the last fact reached
    found: dict[Hashable, Any] = field(default_factory=dict, compare=False)  # by the facts, until the next

    def once(self, key: Hashable, find: Callable[[], T]) -> T:
        """What ``find`` returns, kept until the next fact: it may look at facts, not at what was dropped."""
        if key not in self.found:
            self.found[key] = find()
        return self.found[key]

    @property
    def active(self) -> list[Entry]:
        """The experiments that take part in this launch, in order of proposal."""
        return [e for e in self.entries.values() if self.number is None or e.index < self.number]

    def depth(self, entry: Entry) -> int:
        """d: how many folds of the common order an experiment has finished without a gap."""
        return next((d for d, fold in enumerate(self.folds) if fold not in entry.folds), len(self.folds))

    def mean(self, entry: Entry, depth: int) -> float:
        """Mean lwlrap over S_d; minus infinity for d = 0."""
        return sum(entry.folds[k] for k in self.folds[:depth]) / depth if depth else -math.inf

    def like(self, kind: str, rung: Rung) -> list[Entry]:
        """The experiments of a kind that reached a rung."""
        return [e for e in self.active if e.kind == kind and rung in e.rungs]

    def last_rung(self, entry: Entry, shares: Iterable[float] | None = None) -> Rung | None:
        """The highest rung (among ``shares``) that an experiment reached in what is now the first fold."""
        reached = (r for r in entry.rungs if r[0] == self.folds[0] and (shares is None or r[1] in shares))
        return max(reached, default=None)

    def layout(self) -> TwoWay:
        """The two-way fit of all finished folds; rows in the order of ``active``."""
        return self.once("layout", self._layout)

    def _layout(self) -> TwoWay:
        import numpy as np  # --help, which names the rules, need not wait for it

        from raytag.search.race import fold_effects

        rows = [[e.folds.get(k, math.nan) for k in self.folds] for e in self.active]
        return fold_effects.fit(np.array(rows, dtype=np.float64).reshape(len(rows), len(self.folds)))

    @property
    def variance(self) -> float | None:
        """s², what fold effects and experiments leave unexplained in a cell; None while too little is known."""
        return self.once("variance", self._variance)

    def _variance(self) -> float | None:
        from raytag.search.race.fold_effects import pooled_variance

        layout = self.layout()
        return pooled_variance(layout.residual_ss, layout.dof, self.priors)

    def estimates(self) -> dict[str, float]:
        """One value for each experiment that has one: its mean over all folds, corrected for fold effects.

        An experiment that was dropped at a rung counts as if it had finished the first fold with the gain
        that like experiments had from that rung on, on average.
        """
        active, layout = self.active, self.layout()
        found = {e.id: float(v) for e, v in zip(active, layout.estimates, strict=True) if not math.isnan(v)}
        for e in active:
            rung = self.last_rung(e)
            if e.id not in found and e.dropped and rung is not None:
                found[e.id] = e.rungs[rung] + self._gain(e.kind, rung) - float(layout.fold_effects[0])
        return found

    def _gain(self, kind: str, rung: Rung) -> float:
        """By how much finished first folds ended above their value at a rung, on average; 0 if none did."""

        def mean() -> float:
            gains = [e.folds[rung[0]] - e.rungs[rung] for e in self.like(kind, rung) if rung[0] in e.folds]
            return sum(gains) / len(gains) if gains else 0.0

        return self.once(("gain", kind, rung), mean)


def rung_epoch(share: float, epochs: int) -> int:
    """The epoch (from 1) at which a trial with a budget of ``epochs`` reaches a rung."""
    return max(1, math.ceil(share * epochs))
