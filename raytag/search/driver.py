"""The driver of a search: proposals, folds and the log, independent of Ray Tune.

Tune asks it what to train next and tells it what came out (``raytag.search.tuner``). What is finished is taken from
the run store, what was decided from the event log; nothing is read from Tune's own state, so a launch after a kill
continues exactly there. Decisions are the race's (``raytag.search.race.race``): the driver writes facts to the log,
asks the race what follows, and writes that down too.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from raytag.errors import DamagedError, NoRoomError
from raytag.experiment import Experiment
from raytag.search.prepare.plan import Plan
from raytag.search.progress import Listener, Trial
from raytag.search.queue.ancestry import Ancestry
from raytag.search.queue.queue import Queue
from raytag.search.race.clip_luck import clip_variance
from raytag.search.race.race import Race
from raytag.store.events import EventLog
from raytag.store.fold import PREDICTIONS
from raytag.store.run import RunStore

MOVED = 1e-3  # lwlrap: an estimate that moved by less is not told again
REPEATS = 100  # proposals in a row that were made before: the space has no more


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
        self.ancestry = Ancestry(store, plan.folds, lambda words: self.listener.announce(words))
        self.queue = Queue(self.race, self.ancestry, self._blocked)
        self.proposed = self.repeats = 0
        self.told: dict[int, float] = {}  # by proposal: what the searcher believes
        self.trials: dict[str, Trial] = {}  # by Tune's trial id
        self.failed: dict[str, str] = {}
        self.reasons: dict[str, str] = {}  # why an experiment was dropped
        self.interrupted = False
        self.full = ""  # why nothing more can be written
        self._clips = store.clips()

    def begin(self, listener: Listener) -> None:
        """Take over what the log and the store hold, and enter this launch and its rules.

        The store is the truth: what the log calls finished and is not there as a whole is taken back.
        """
        self.listener = listener
        self._replay()
        self._put(
            "race",
            settings=self.plan.settings.plain(),
            folds=list(self.plan.folds),
            weights=[float(w) for w in self.plan.weights],
            number=self.number,
        )
        for experiment_id, experiment in self.experiments.items():
            self.ancestry.enter(experiment)
            self.store.add(experiment)
            self._take_back(experiment_id)
        for words in self.store.take_mended():
            listener.announce(words)
        for experiment_id in list(self.experiments):
            self._find_folds(experiment_id)
        self._propose_again()

    # -- what to train next ---------------------------------------------------------------------------

    def next_trial(self, trial_id: str) -> Trial | None:
        """The next trial to start, registered under ``trial_id``; None when there is none now."""
        if self.interrupted or self.full:
            return None
        found = self.queue.next(self.running, self.may_propose, self._propose)
        if found is None:
            return None
        experiment_id, cell = found
        own = self.experiments.get(experiment_id) or self.ancestry.experiments[experiment_id]
        trial = self.trials[trial_id] = Trial(own, cell)
        return trial

    @property
    def running(self) -> list[Trial]:
        return [t for t in self.trials.values() if t.state in ("waiting", "running")]

    def may_propose(self) -> bool:
        """Whether another experiment is wanted, and the budget has time for it."""
        if self.repeats >= REPEATS or (self.number is not None and self.proposed >= self.number):
            return False
        if self.budget is None or not self.experiments:
            return True  # a launch that trains nothing at all helps nobody
        known = self.experiments.values()
        epochs, before = max(e.training.epochs for e in known), max(map(self.ancestry.epochs_before, known))
        whole = (epochs + before) * len(self.race.folds)
        # a fold waits for the one before it where that may drop the experiment
        return self.budget.allows(self.open_epochs(), whole, whole if self.race.can_stop else epochs + before)

    def open_epochs(self) -> float:
        """Epochs that are left if no more experiment is proposed or dropped, those of earlier stages included."""
        return self.queue.open_epochs(self.running)

    def _blocked(self, experiment_id: str, fold: int, reason: str) -> None:
        self.failed.setdefault(experiment_id, f"fold {fold}: {reason}")
        self.listener.announce(f"{experiment_id} fold {fold} is left out of this launch: {reason}")

    def _propose(self) -> None:
        index = self.proposed
        # other folds, and other experiments' gains from a rung, tell more about all of them
        self._tell(self.experiments, least=MOVED)
        self._enter(index, self.searcher.propose(index))
        self.proposed += 1

    def _enter(self, index: int, experiment: Experiment) -> None:
        self.ancestry.enter(experiment)
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
            stage=f"{experiment.stage}{' leaky' * experiment.leaky}",
            ancestors=self.ancestry.ancestors(experiment.id),
            fields=experiment.model_dump(mode="json"),
        )
        if new:
            self._find_folds(experiment.id)

    def _take_back(self, experiment_id: str) -> None:
        """Folds that were finished and are gone, or damaged, are open again."""
        entry = self.race.entries[experiment_id]
        for fold in range(self.store.n_folds):
            there = self.store.fold(experiment_id, fold)
            result, damage = there.look(read=PREDICTIONS)
            if damage:
                there.set_aside()
            if result or not (damage or fold in entry.folds):
                continue
            reason = damage or f"{there.storage.where()} holds no result any more"
            self.listener.announce(f"{experiment_id} fold {fold} is lost, and open again: {reason}")
            self._put("lost", experiment=experiment_id, fold=fold, reason=reason)

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
        trial.state, trial.reason = "running", ""
        trial.epoch, trial.seconds = int(result["epoch"]), float(result["seconds"])
        trial.lwlrap, trial.best = float(result["lwlrap"]), float(result["best"])
        trial.resumed_from = int(result["resumed_from"])
        if result.get("passed_over") and not before[0]:
            reason, begin = (
                result["passed_over"],
                f"epoch {trial.resumed_from}" if trial.resumed_from else "the start",
            )
            self._write("passed_over", experiment=trial.experiment.id, fold=trial.fold, reason=reason)
            self.listener.announce(f"{trial.name}: continues from {begin}, for {reason}")
        # a first epoch compiles and fills caches; where it is the only one it is what an epoch costs
        if self.budget is not None and trial.epoch > before[0] and (before[0] or trial.epochs == 1):
            self.budget.observe(trial.seconds - before[1], trial.epoch - before[0])
        experiment_id = trial.experiment.id
        raced = experiment_id in self.race.entries and not trial.cell.blind
        rung = self.race.rung(experiment_id, trial.fold, trial.epoch) if raced else None
        if rung is not None:
            where = {"experiment": experiment_id, "fold": trial.fold, "rung": rung, "epoch": trial.epoch}
            self._put("rung", **where, value=trial.best)
        if self.full:
            return self._cut_off(trial)
        wanted = raced and not self.race.entries[experiment_id].dropped
        if not (wanted or self.interrupted or self.queue.is_read(experiment_id)):
            trial.state = "stopped"
            trial.reason = self.reasons.get(experiment_id, "nothing that is left learns from it")
            self.listener.notify("stopped", trial)
            return True
        self.listener.notify("epoch", trial)
        return False

    def on_wait(self, trial_id: str, reason: str) -> bool:
        """A trial waits for room on a disk; whether it shall stop now."""
        trial = self.trials[trial_id]
        if self.interrupted or self.full:
            return self._cut_off(trial)
        if not trial.reason:  # it is told every few seconds
            self.listener.announce(f"{trial.name} waits: {reason}")
        trial.reason = reason
        return False

    def _cut_off(self, trial: Trial) -> bool:
        """Leave a trial with the checkpoint that it has."""
        trial.state, trial.reason = "interrupted", self.full
        self.listener.notify("interrupted", trial)
        return True

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
            self.ancestry.finished(trial.model)
            if trial.cell.blind:  # it is no fold of the experiment
                self._inner(trial, lwlrap=trial.lwlrap, **dict(worker or {}))
            else:
                self._finish_fold(trial.experiment.id, trial.fold, **dict(worker or {}))
        elif state == "failed":
            # not a fact about the experiment: the next launch tries it again
            if reason.startswith(NoRoomError.__name__):
                self.stop_for(reason.partition(": ")[2])
            self.failed[trial.experiment.id] = f"{trial.cell}: {reason}"
            self.ancestry.failed(trial.model, reason)
            if trial.cell.blind:
                self._inner(trial, reason=reason, trace=trace)
            else:
                self._put("fail", experiment=trial.experiment.id, fold=trial.fold, reason=reason, trace=trace)
        self.listener.notify(state, trial)

    def _inner(self, trial: Trial, **fields: Any) -> None:
        """Note what became of a model that leaves out further folds, which a later stage asked for."""
        self._write("inner", experiment=trial.experiment.id, fold=trial.fold, blind=trial.cell.blind, **fields)

    def _finish_fold(self, experiment_id: str, fold: int, **where: Any) -> None:
        value = float(self.store.fold(experiment_id, fold).result()["lwlrap"])
        raced = experiment_id in self.race.entries and self.race.settings.rule.needs_clip_variance
        variance = self._clip_variance(experiment_id, fold) if raced else None
        self._put("fold", experiment=experiment_id, fold=fold, lwlrap=value, clip_variance=variance, **where)
        self._tell([experiment_id])

    def _clip_variance(self, experiment_id: str, fold: int) -> float | None:
        """In the first fold: against the best of the others, while residuals are too few to say more."""
        stage = self.race.entries[experiment_id].stage
        others = [e for e in self.race.active if fold in e.folds and e.id != experiment_id and e.stage == stage]
        if fold != self.race.folds[0] or not others:
            return None
        best = max(others, key=lambda e: (e.folds[fold], e.id))
        first, second = (self.store.fold(e, fold).oof() for e in (experiment_id, best.id))
        return clip_variance(first, second, self._clips)

    def on_lost_worker(self, trial_id: str) -> None:
        """The worker of a trial died; it starts again elsewhere from its checkpoint."""
        trial = self.trials[trial_id]
        self._write("lost_worker", experiment=trial.experiment.id, fold=trial.fold)
        self.listener.notify("lost its worker", trial)

    def stop_for(self, reason: str) -> None:
        """Start nothing more, and end what runs at its next epoch: nothing can be written."""
        if not self.full:
            self.full = reason
            self.listener.announce(f"Nothing more is started: {reason}")

    def interrupt(self) -> None:
        """Start nothing more."""
        if not self.interrupted:
            self.interrupted = True
            self._write("interrupt")

    def end(self) -> None:
        """The launch is over."""
        self._write("end", interrupted=self.interrupted, failed=sorted(self.failed))

    # -- the log --------------------------------------------------------------------------------------

    def _write(self, event: str, **fields: Any) -> dict[str, Any]:
        """Record an event. On a full disk nothing more is decided; what happened is found in the store later."""
        try:
            return self.log.append(event, **fields)
        except NoRoomError as error:
            self.stop_for(str(error))
            return {"event": event, **fields}

    def _put(self, event: str, **fields: Any) -> None:
        """Write a fact down, and every decision that follows from it."""
        self.race.apply(self._write(event, key=self.key, **fields))
        while (decision := self.race.next_decision()) is not None:
            self.race.apply(self._write(**decision, key=self.key))
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
        values = self.race.estimates()
        for experiment_id in experiment_ids:
            value = values.get(experiment_id)
            if value is None:  # also an earlier stage that was not proposed itself
                continue
            index = self.race.entries[experiment_id].index
            if index not in self.told or abs(self.told[index] - value) > least:
                self.told[index] = value
                self.searcher.tell(index, value)
                self._write("tell", key=self.key, index=index, experiment=experiment_id, value=value)

    def _proposed(self, event: Mapping[str, Any]) -> Experiment:
        """The experiment of a proposal, from the store or else from the log."""
        try:
            return self.store.experiment(event["experiment"])
        except (DamagedError, FileNotFoundError):
            if "fields" not in event:
                raise
            return Experiment.model_validate(event["fields"])

    def _propose_again(self) -> None:
        """Proposals whose line in the log is damaged: what was told of them names them, or they are made again."""
        own = [e for e in self.log.past if e.get("key") == self.key]
        made = {e["index"] for e in own if e["event"] == "propose"}
        told = {e["index"]: e["experiment"] for e in own if e["event"] == "tell"}
        for index in sorted(set(range(self.proposed)) - made):
            if index in told:
                experiment = self.store.experiment(told[index])
                self.searcher.restore(index, experiment)
            else:
                experiment = self.searcher.propose(index)
            self._enter(index, experiment)
            for event in own:  # the race did not know whom they were about
                if event["event"] == "rung" and event["experiment"] == experiment.id:
                    self._put(**{k: v for k, v in event.items() if k not in ("n", "time", "key")})

    def _replay(self) -> None:
        """Take over what earlier launches of this sequence proposed, measured and decided."""
        for event in self.log.past:
            if event.get("key") != self.key:
                continue
            what = event["event"]
            if what == "propose":
                experiment = self._proposed(event)
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
