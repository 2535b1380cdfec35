"""The driver of a search: proposals, folds and the log, independent of Ray Tune.

Tune asks it what to train next and tells it what came out (``raytag.search.tuner``). What is finished is taken from
the run store, what was decided from the event log; nothing is read from Tune's own state, so a launch after a kill
continues exactly there. Decisions are the race's (``raytag.search.race.race``): the driver writes facts to the log,
asks the race what follows, and writes that down too.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from raytag.experiment import Experiment
from raytag.search.prepare.plan import Plan
from raytag.search.race.clip_luck import clip_variance
from raytag.search.race.race import Race
from raytag.store.events import EventLog
from raytag.store.run import RunStore

MOVED = 1e-3  # lwlrap: an estimate that moved by less is not told again
REPEATS = 100  # proposals in a row that were made before: the space has no more


@dataclass
class Trial:
    """One experiment on one fold, as the screen shows it."""

    experiment: Experiment
    fold: int
    state: str = "waiting"  # waiting, running, finished, stopped, failed, interrupted
    epoch: int = 0
    lwlrap: float = float("nan")
    best: float = float("nan")
    seconds: float = 0.0  # on this fold, earlier launches included
    resumed_from: int = 0
    started: float = field(default_factory=time.monotonic)
    reason: str = ""
    device: str = ""  # cpu or cuda, once finished

    @property
    def name(self) -> str:
        return f"{self.experiment.id} fold {self.fold}"

    @property
    def epochs(self) -> int:
        return self.experiment.training.epochs

    @property
    def seconds_left(self) -> float | None:
        """Predicted from this trial's own epochs; None before the first."""
        if self.state != "running" or self.epoch == 0:
            return None
        return self.seconds / self.epoch * (self.epochs - self.epoch)


class Listener(Protocol):
    """Whoever is told what happens, such as the screen."""

    def notify(self, what: str, trial: Trial) -> None:
        """A trial changed."""

    def announce(self, words: str) -> None:
        """An experiment was dropped between trials or taken up again."""


