"""Drivers without Ray Tune, and trainings that take no time."""

from __future__ import annotations

import numpy as np
import pandas as pd

from raytag.datasets.table import ClipTable
from raytag.search import searchers
from raytag.search.driver import Driver
from raytag.search.prepare.plan import Plan
from raytag.search.race.settings import Settings
from raytag.store.events import EventLog
from raytag.store.run import RunStore


def make_store(tmp_path):
    """A run of six clips in three folds."""
    n = 6
    clips = pd.DataFrame(
        {
            "clip": [f"{i}.wav" for i in range(n)],
            "fname": [f"{i}.wav" for i in range(n)],
            "path": [str(tmp_path / f"{i}.wav") for i in range(n)],
            "labels": ["a", "b"] * 3,
            "subset": "curated",
            "fold": np.arange(n) % 3,
            "group": "",
            "duration": 1.0,
            "rate": 44100,
        }
    )
    return RunStore.open_for(str(tmp_path / "runs"), "r", ClipTable(clips, ("a", "b"), None, tmp_path, "t"), "d")


def make_driver(
    store, chosen, *, number=6, search="random", stopping="paired", keep=2, seed=0, budget=None, said=None
):
    searcher = searchers.build(search, chosen, seed, number or 1000)
    key = searchers.search_key(search, chosen, seed)
    log = EventLog(store.storage)
    plan = Plan(searcher, key, Settings(stopping, keep), [0, 1, 2], [2.0, 2.0, 2.0], number, budget)
    driver = Driver(store, log, plan)
    driver.begin(Listening(said if said is not None else []))
    return driver


class Listening:
    """A listener that keeps what is announced."""

    def __init__(self, said):
        self.announce = said.append

    def notify(self, what, trial):
        pass


def quality(experiment):
    return 0.9 - experiment.model.dropout  # what a fold of this experiment will score


def predictions(store, fold, value):
    clips = store.clips()
    fnames = clips["fname"][clips["fold"] == fold].tolist()
    return pd.DataFrame({"fname": fnames, "a": np.float32(value), "b": np.float32(0.5)})


def run(driver, store, steps=None, value=lambda experiment, fold: quality(experiment), tick=lambda: None):
    """Train one trial after another; the (experiment, fold) pairs in order. ``steps`` trials, then a kill."""
    import torch

    done = []
    while steps is None or len(done) < steps:
        trial_id = f"t{len(driver.trials)}"
        trial = driver.next_trial(trial_id)
        if trial is None:
            return done
        done.append((trial.experiment.id, trial.cell if trial.cell.blind else trial.fold))
        reached = value(trial.experiment, trial.fold)
        for epoch in range(1, trial.epochs + 1):
            tick()
            result = {"epoch": epoch, "seconds": epoch, "lwlrap": reached, "best": reached, "resumed_from": 0}
            if driver.on_epoch(trial_id, result):
                break
        else:
            result = {"lwlrap": reached, "labels": 2, "epochs": trial.epochs, "seconds": float(trial.epochs)}
            store.model(trial.experiment.id, trial.cell.folder).finish(
                weights={"w": torch.ones(1)},
                oof=predictions(store, trial.fold, reached),
                test=None,
                curve=pd.DataFrame(),
                result=result,
            )
            driver.on_end(trial_id, "finished", result)
    return done
