"""A race between experiments over folds: decisions as a function of the event log, without Ray.

A race reads events. Facts say what happened: ``race`` (a launch and its rules), ``propose``, ``rung`` and ``fold``
(values), ``fail``. Decisions say what followed: ``drop`` and ``reopen``. After every fact ``next_decision`` names
what is due; whoever drives the race writes it to the log and applies it, so that a later launch takes it as given,
and ``raytag.search.race.replay`` can check that the log explains itself. The rules are in
``raytag.search.race.rules``.

Folds come in one order for all. S_d are its first d folds; experiments are compared on the same S_d only, because
folds differ more than experiments do.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from raytag.search.race import fold_effects, rules
from raytag.search.race.rules import Settings

FACTS = ("race", "propose", "rung", "fold", "fail")
DECISIONS = ("drop", "reopen")
Decision = dict[str, Any]  # an event without number and time
Rung = tuple[int, float]  # first fold, share of the budget: both may differ in a later launch


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

    @property
    def open(self) -> bool:
        return not (self.dropped or self.failed)


class Race:
    """The state of a race. Empty until its first ``race`` event."""

    def __init__(self) -> None:
        self.settings = Settings()
        self.folds: list[int] = []  # in the order in which every experiment runs them
        self.weights: dict[int, float] = {}  # share of each fold in cv_lwlrap
        self.number: int | None = None  # experiments that take part; None: as many as are proposed
        self.entries: dict[str, Entry] = {}
        self._proposed = 0  # proposals so far; one may repeat an experiment
        self._priors: list[float] = []
        self._memo: dict[Any, Any] = {}  # what follows from the facts, until the next one
        self._judged: tuple[str, Rung] | None = None  # the rung that the last fact reached
        self._reconsider = False  # the last fact changed the rules

    # -- events ---------------------------------------------------------------------------------------

    def apply(self, event: Mapping[str, Any]) -> None:
        """Take over a fact or a decision; events of other kinds are ignored. ValueError: a value is not finite."""
        what = event["event"]
        if what == "race":
            self._memo.clear()
            self._start(event)
        elif what in FACTS:
            # a race event keeps the last two: what a driver that died did not decide is decided by the next one
            self._memo, self._judged, self._reconsider = {}, None, False
        if what == "propose":
            self._proposed = max(self._proposed, int(event["index"]) + 1)
            kind, epochs = str(event.get("kind", "")), int(event.get("epochs", 0))
            entry = Entry(event["experiment"], int(event["index"]), kind, epochs)
            self.entries.setdefault(entry.id, entry)
        elif what != "race" and what in FACTS + DECISIONS and event["experiment"] in self.entries:
            self._apply(what, self.entries[event["experiment"]], event)

    def _start(self, event: Mapping[str, Any]) -> None:
        settings, old = Settings.from_plain(event["settings"]), self.settings
        changed = replace(settings, keep=old.keep) != old or settings.keep > old.keep
        self._reconsider = bool(self.folds) and (changed or self._reconsider)
        self.settings, self.folds, self.number = settings, list(event["folds"]), event["number"]
        self.weights = dict(zip(self.folds, event["weights"], strict=True))
        for entry in self.entries.values():
            entry.failed = False

    def _apply(self, what: str, entry: Entry, event: Mapping[str, Any]) -> None:
        value = float(event["lwlrap" if what == "fold" else "value"]) if what in ("fold", "rung") else 0.0
        if not math.isfinite(value):  # neither above nor below any bar
            raise ValueError(f"fold {event['fold']} of {entry.id}: its {what} value {value} is not a finite number")
        if what == "rung":
            rung = int(event["fold"]), self.settings.shares[int(event["rung"])]
            entry.rungs.setdefault(rung, value)
            self._judged = entry.id, rung
        elif what == "fold":
            entry.folds[int(event["fold"])] = value
            if event.get("clip_variance") is not None:
                self._priors.append(float(event["clip_variance"]))
        elif what == "fail":
            entry.failed = True
        else:
            entry.dropped = what == "drop"

    # -- what is known --------------------------------------------------------------------------------

    @property
    def active(self) -> list[Entry]:
        """The experiments that take part in this launch, in order of proposal."""
        return [e for e in self.entries.values() if self.number is None or e.index < self.number]

    @property
    def can_stop(self) -> bool:
        """Whether any experiment may be stopped at all."""
        return self.settings.stopping != "none" and (self.number is None or self.number > self.settings.keep)

    def depth(self, entry: Entry) -> int:
        """d: how many folds of the common order an experiment has finished without a gap."""
        return next((d for d, fold in enumerate(self.folds) if fold not in entry.folds), len(self.folds))

    def mean(self, entry: Entry, depth: int) -> float:
        """Mean lwlrap over S_d; minus infinity for d = 0."""
        return sum(entry.folds[k] for k in self.folds[:depth]) / depth if depth else -math.inf

    def layout(self) -> fold_effects.TwoWay:
        """The two-way fit of all finished folds; rows in the order of ``active``."""
        if "layout" not in self._memo:
            rows = [[e.folds.get(k, math.nan) for k in self.folds] for e in self.active]
            self._memo["layout"] = fold_effects.fit(
                np.array(rows, dtype=np.float64).reshape(len(rows), len(self.folds))
            )
        return self._memo["layout"]

    @property
    def variance(self) -> float | None:
        """s² of the paired rule; None while too little is known."""
        if "variance" not in self._memo:
            fitted = self.layout()
            self._memo["variance"] = rules.pooled_variance(fitted.residual_ss, fitted.dof, self._priors)
        return self._memo["variance"]

    def _portfolio_bar(self, depth: int) -> tuple[float, str] | None:
        """The bar after ``depth`` folds and the experiment that holds it."""
        if depth not in self._memo:
            means = [(self.mean(e, depth), e.id) for e in self.active if not e.failed and self.depth(e) >= depth]
            self._memo[depth] = rules.portfolio_bar(means, self.settings.keep)
        return self._memo[depth]

    def estimates(self) -> dict[str, float]:
        """One value for each experiment that has one: its mean over all folds, corrected for fold effects.

        An experiment that was dropped at a rung counts as if it had finished the first fold with the gain
        that like experiments had from that rung on, on average.
        """
        active, layout = self.active, self.layout()
        found = {e.id: float(v) for e, v in zip(active, layout.estimates, strict=True) if not math.isnan(v)}
        for e in active:
            rung = self._last_rung(e)
            if e.id not in found and e.dropped and rung is not None:
                found[e.id] = e.rungs[rung] + self._gain(e.kind, rung) - float(layout.fold_effects[0])
        return found

    def _gain(self, kind: str, rung: Rung) -> float:
        """By how much finished first folds ended above their value at a rung, on average; 0 if none did."""
        key = "gain", kind, rung
        if key not in self._memo:
            gains = [e.folds[rung[0]] - e.rungs[rung] for e in self._like(kind, rung) if rung[0] in e.folds]
            self._memo[key] = sum(gains) / len(gains) if gains else 0.0
        return self._memo[key]

    def _like(self, kind: str, rung: Rung) -> list[Entry]:
        return [e for e in self.active if e.kind == kind and rung in e.rungs]

    def _last_rung(self, entry: Entry, shares: Iterable[float] | None = None) -> Rung | None:
        """The highest rung (among ``shares``) that an experiment reached in what is now the first fold."""
        reached = (r for r in entry.rungs if r[0] == self.folds[0] and (shares is None or r[1] in shares))
        return max(reached, default=None)

    # -- decisions ------------------------------------------------------------------------------------

    def rung(self, experiment_id: str, fold: int, epoch: int) -> int | None:
        """The rung that an epoch of a trial reaches for the first time, if any.

        A training that continues from a checkpoint may pass several at once: it is judged at the highest.
        """
        entry, shares = self.entries[experiment_id], self.settings.shares
        if not self.folds or fold != self.folds[0] or epoch >= entry.epochs:
            return None
        reached = [i for i, share in enumerate(shares) if epoch >= rules.rung_epoch(share, entry.epochs)]
        last = self._last_rung(entry)
        return reached[-1] if reached and (last is None or shares[reached[-1]] > last[1]) else None

    def next_decision(self) -> Decision | None:
        """What follows from the facts and is not yet applied, one at a time; None when nothing is due."""
        if self._reconsider:
            for e in self.active:
                if e.dropped and self._failing(e) is None:
                    reason = f"the rules are now --stopping {self.settings.stopping} --keep {self.settings.keep}"
                    return {"event": "reopen", "experiment": e.id, "reason": reason}
        open_entries = [e for e in self.active if e.open]
        short = self.settings.keep - len(open_entries)
        if short >= 0:  # the portfolio holds all that are left: none of them may go
            dropped = [e for e in self.active if e.dropped and not e.failed]
            if short == 0 or not dropped:
                return None
            best = max(dropped, key=lambda e: (self._progress(e), e.id))
            reason = f"only {len(open_entries)} of {self.settings.keep} experiments to keep are left"
            return {"event": "reopen", "experiment": best.id, "reason": reason}
        failing = {e.id: why for e in open_entries if (why := self._failing(e)) is not None}
        if not failing:
            return None
        worst = min(failing, key=lambda name: (self._progress(self.entries[name]), name))  # not all may go
        return {"event": "drop", "experiment": worst, **failing[worst]}

    def _progress(self, entry: Entry) -> tuple[int, float, float]:
        """How far an experiment came, then how good it was there."""
        depth, rung = self.depth(entry), self._last_rung(entry)
        if depth or rung is None:
            return depth, 0.0, self.mean(entry, depth)
        return depth, rung[1], entry.rungs[rung]

    def _failing(self, entry: Entry) -> Decision | None:
        """Why an experiment does not pass where it stands now; None if it passes."""
        depth = self.depth(entry)
        if depth == len(self.folds) or self.settings.stopping == "none":
            return None
        if depth == 0:
            return self._failing_rung(entry)
        if self.settings.stopping == "exact":
            return self._failing_exact(entry)
        return self._failing_paired(entry, depth) if self.settings.stopping == "paired" else None

    def _failing_rung(self, entry: Entry) -> Decision | None:
        """Judged when the rung is reached, and again only if it was dropped there and the rules change."""
        rung = self._last_rung(entry, self.settings.shares)
        now = self._judged == (entry.id, rung)
        if rung is None or not (now or entry.dropped) or not self.settings.has_rungs:
            return None
        bar, value = self._rung_bar(entry.kind, rung), entry.rungs[rung]
        if bar is None or value >= bar:
            return None
        number = self.settings.shares.index(rung[1])
        reason = f"lwlrap {value:.4f} below {bar:.4f} at rung {number + 1} of fold {rung[0]}"
        return {"fold": rung[0], "rung": number, "value": value, "bar": bar, "margin": 0.0, "reason": reason}

    def _rung_bar(self, kind: str, rung: Rung) -> float | None:
        if (kind, rung) not in self._memo:
            values = [e.rungs[rung] for e in self._like(kind, rung)]
            self._memo[kind, rung] = rules.rung_bar(values, self.settings.keep, self.settings.eta)
        return self._memo[kind, rung]

    def _failing_exact(self, entry: Entry) -> Decision | None:
        bar, value = self._exact_bar(), self._bound(entry, 1.0)
        if value >= bar:
            return None
        reason = f"at most {value:.4f} with perfect scores on the other folds, below {bar:.4f}"
        return {"fold": None, "rung": None, "value": value, "bar": bar, "margin": 0.0, "reason": reason}

    def _exact_bar(self) -> float:
        """What ``keep`` experiments reach at least: whoever is below it at best is none of them."""
        if "exact" not in self._memo:
            least = sorted((self._bound(e, 0.0) for e in self.active if not e.failed), reverse=True)
            self._memo["exact"] = [*least, *[-math.inf] * self.settings.keep][self.settings.keep - 1]
        return self._memo["exact"]

    def _bound(self, entry: Entry, unknown: float) -> float:
        """cv_lwlrap if all folds that are not finished score ``unknown``."""
        return sum(w * entry.folds.get(k, unknown) for k, w in self.weights.items()) / sum(self.weights.values())

    def _failing_paired(self, entry: Entry, depth: int) -> Decision | None:
        found, variance = self._portfolio_bar(depth), self.variance
        if found is None or variance is None:
            return None
        (bar, holder), value = found, self.mean(entry, depth)
        margin = rules.paired_margin(variance, depth, len(self.folds), self.settings.z)
        if bar - value <= margin:
            return None
        folds = self.folds[:depth]
        reason = (
            f"mean lwlrap {value:.4f} on fold{'s' * (depth > 1)} {', '.join(map(str, folds))} is {bar - value:.4f} "
            f"below {holder}, which holds place {self.settings.keep}; allowed are {margin:.4f}"
        )
        return {"fold": folds[-1], "rung": None, "value": value, "bar": bar, "margin": margin, "reason": reason}

    # -- what to train next ---------------------------------------------------------------------------

    def next_trial(self, running: Iterable[tuple[str, int]]) -> tuple[str, int] | None:
        """The next (experiment, fold) to start, if any may start now.

        First folds in order of proposal; then the best experiment first (by ``estimates``), each fold only when
        the former one is finished and judged: the first complete experiments come early, and they are the bar
        that the others are held against. Where nothing can be dropped any more, no fold waits. Otherwise,
        when there is room and nothing else to do, the experiments that hold the portfolio's places now go
        ahead: they are the likeliest to complete anyway, and are stopped if they lose their place.

        Parameters
        ----------
        running : iterable of (experiment, fold)
            The trials under way.
        """
        busy = set(running)
        candidates = [
            (e, position, fold)
            for e in self.active
            if e.open
            for position, fold in enumerate(self.folds)
            if fold not in e.folds and (e.id, fold) not in busy
        ]
        if not self.can_stop:  # one experiment after another is completed
            return (candidates[0][0].id, candidates[0][2]) if candidates else None
        firsts = [c for c in candidates if c[1] == 0]
        if firsts:
            return firsts[0][0].id, firsts[0][2]
        certain = self._certain
        ready = [c for c in candidates if certain or self.depth(c[0]) == c[1]]
        if not ready:
            places = sorted(self.active, key=lambda e: (self._progress(e), e.id), reverse=True)
            ahead = {e.id for e in places[: self.settings.keep] if self.depth(e) > 0}
            ready = [c for c in candidates if c[0].id in ahead]
        values = self.estimates() if ready else {}
        best = max(ready, key=lambda c: (values.get(c[0].id, -math.inf), -c[1], c[0].id), default=None)
        return (best[0].id, best[2]) if best is not None else None

    @property
    def _certain(self) -> bool:
        """Every experiment that is left will complete, and no more will come."""
        complete = self.number is not None and self._proposed >= self.number
        return complete and sum(e.open for e in self.active) <= self.settings.keep