class Driver:
    """Decide what is trained.

    Parameters
    ----------
    store : RunStore
    log : EventLog
        Every event of this race carries the plan's key.
    plan : Plan

    Raises
    ------
    ValueError
        The plan has no end.
    """

    def __init__(self, store: RunStore, log: EventLog, plan: Plan) -> None:
        if plan.number is None and plan.budget is None:
            raise ValueError("a search without an end: give a number of experiments or a time budget")
        self.store, self.log, self.plan = store, log, plan
        self.searcher, self.key, self.number, self.budget = plan.searcher, plan.key, plan.number, plan.budget
        self.race = Race()
        self.experiments: dict[str, Experiment] = {}  # by identity, in order of proposal
        self.proposed = self.repeats = 0
        self.told: dict[int, float] = {}  # by proposal: what the searcher believes
        self.trials: dict[str, Trial] = {}  # by Tune's trial id
        self.failed: dict[str, str] = {}
        self.reasons: dict[str, str] = {}  # why an experiment was dropped
        self.interrupted = False
        self._clips = store.clips()

    def begin(self, listener: Listener) -> None:
        """Take over what the log and the store hold, and enter this launch and its rules."""
        self.listener = listener
        self._replay()
        self._put(
            "race",
            settings=self.plan.settings.plain(),
            folds=list(self.plan.folds),
            weights=[float(w) for w in self.plan.weights],
            number=self.number,
        )
        for experiment_id in list(self.experiments):
            self._find_folds(experiment_id)

    # -- what to train next ---------------------------------------------------------------------------

    def next_trial(self, trial_id: str) -> Trial | None:
        """The next trial to start, registered under ``trial_id``; None when there is none now."""
        if self.interrupted:
            return None
        found = self._next()
        if found is None:
            return None
        experiment_id, fold = found
        trial = Trial(self.experiments[experiment_id], fold)
        self.trials[trial_id] = trial
        return trial

    @property
    def running(self) -> list[Trial]:
        return [t for t in self.trials.values() if t.state in ("waiting", "running")]

    def _next(self) -> tuple[str, int] | None:
        """What is open of a first fold, then new experiments, then other folds; without stopping, what is open."""
        busy = [(t.experiment.id, t.fold) for t in self.running]
        while True:
            found = self.race.next_trial(busy)
            if found is not None and (not self.race.can_stop or found[1] == self.race.folds[0]):
                return found
            if not self.may_propose():
                return found
            self._propose()

    def may_propose(self) -> bool:
        """Whether another experiment is wanted, and the budget has time for it."""
        if self.repeats >= REPEATS or (self.number is not None and self.proposed >= self.number):
            return False
        if self.budget is None or not self.experiments:
            return True  # a launch that trains nothing at all helps nobody
        epochs = max(e.training.epochs for e in self.experiments.values())
        whole = epochs * len(self.race.folds)
        # a fold waits for the one before it where that may drop the experiment
        return self.budget.allows(self.open_epochs(), whole, whole if self.race.can_stop else epochs)

    def open_epochs(self) -> float:
        """Epochs that are left if no more experiment is proposed or dropped."""
        running = {(t.experiment.id, t.fold): t.epoch for t in self.running}
        return sum(
            entry.epochs - running.get((entry.id, fold), 0)
            for entry in self.race.active
            if entry.open
            for fold in self.race.folds
            if fold not in entry.folds
        )

    def _propose(self) -> None:
        index = self.proposed
        # other folds, and other experiments' gains from a rung, tell more about all of them
        self._tell(self.experiments, least=MOVED)
        experiment = self.searcher.propose(index)
        self.proposed += 1
        self.store.add(experiment)
        new = experiment.id not in self.experiments
        self.repeats = 0 if new else self.repeats + 1
        if self.repeats == REPEATS:
            self.listener.announce(f"{REPEATS} proposals in a row were made before: no more are made")
        self.experiments.setdefault(experiment.id, experiment)
        self._put(
            "propose",
            index=index,
            experiment=experiment.id,
            kind=experiment.schedule.name,
            epochs=experiment.training.epochs,
        )
        if new:
            self._find_folds(experiment.id)

    def _find_folds(self, experiment_id: str) -> None:
        """Enter folds that the store has and this race has not seen: of a killed launch, or of another search."""
        entry = self.race.entries[experiment_id]
        for fold in self.race.folds:
            if fold not in entry.folds and self.store.fold(experiment_id, fold).finished:
                self._finish_fold(experiment_id, fold, found=True)

    # -- what came out --------------------------------------------------------------------------------

    def on_start(self, trial_id: str) -> None:
        """A worker took the trial up."""
        trial = self.trials[trial_id]
        if trial.state == "waiting":
            trial.state, trial.started = "running", time.monotonic()
            self.listener.notify("start", trial)

    def on_epoch(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        """An epoch of a trial is done; whether it shall stop now."""
        trial = self.trials[trial_id]
        before = trial.epoch, trial.seconds
        trial.state = "running"
        trial.epoch, trial.seconds = int(result["epoch"]), float(result["seconds"])
        trial.lwlrap, trial.best = float(result["lwlrap"]), float(result["best"])
        trial.resumed_from = int(result["resumed_from"])
        # a first epoch compiles and fills caches; where it is the only one it is what an epoch costs
        if self.budget is not None and trial.epoch > before[0] and (before[0] or trial.epochs == 1):
            self.budget.observe(trial.seconds - before[1], trial.epoch - before[0])
        experiment_id = trial.experiment.id
        rung = self.race.rung(experiment_id, trial.fold, trial.epoch)
        if rung is not None:
            where = {"experiment": experiment_id, "fold": trial.fold, "rung": rung, "epoch": trial.epoch}
            self._put("rung", **where, value=trial.best)
        if self.race.entries[experiment_id].dropped and not self.interrupted:
            trial.state, trial.reason = "stopped", self.reasons.get(experiment_id, "")
            self.listener.notify("stopped", trial)
            return True
        self.listener.notify("epoch", trial)
        return False

    def on_end(
        self,
        trial_id: str,
        state: str,
        result: Mapping[str, Any],
        reason: str = "",
        worker: Mapping[str, Any] | None = None,
        trace: str = "",
    ) -> None:
        """A trial ended: ``finished``, ``interrupted`` or ``failed``; a second call changes nothing.

        ``worker`` says where and when it ran and ``trace`` where it failed, for the log.
        """
        trial = self.trials[trial_id]
        if trial.state not in ("waiting", "running"):
            return
        trial.state, trial.reason = state, reason
        if state == "finished":
            trial.lwlrap, trial.epoch = float(result["lwlrap"]), int(result["epochs"])
            if self.budget is not None and trial.seconds:
                self.budget.observe(max(0.0, float(result["seconds"]) - trial.seconds), 0)  # its predictions
            trial.seconds, trial.device = float(result["seconds"]), str(result.get("device", ""))
            self._finish_fold(trial.experiment.id, trial.fold, **dict(worker or {}))
        elif state == "failed":
            # not a fact about the experiment: the next launch tries it again
            self.failed[trial.experiment.id] = f"fold {trial.fold}: {reason}"
            self._put("fail", experiment=trial.experiment.id, fold=trial.fold, reason=reason, trace=trace)
        self.listener.notify(state, trial)

    def _finish_fold(self, experiment_id: str, fold: int, **where: Any) -> None:
        value = float(self.store.fold(experiment_id, fold).result()["lwlrap"])
        variance = self._clip_variance(experiment_id, fold) if self.race.settings.rule.needs_clip_variance else None
        self._put("fold", experiment=experiment_id, fold=fold, lwlrap=value, clip_variance=variance, **where)
        self._tell([experiment_id])

    def _clip_variance(self, experiment_id: str, fold: int) -> float | None:
        """In the first fold: against the best of the others, while residuals are too few to say more."""
        others = [e for e in self.race.active if fold in e.folds and e.id != experiment_id]
        if fold != self.race.folds[0] or not others:
            return None
        best = max(others, key=lambda e: (e.folds[fold], e.id))
        first, second = (self.store.fold(e, fold).oof() for e in (experiment_id, best.id))
        return clip_variance(first, second, self._clips)

    def on_lost_worker(self, trial_id: str) -> None:
        """The worker of a trial died; it starts again elsewhere from its checkpoint."""
        trial = self.trials[trial_id]
        self.log.append("lost_worker", experiment=trial.experiment.id, fold=trial.fold)
        self.listener.notify("lost its worker", trial)

    def interrupt(self) -> None:
        """Start nothing more."""
        if not self.interrupted:
            self.interrupted = True
            self.log.append("interrupt")

    # -- the log --------------------------------------------------------------------------------------

    def _put(self, event: str, **fields: Any) -> None:
        """Write a fact down, and every decision that follows from it."""
        self.race.apply(self.log.append(event, key=self.key, **fields))
        while (decision := self.race.next_decision()) is not None:
            self.race.apply(self.log.append(**decision, key=self.key))
            experiment_id, reason = decision["experiment"], decision["reason"]
            if decision["event"] == "reopen":
                self.listener.announce(f"{experiment_id}: taken up again: {reason}")
                continue
            self.reasons[experiment_id] = reason
            if decision["rung"] is None:  # at a rung the trial that stops says so
                self.listener.announce(f"{experiment_id}: dropped: {reason}")
            self._tell([experiment_id])

    def _tell(self, experiment_ids: Iterable[str], least: float = 0.0) -> None:
        """Tell the searcher what experiments are worth: one value each, replaced when it moved by ``least``."""
        values = self.race.state.estimates()
        for experiment_id in experiment_ids:
            index, value = self.race.entries[experiment_id].index, values.get(experiment_id)
            if value is not None and (index not in self.told or abs(self.told[index] - value) > least):
                self.told[index] = value
                self.searcher.tell(index, value)
                self.log.append("tell", key=self.key, index=index, experiment=experiment_id, value=value)

    def _replay(self) -> None:
        """Take over what earlier launches of this sequence proposed, measured and decided."""
        for event in self.log.past:
            if event.get("key") != self.key:
                continue
            what = event["event"]
            if what == "propose":
                experiment = self.store.experiment(event["experiment"])
                self.experiments.setdefault(experiment.id, experiment)
                if self.number is None or event["index"] < self.number:
                    self.searcher.restore(event["index"], experiment)
                    self.proposed = event["index"] + 1
            elif what == "tell" and event["index"] < self.proposed:
                self.told[event["index"]] = event["value"]
                self.searcher.tell(event["index"], event["value"])
            elif what == "drop":
                self.reasons[event["experiment"]] = event["reason"]
            self.race.apply(event)
