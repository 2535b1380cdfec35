"""Predictions without training: simulated models, and run stores that hold them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from raytag.datasets.table import ClipTable
from raytag.experiment import Experiment
from raytag.store.fold import CURVE_COLUMNS
from raytag.store.run import RunStore

CLASSES = ("bark", "clock", "hum", "rain", "rooster")


def simulate(n_models, n_clips, n_classes, *, seed=0, signal=3.0, own=1.0, labels=1.2):
    """Probabilities (n_models, n_clips, n_classes) float32 whose errors are partly shared, and targets."""
    rng = np.random.default_rng(seed)
    targets = np.zeros((n_clips, n_classes), np.float32)
    targets[np.arange(n_clips), rng.integers(0, n_classes, n_clips)] = 1
    extra = rng.integers(0, n_clips, round((labels - 1) * n_clips))
    targets[extra, rng.integers(0, n_classes, len(extra))] = 1
    shared = rng.normal(size=targets.shape)
    strength = np.linspace(0.9, 1.1, n_models)[:, None, None]
    logits = signal * strength * targets + shared + own * rng.normal(size=(n_models, *targets.shape)) - 3
    return (1 / (1 + np.exp(-logits))).astype(np.float32), targets


def experiment(i, **changes):
    return Experiment(name=f"fake{i}").replace({"training.seed": i, **changes})


def make_store(
    folder: Path,
    *,
    n_models=5,
    n_clips=48,
    n_test=7,
    folds=4,
    submission=True,
    complete=True,
    name="fake",
    runs_dir=None,
    seed=0,
    models=None,
) -> RunStore:
    """A run with finished experiments, all or those numbered in ``models``; the sample submission is in reverse
    order."""
    probabilities, targets = simulate(n_models, n_clips + n_test, len(CLASSES), seed=seed)
    fnames = [f"{i:03d}.wav" for i in range(n_clips + n_test)]
    curated = np.arange(n_clips + n_test) < n_clips
    fold = np.where(curated, np.arange(n_clips + n_test) % folds, -1)
    clips = pd.DataFrame(
        {
            "clip": [f"{'train' if c else 'test'}/{f}" for c, f in zip(curated, fnames, strict=True)],
            "fname": fnames,
            "path": [str(folder / f) for f in fnames],
            "labels": [
                ",".join(np.array(CLASSES)[t == 1]) if c else "" for c, t in zip(curated, targets, strict=True)
            ],
            "subset": np.where(curated, "curated", "test"),
            "fold": fold,
            "group": "",
            "duration": 1.0,
            "rate": 44100,
        }
    )
    order = tuple(fnames[n_clips:][::-1]) if submission and n_test else None
    table = ClipTable(clips, CLASSES, folder, "fake", order)
    store = RunStore.open_for(runs_dir or str(folder / "runs"), name, table, str(folder))
    for m in range(n_models) if models is None else models:
        e = experiment(m)
        store.add(e)
        for k in range(folds if complete else folds - 1):
            rows = np.flatnonzero(fold == k)[::-1]  # any order will do
            test = np.flatnonzero(~curated)
            finish(store, e, k, rows, test, fnames, probabilities[m])
    return store


def finish(store, e, fold, rows, test, fnames, probabilities):
    import torch

    def frame(chosen):
        data = pd.DataFrame(probabilities[chosen], columns=list(CLASSES))
        data.insert(0, "fname", [fnames[i] for i in chosen])
        return data

    curve = pd.DataFrame(
        [(i + 1, 1e-3, 0.5, 0.3 + 0.1 * ((i + fold) % 3), 1.0 * i) for i in range(4)], columns=CURVE_COLUMNS
    )
    store.fold(e.id, fold).finish(
        weights={"w": torch.ones(1)},
        oof=frame(rows),
        test=frame(test) if len(test) else None,
        curve=curve,
        result={"lwlrap": 0.5, "labels": len(rows)},
    )


def add_windows(store, experiment):
    """One to three tiles a clip, whose mean is its prediction."""
    rng = np.random.default_rng(0)
    for k in range(store.n_folds):
        fold = store.fold(experiment, k)
        frame = fold.oof()
        tiles = frame.loc[frame.index.repeat(rng.integers(1, 4, len(frame)))].reset_index(drop=True)
        values = tiles[list(CLASSES)]
        noise = pd.DataFrame(rng.normal(size=values.shape), columns=values.columns)
        noise -= noise.groupby(tiles["fname"]).transform("mean")
        tiles[list(CLASSES)] = (values + 0.3 * values * (1 - values) * noise).clip(0, 1).astype(np.float32)
        tiles.insert(1, "start_s", 0.0)
        tiles.insert(2, "end_s", 1.0)
        fold.keep_windows(tiles)


def rewrite(fold, name, frame):
    """Another table of predictions in a finished fold, as if it had been written so."""
    result = fold.result()
    files = {**result["files"], name: fold.storage.write_parquet(name, frame)}
    fold.storage.write_json("result.json", {**result, "files": files})
