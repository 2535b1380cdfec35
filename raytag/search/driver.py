"""The driver of a search: proposals, folds, decisions and the log, independent of Ray Tune.

Tune asks it what to train next and tells it what came out (``raytag.search.tuner``). What is finished is
taken from the run store, what was decided from the event log; nothing is read from Tune's own state, so a
launch after a kill continues exactly there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from raytag.events import EventLog
from raytag.experiment import Experiment
from raytag.search.racing import Race
from raytag.search.searchers import Searcher
from raytag.store import RunStore


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
    def epochs(self) -> int:
        return self.experiment.training.epochs

    @property
    def seconds_left(self) -> float | None:
        """Predicted from this trial's own epochs; None before the first."""
        if self.state != "running" or self.epoch == 0:
            return None
        return self.seconds / self.epoch * (self.epochs - self.epoch)


class Driver:
    """Decide what is trained.

    Parameters
    ----------
    store : RunStore
    searcher : Searcher
        Proposes experiments.
    key : str
        Names the sequence of proposals (``search_key``), so that a later launch continues it.
    race : Race
        Decides which experiments go on.
    number : int
        Experiments to draw in all, earlier launches of the same sequence included.
    log : EventLog
    notify : callable
        Called with (what, trial) after every change: for the screen.
    """

    def __init__(
        self,
        store: RunStore,
        searcher: Searcher,
        key: str,
        race: Race,
        number: int,
        log: EventLog,
        notify: Callable[[str, Trial], None] = lambda what, trial: None,
    ) -> None:
        self.store, self.searcher, self.key, self.race = store, searcher, key, race
        self.number = number if searcher.size is None else min(number, searcher.size)
        race.number = self.number
        self.log, self.notify = log, notify
        self.experiments: dict[str, Experiment] = {}  # by identity, in order of proposal
        self.index: dict[str, int] = {}  # the proposal that first gave an experiment
        self.proposed = 0
        self.told: set[int] = set()
        self.trials: dict[str, Trial] = {}  # by Tune's trial id
        self.failed: dict[str, str] = {}
        self.interrupted = False
        self._replay()

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
        busy = [(t.experiment.id, t.fold) for t in self.running]
        if not self.race.can_stop:  # full cross-validation: complete what is open before drawing more
            while (found := self.race.next_fold(busy)) is None and self.proposed < self.number:
                self._propose()
            return found
        first = self.race.folds[0]
        for entry in self.race.entries.values():  # first folds that an earlier launch left open come first
            if not self.race.first_fold_done(entry.id) and (entry.id, first) not in busy:
                return entry.id, first
        while self.proposed < self.number:
            experiment = self._propose()
            if experiment is not None and not self.race.first_fold_done(experiment.id):
                return experiment.id, first
        return self.race.next_fold(busy)

    def _propose(self) -> Experiment | None:
        """Draw the next experiment; None when it was drawn before."""
        index = self.proposed
        experiment = self.searcher.propose(index)
        self.proposed += 1
        known = experiment.id in self.experiments
        self.log.append("propose", key=self.key, index=index, experiment=experiment.id)
        self.store.add(experiment)
        self._enter(experiment, index)
        return None if known else experiment

    def _enter(self, experiment: Experiment, index: int) -> None:
        """Let an experiment take part, with what the store already holds of it."""
        if experiment.id in self.experiments:
            return
        self.experiments[experiment.id] = experiment
        self.index[experiment.id] = index
        self.race.add(experiment.id, experiment.schedule.name, experiment.training.epochs)
        for fold in self.race.folds:
            store = self.store.fold(experiment.id, fold)
            if store.finished:
                self.race.finish(experiment.id, fold, float(store.result()["lwlrap"]))
        if self.race.folds[0] in self.race.entries[experiment.id].folds:
            self._tell(experiment.id)

    # -- what came out --------------------------------------------------------------------------------

    def on_start(self, trial_id: str) -> None:
        """A worker took the trial up."""
        trial = self.trials[trial_id]
        if trial.state == "waiting":
            trial.state, trial.started = "running", time.monotonic()

    def on_epoch(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        """An epoch of a trial is done; whether it shall stop now."""
        trial = self.trials[trial_id]
        trial.state = "running"
        trial.epoch, trial.seconds = int(result["epoch"]), float(result["seconds"])
        trial.lwlrap, trial.best = float(result["lwlrap"]), float(result["best"])
        trial.resumed_from = int(result["resumed_from"])
        decision = self.race.report(trial.experiment.id, trial.fold, trial.epoch, trial.best)
        if decision is None:
            self.notify("epoch", trial)
            return False
        self.log.append("rung", **decision.event(trial.fold))
        if decision.stop and not self.interrupted:
            reason = f"lwlrap {decision.value:.4f} below {decision.bar:.4f} at rung {decision.rung + 1}"
            self.log.append("drop", experiment=trial.experiment.id, fold=trial.fold, reason=reason)
            self.race.drop(trial.experiment.id)
            self._tell(trial.experiment.id)
            trial.state, trial.reason = "stopped", reason
            self.notify("stopped", trial)
            return True
        self.notify("epoch", trial)
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
            value = float(result["lwlrap"])
            trial.lwlrap, trial.epoch = value, int(result["epochs"])
            trial.seconds, trial.device = float(result["seconds"]), str(result.get("device", ""))
            self.race.finish(trial.experiment.id, trial.fold, value)
            where = dict(worker or {})
            self.log.append("fold", experiment=trial.experiment.id, fold=trial.fold, lwlrap=value, **where)
            if trial.fold == self.race.folds[0]:
                self._tell(trial.experiment.id)
        elif state == "failed":
            # not a fact of the race: the next launch tries it again
            self.log.append("fail", experiment=trial.experiment.id, fold=trial.fold, reason=reason, trace=trace)
            self.failed[trial.experiment.id] = f"fold {trial.fold}: {reason}"
            self.race.drop(trial.experiment.id)
        self.notify(state, trial)

    def on_lost_worker(self, trial_id: str) -> None:
        """The worker of a trial died; it starts again elsewhere from its checkpoint."""
        trial = self.trials[trial_id]
        self.log.append("lost_worker", experiment=trial.experiment.id, fold=trial.fold)
        self.notify("lost its worker", trial)

    def interrupt(self) -> None:
        """Start nothing more."""
        if not self.interrupted:
            self.interrupted = True
            self.log.append("interrupt")

    def _tell(self, experiment_id: str) -> None:
        """Tell the searcher an experiment's value, once: its first fold, or what it had when dropped."""
        index = self.index[experiment_id]
        if index in self.told:
            return
        value = self.race.entries[experiment_id].mean
        self.told.add(index)
        self.searcher.tell(index, value)
        self.log.append("tell", key=self.key, index=index, experiment=experiment_id, value=value)

    # -- what earlier launches decided ----------------------------------------------------------------

    def _replay(self) -> None:
        """Take over proposals, told values and decisions of earlier launches from the log."""
        mine = [e for e in self.log.past if e["event"] in ("propose", "tell") and e["key"] == self.key]
        for event in mine:
            if event["event"] == "propose":
                if event["index"] >= self.number:
                    break  # an earlier launch drew more than this one asks for
                self.searcher.propose(event["index"])
                self.proposed = event["index"] + 1
            elif event["index"] < self.proposed and event["index"] not in self.told:
                self.searcher.tell(event["index"], event["value"])
                self.told.add(event["index"])
        for event in mine:
            if event["event"] == "propose" and event["index"] < self.proposed:
                self._enter(self.store.experiment(event["experiment"]), event["index"])
        self.race.replay(self.log.past)
        for entry in self.race.entries.values():
            if entry.dropped and (self.race.stopping == "none" or self.race.folds[0] in entry.folds):
                self.log.append("reopen", experiment=entry.id, reason=f"stopping is {self.race.stopping}")
                self.race.reopen(entry.id)
