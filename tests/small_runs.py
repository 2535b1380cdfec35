"""Runs that tests of commands read, trained in a second."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa

from raytag import datasets
from raytag.datasets.table import ClipTable
from raytag.experiment import Experiment
from raytag.features.bank import Bank
from raytag.features.manifest import feature_folder
from raytag.features.shards import ITEMS, compute_batch, compute_clip
from raytag.store.run import RunStore
from raytag.train.fold import train_fold
from tests.recordings import make_folder

SMALL = {"training.epochs": 1, "training.batch_size": 4, "sampling.noisy_prob": 0.0, "features.sample_rate": 8000}
LOGMELS = {"features.n_mels": 32, "features.fmax": 4000, "features.n_fft": 512, "features.hop_length": 128}
NETWORK = {"input.crop_frames": 48, "model.base_size": 4}


def bank_of(experiment: Experiment, table: ClipTable) -> Bank:
    """The features of all clips, and of their variants."""
    copies, paths = experiment.features.copies(), table.clips["path"]
    cells = [compute_clip(path, path, (), features) for features in copies for path in paths]
    joined = np.frombuffer(b"".join(cell["features"] for cell in cells), "<i2")
    offsets = np.cumsum([0, *(cell["frames"] for cell in cells)])
    return Bank(joined.reshape(-1, copies[0].width).copy(), offsets, table.clips["clip"].tolist(), len(copies))


def finish(store: RunStore, table: ClipTable, experiment: Experiment) -> str:
    """Train all folds of an experiment."""
    bank = bank_of(experiment, table)
    store.add(experiment)
    for k in range(table.n_folds):
        train_fold(experiment, k, table, bank, store.fold(experiment.id, k))
    return experiment.id


def clean_and_noisy(work: Path) -> SimpleNamespace:
    """A run with its cache: an experiment of curated clips, one of noisy clips too."""
    table = datasets.load(make_folder(work / "data"))
    clean = Experiment(name="clean").replace(SMALL | LOGMELS | NETWORK)
    store = RunStore.open_for(str(work / "runs"), "small", table, "data")
    items = [{"clip": c, "path": p, "known": []} for c, p in table.clips[["clip", "path"]].itertuples(index=False)]
    cells = compute_batch(
        pa.Table.from_pylist(items, ITEMS), feature_folder(clean.features, str(work / "cache")), clean.features
    ).to_pandas()
    store.set_contents(dict(zip(cells["clip"], cells["content"], strict=True)))
    store.set_quarantine(pd.DataFrame({"clip": [], "reason": []}))
    noisy = Experiment(name="noisy").replace(SMALL | LOGMELS | NETWORK | {"sampling.noisy_prob": 0.5})
    ids = {own.name: finish(store, table, own) for own in (clean, noisy)}
    return SimpleNamespace(folder=work, table=table, store=store, ids=ids, clean=clean)
