"""The driver on Ray Tune: a searcher that gates folds, a scheduler that stops trials.

Tune pickles its searcher, scheduler and callbacks from time to time; none of them holds anything but the
key under which the driver is kept in this process. Tune's own experiment state is written to a temporary
folder and thrown away: what counts is in the run store and the event log.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable
from typing import Any

from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher
from ray.tune.stopper import Stopper
from ray.tune.trainable import wrap_function

from raytag.cluster.resources import Slots
from raytag.search.driver import Driver
from raytag.search.failures import why_lost
from raytag.search.trial import Shared, run_trial

MAX_WORKER_LOSSES = 3  # a trial whose worker dies more often than this fails
_drivers: dict[str, Driver] = {}
_looks: dict[str, Callable[[], None]] = {}  # what is called between events
_errors: dict[str, str] = {}  # by trial: what Ray said when its worker was last lost


class _Gate(Searcher):
    """Lets Tune start exactly the trials that the driver names, all at once that there is room for."""

    def __init__(self, key: str, slots: Callable[[], int]) -> None:
        super().__init__(metric="lwlrap", mode="max")
        self.key, self.slots = key, slots

    def suggest(self, trial_id: str) -> Any:  # a dict, None (ask again later) or FINISHED
        driver = _drivers[self.key]
        if len(driver.running) >= self.slots():
            return None
        trial = driver.next_trial(trial_id)
        if trial is None:
            return None if driver.running else Searcher.FINISHED
        return {"experiment": trial.experiment.id, "fold": trial.fold, "blind": list(trial.cell.blind)}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        _finish(_drivers[self.key], trial_id, result or {}, error)

    def save(self, checkpoint_path: str) -> None:
        """Nothing to keep: the event log has it."""

    def restore(self, checkpoint_path: str) -> None:
        """Never called: a launch starts from the event log."""


class _Racer(FIFOScheduler):
    """Stops a trial when the driver says so."""

    supports_buffered_results = False

    def __init__(self, key: str) -> None:
        super().__init__()
        self.key = key

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        driver = _drivers[self.key]
        if result.get("state") == "waiting":
            stop = driver.on_wait(trial.trial_id, result["reason"])
            return TrialScheduler.STOP if stop else TrialScheduler.CONTINUE
        if result.get("state") != "running":
            _finish(driver, trial.trial_id, result, error=False)
            return TrialScheduler.CONTINUE
        return TrialScheduler.STOP if driver.on_epoch(trial.trial_id, result) else TrialScheduler.CONTINUE

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        _errors[trial.trial_id] = str(trial.get_error())
        super().on_trial_error(tune_controller, trial)


class _Watch(tune.Callback):
    """Tells the driver when a trial starts and when its worker died (Tune starts it again by itself)."""

    def __init__(self, key: str) -> None:
        self.key = key

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        _drivers[self.key].on_start(trial.trial_id)

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        _drivers[self.key].on_lost_worker(trial.trial_id)


class _Names:
    """What Tune calls a trial, in its logs and in what it tells Ray's dashboard."""

    def __init__(self, key: str) -> None:
        self.key = key

    def __call__(self, trial: Any) -> str:
        return _drivers[self.key].trials[trial.trial_id].name


class _Interrupt(Stopper):
    """Ends the launch once an interrupted driver has no running trial: what waits for room never starts.

    Tune asks several times a second.
    """

    def __init__(self, key: str) -> None:
        self.key = key

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        driver = _drivers[self.key]
        _looks[self.key]()
        return driver.interrupted and not any(t.state == "running" for t in driver.trials.values())


def _finish(driver: Driver, trial_id: str, result: dict[str, Any], error: bool) -> None:
    state = "failed" if error else str(result.get("state", "failed"))
    if state == "running":  # Tune ended it without a word of its own
        state = "failed"
    reason = str(result.get("reason", why_lost(_errors.get(trial_id, ""), MAX_WORKER_LOSSES + 1) if error else ""))
    values = json.loads(result.get("result", "null")) or {}
    driver.on_end(
        trial_id, state, values, reason, json.loads(result.get("worker", "null")), result.get("trace", "")
    )


def _trainable(run_name: str, shared: Shared, slots: Slots) -> Any:
    """`run_trial` as a class: Ray's dashboard shows an actor's class, and what its repr says."""

    class Trial(wrap_function(tune.with_parameters(run_trial, shared=shared))):  # type: ignore[misc]
        def __repr__(self) -> str:
            return f"trials of {run_name}"

    trainable = tune.with_resources(Trial, {"cpu": slots.cpus, "gpu": slots.gpus})
    trainable.__qualname__ = "Trial"
    return trainable


def run(
    driver: Driver, shared: Shared, slots: Slots, look: Callable[[], None] = lambda: None, *, waiting: int = 0
) -> None:
    """Train all that the driver names; returns when it has nothing left or was interrupted.

    Parameters
    ----------
    driver : Driver
    shared : Shared
        Handed to every trial through the object store.
    slots : Slots
        What a trial takes, and how many run at a time.
    look : callable
        Called several times a second: may interrupt the driver.
    waiting : int
        So many trials are asked for beyond what fits now: a cluster that can grow sees the demand.
    """
    key = f"{driver.store.name}-{id(driver)}"
    _drivers[key], _looks[key] = driver, look
    scratch = tempfile.mkdtemp(prefix="raytag-tune-")
    os.environ.update(
        RAY_AIR_NEW_OUTPUT="0",  # Tune's own tables would fight with ours for the screen
        TUNE_DISABLE_SIGINT_HANDLER="1",  # ours writes checkpoints
        TUNE_DISABLE_AUTO_CALLBACK_LOGGERS="1",  # no CSV, JSON and TensorBoard copies of our results
        TUNE_DISABLE_STRICT_METRIC_CHECKING="1",  # the last word of a trial is a state, not a metric
        TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S="0",
        TUNE_MAX_PENDING_TRIALS_PG="100000",  # the gate counts; by itself Tune starts one after the other
    )
    for name in ("ray.tune", "ray.train", "ray.air"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what goes wrong we say ourselves

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tune.Tuner(
                _trainable(driver.store.name, shared, slots),
                tune_config=tune.TuneConfig(
                    search_alg=_Gate(key, lambda: slots() + waiting),
                    scheduler=_Racer(key),
                    num_samples=-1,
                    reuse_actors=True,
                    trial_name_creator=_Names(key),
                ),
                run_config=tune.RunConfig(
                    name="trials",
                    storage_path=scratch,
                    verbose=0,
                    callbacks=[_Watch(key)],
                    stop=_Interrupt(key),
                    failure_config=tune.FailureConfig(max_failures=MAX_WORKER_LOSSES),
                ),
            ).fit()
    finally:
        del _drivers[key], _looks[key]
        _errors.clear()
        shutil.rmtree(scratch, ignore_errors=True)
