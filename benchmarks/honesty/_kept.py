"""Predictions of finished runs in one Parquet file, and runs made of it again: shared by the benchmarks.

A row is a clip: ``run``, ``experiment``, ``fold``, ``part`` (oof or test), ``fname``, then a float32 probability a
class. The file's metadata holds what else a run store has of each experiment and fold. Weights and curves are not
kept.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from raytag.datasets import load
from raytag.ensemble.predictions.oof import OofMatrix
from raytag.store.run import RunStore

_KEY = b"raytag"
_RESULT = ("lwlrap", "labels", "clips", "epochs", "kept_epoch", "steps", "seconds", "lineage")
_PARTS = ("oof", "test")


def keep(stores: Sequence[RunStore], path: Path) -> None:
    """Write the predictions of all complete experiments of runs to one file."""
    frames, told = [], {}
    for store in stores:
        told[store.name] = {
            "fingerprint": store.run["fingerprint"],
            "quarantine": store.quarantine().to_dict("list"),
            "experiments": {},
            "results": [],
        }
        for name in store.complete():
            told[store.name]["experiments"][name] = store.storage.read_json(f"experiments/{name}/experiment.json")
            for k in range(store.n_folds):
                fold = store.fold(name, k)
                result = {key: value for key, value in fold.result().items() if key in _RESULT}
                told[store.name]["results"].append({"experiment": name, "fold": k, **result})
                for part, frame in zip(_PARTS, (fold.oof(), fold.test()), strict=True):
                    frames.append(frame.assign(run=store.name, experiment=name, fold=k, part=part))
    rows = pd.concat(frames, ignore_index=True)
    keys = ["run", "experiment", "fold", "part", "fname"]
    classes = [column for column in rows.columns if column not in keys]
    table = pa.Table.from_pandas(rows[keys + classes].astype({"fold": "int8"}), preserve_index=False)
    table = table.replace_schema_metadata({_KEY: json.dumps(told, separators=(",", ":")).encode()})
    pq.write_table(
        table,
        path,
        compression="zstd",
        compression_level=19,
        use_dictionary=keys,
        column_encoding=dict.fromkeys(classes, "BYTE_STREAM_SPLIT"),
        write_statistics=False,
    )


def opened(runs_dir: str, runs: Sequence[str], data: Sequence[str]) -> list[RunStore]:
    """Runs of a folder, or of a file that `keep` wrote: then they are made again in a temporary folder.

    ``data`` are the runs' folders of recordings, in the same order; the fingerprint of each must be the run's.
    """
    if not runs_dir.endswith(".parquet"):
        return [RunStore(runs_dir, run) for run in runs]
    table = pq.read_table(runs_dir)
    told = json.loads(table.schema.metadata[_KEY])
    rows, into = table.to_pandas(), tempfile.mkdtemp(prefix="raytag-kept-")
    return [
        _made(rows[rows["run"] == run], told[run], into, run, where) for run, where in zip(runs, data, strict=True)
    ]


def _made(rows: pd.DataFrame, told: dict, into: str, run: str, data: str) -> RunStore:
    clips = load(data)
    if clips.fingerprint() != told["fingerprint"]:
        raise ValueError(f"the predictions of {run} are of other clips, labels or folds than {data} has")
    store = RunStore.open_for(into, run, clips, data)
    store.set_quarantine(pd.DataFrame(told["quarantine"]))
    for name, fields in told["experiments"].items():
        store.storage.write_json(f"experiments/{name}/experiment.json", fields)
    found = {
        key: group[["fname", *store.classes]].reset_index(drop=True)
        for key, group in rows.groupby(["experiment", "fold", "part"])
    }
    for result in told["results"]:
        oof, test = (found.get((result["experiment"], result["fold"], part)) for part in _PARTS)
        store.fold(result["experiment"], result["fold"]).finish(
            weights={}, oof=oof, test=test, curve=None, result=result
        )
    return store


def of_models(oof: OofMatrix, models: Sequence[int]) -> OofMatrix:
    """The OOF matrix of some of its models."""
    chosen = list(models)
    return replace(
        oof,
        experiments=tuple(oof.experiments[m] for m in chosen),
        probabilities=oof.probabilities[chosen],
        test=None if oof.test is None else oof.test[chosen],
        origin=tuple(oof.origin[m] for m in chosen),
    )


def fold_tests(store: RunStore, oof: OofMatrix) -> np.ndarray:
    """Test predictions of each fold's model, (n_folds, n_models, n_test, n_classes)."""
    found = []
    for k in range(store.n_folds):
        frames = [store.fold(e, k).test() for e in oof.experiments]
        found.append(
            np.stack(
                [f.set_index("fname").loc[list(oof.test_fnames), list(oof.classes)].to_numpy() for f in frames]
            )
        )
    return np.stack(found)
