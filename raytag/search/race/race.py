"""A race between experiments over folds: decisions as a function of the event log, without Ray.

A race reads events. Facts say what happened: ``race`` (a launch and its rules), ``propose``, ``rung`` and ``fold``
(values), ``fail``, ``lost`` (a finished fold is in the store no more). Decisions say what followed: ``drop`` and
``reopen``. After every fact ``next_decision`` names what is due; whoever drives the race writes it to the log and
applies it, so that a later launch takes it as given, and ``raytag.search.race.replay`` can check that the log
explains itself. What is known is a `State`; the rules that judge by it are in ``raytag.search.race.rules``.

Experiments that learn from others are of a later stage (``raytag.train.stages``). Each stage is a race of its own
with a portfolio of its own, for a child would beat its parent whatever either is worth. Leaky ones race among
themselves.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from raytag.search.race.settings import Settings
from raytag.search.race.state import Decision, Entry, State, rung_epoch

FACTS = ("race", "propose", "rung", "fold", "fail", "lost")
DECISIONS = ("drop", "reopen")
FIRST = "1"  # the stage of what learns from the data alone


class Race:
    """The state of a race and what follows from it. Empty until its first ``race`` event."""

    def __init__(self) -> None:
        self.settings = Settings()
        self.entries: dict[str, Entry] = {}  # in order of proposal
        self.states = {FIRST: State()}  # by stage
        self._proposed = 0  # proposals so far; one may repeat an experiment
        self._reconsider = False  # the last fact changed the rules

    @property
    def state(self) -> State:
        """Of the first stage."""
        return self.states[FIRST]

    @property
    def active(self) -> list[Entry]:
        """The experiments that take part in this launch, in order of proposal."""
        number = self.state.number
        return [e for e in self.entries.values() if number is None or e.index < number]

    def estimates(self) -> dict[str, float]:
        """`State.estimates` of all stages."""
        return {name: value for state in self.states.values() for name, value in state.estimates().items()}

    @property
    def folds(self) -> list[int]:
        """In the order in which every experiment runs them."""
        return self.state.folds

    @property
    def can_stop(self) -> bool:
        """Whether any experiment may be stopped at all."""
        number = self.state.number
        return self.settings.rule.can_stop and (number is None or number > self.settings.keep)

    # -- events ---------------------------------------------------------------------------------------

    def apply(self, event: Mapping[str, Any]) -> None:
        """Take over a fact or a decision; events of other kinds are ignored. ValueError: a value is not finite."""
        what = event["event"]
        if what == "race":
            self._start(event)
        elif what in FACTS:
            # a race event keeps these two: what a driver that died did not decide is decided by the next one
            self._reconsider = False
            for state in self.states.values():
                state.judged = None
        if what in FACTS:
            for state in self.states.values():
                state.found.clear()
        if what == "propose":
            self._proposed = max(self._proposed, int(event["index"]) + 1)
            kind, epochs, stage = str(event.get("kind", "")), int(event.get("epochs", 0)), event.get("stage", FIRST)
            entry = self.entries.setdefault(
                event["experiment"], Entry(event["experiment"], int(event["index"]), kind, epochs, stage=stage)
            )
            if entry.stage not in self.states:
                self.states[entry.stage] = replace(self.state, entries={}, priors=[], judged=None, found={})
            self.states[entry.stage].entries.setdefault(entry.id, entry)
        elif what != "race" and what in FACTS + DECISIONS and event["experiment"] in self.entries:
            self._apply(what, self.entries[event["experiment"]], event)

    def _start(self, event: Mapping[str, Any]) -> None:
        settings, old = Settings.from_plain(event["settings"]), self.settings
        changed = replace(settings, keep=old.keep) != old or settings.keep > old.keep
        self._reconsider = bool(self.folds) and (changed or self._reconsider)
        self.settings = settings
        for state in self.states.values():
            state.keep, state.shares, state.eta, state.z = settings.keep, settings.shares, settings.eta, settings.z
            state.folds, state.number = list(event["folds"]), event["number"]
            state.weights = dict(zip(state.folds, event["weights"], strict=True))
        for entry in self.entries.values():
            entry.failed = False

    def _apply(self, what: str, entry: Entry, event: Mapping[str, Any]) -> None:
        value = float(event["lwlrap" if what == "fold" else "value"]) if what in ("fold", "rung") else 0.0
        if not math.isfinite(value):  # neither above nor below any bar
            raise ValueError(f"fold {event['fold']} of {entry.id}: its {what} value {value} is not a finite number")
        if what == "rung":
            if int(event["rung"]) >= len(self.settings.shares):
                return  # the line that told the rules is damaged
            rung = int(event["fold"]), self.settings.shares[int(event["rung"])]
            entry.rungs.setdefault(rung, value)
            self.states[entry.stage].judged = entry.id, rung
        elif what == "fold":
            entry.folds[int(event["fold"])] = value
            if event.get("clip_variance") is not None:
                self.states[entry.stage].priors.append(float(event["clip_variance"]))
        elif what == "lost":
            entry.passed = max(entry.passed, self.state.depth(entry))
            entry.folds.pop(int(event["fold"]), None)
        elif what == "fail":
            entry.failed = True
        else:
            entry.dropped = what == "drop"

    # -- decisions ------------------------------------------------------------------------------------

    def rung(self, experiment_id: str, fold: int, epoch: int) -> int | None:
        """The rung that an epoch of a trial reaches for the first time, if any.

        A training that continues from a checkpoint may pass several at once: it is judged at the highest.
        """
        entry, shares = self.entries[experiment_id], self.settings.shares
        if not self.folds or fold != self.folds[0] or epoch >= entry.epochs:
            return None
        reached = [i for i, share in enumerate(shares) if epoch >= rung_epoch(share, entry.epochs)]
        last = self.state.last_rung(entry)
        return reached[-1] if reached and (last is None or shares[reached[-1]] > last[1]) else None

    def next_decision(self) -> Decision | None:
        """What follows from the facts and is not yet applied, one at a time; None when nothing is due."""
        if self._reconsider:
            for e in self.active:
                if e.dropped and self._failing(e) is None:
                    reason = f"the rules are now --stopping {self.settings.stopping} --keep {self.settings.keep}"
                    return {"event": "reopen", "experiment": e.id, "reason": reason}
        return next((due for state in self.states.values() if (due := self._due(state)) is not None), None)

    def _due(self, state: State) -> Decision | None:
        """What follows from the facts of one stage."""
        open_entries = [e for e in state.active if e.open]
        short = self.settings.keep - len(open_entries)
        if short >= 0:  # the portfolio holds all that are left: none of them may go
            dropped = [e for e in state.active if e.dropped and not e.failed]
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
        depth, rung = self.state.depth(entry), self.state.last_rung(entry)
        if depth or rung is None:
            return depth, 0.0, self.state.mean(entry, depth)
        return depth, rung[1], entry.rungs[rung]

    def _failing(self, entry: Entry) -> Decision | None:
        """Why an experiment does not pass where it stands now; None if it passes, as all do that are complete, and
        those that passed here before they lost a fold."""
        depth = self.state.depth(entry)
        passed = depth == len(self.folds) or depth < entry.passed
        return None if passed else self.settings.rule.failing(self.states[entry.stage], entry)

    # -- what to train next ---------------------------------------------------------------------------

    def next_trial(
        self, running: Iterable[tuple[str, int]], blocked: Collection[tuple[str, int]] = ()
    ) -> tuple[str, int] | None:
        """The next (experiment, fold) to start, if any may start now.

        First folds in order of proposal; then the best experiment first (by `State.estimates`), each fold only when
        the former one is finished and judged: the first complete experiments come early, and they are the bar
        that the others are held against. Where nothing can be dropped any more, no fold waits. Otherwise,
        when there is room and nothing else to do, the experiments that hold the portfolio's places now go
        ahead: they are the likeliest to complete anyway, and are stopped if they lose their place.

        Parameters
        ----------
        running : iterable of (experiment, fold)
            The trials under way.
        blocked : collection of (experiment, fold)
            What cannot be trained in this launch, because what it reads failed: no other fold waits for it.
        """
        busy = {*running, *blocked}
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
        ready = [
            c
            for c in candidates
            if certain or all(fold in c[0].folds or (c[0].id, fold) in blocked for fold in self.folds[: c[1]])
        ]
        if not ready:
            ahead = {e.id for e in self.places() if self.state.depth(e) > 0}
            ready = [c for c in candidates if c[0].id in ahead]
        values = self.estimates() if ready else {}
        best = max(ready, key=lambda c: (values.get(c[0].id, -math.inf), -c[1], c[0].id), default=None)
        return (best[0].id, best[2]) if best is not None else None

    def places(self) -> list[Entry]:
        """The experiments that hold the places of their stage's portfolio now."""
        ordered = [
            sorted(state.active, key=lambda e: (self._progress(e), e.id), reverse=True)
            for state in self.states.values()
        ]
        return [e for own in ordered for e in own[: self.settings.keep]]

    @property
    def _certain(self) -> bool:
        """Every experiment that is left will complete, and no more will come."""
        number = self.state.number
        complete = number is not None and self._proposed >= number
        most = max(sum(e.open for e in state.active) for state in self.states.values())
        return complete and most <= self.settings.keep
