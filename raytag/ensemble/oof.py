"""The out-of-fold matrix: what every complete experiment predicted for clips that it had not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from raytag.datasets.table import multi_hot
from raytag.ensemble.blend import geometric_mean
from raytag.events import read_events
from raytag.store import RunStore


class EnsembleError(ValueError):
    """What the run holds does not make an ensemble; the message names what is missing and what to do."""


@dataclass(frozen=True)
class OofMatrix:
    """Predictions of the complete experiments of a run, aligned by clip.

    Attributes
    ----------
    experiments : tuple of str
        Identities, sorted: model number m is ``experiments[m]``.
    classes : tuple of str
    fnames : tuple of str
        The curated clips that have a fold, in the run's order; without quarantined ones.
    probabilities : np.ndarray [shape=(n_models, n_clips, n_classes)], float32
        Of the fold model that did not train on the clip.
    targets : np.ndarray [shape=(n_clips, n_classes)], float32, 0/1
    fold : np.ndarray [shape=(n_clips,)], int64
    group : np.ndarray [shape=(n_clips,)], object
        Clips of one group (never "") come from one source.
    n_folds : int
    test_fnames : tuple of str
        Test clips in the run's order.
    test : np.ndarray [shape=(n_models, n_test, n_classes)], float32, or None
        Geometric mean over the fold models; None when the dataset has no test clips.
    """

    experiments: tuple[str, ...]
    classes: tuple[str, ...]
    fnames: tuple[str, ...]
    probabilities: NDArray[np.float32]
    targets: NDArray[np.float32]
    fold: NDArray[np.int64]
    group: NDArray[np.object_]
    n_folds: int
    test_fnames: tuple[str, ...]
    test: NDArray[np.float32] | None


def load_oof(store: RunStore) -> OofMatrix:
    """Read the predictions of all complete experiments.

    Raises
    ------
    EnsembleError
        No experiment is complete, or a prediction does not fit the run's clips; the message names the
        experiment and the clip.
    """
    experiments = store.complete()
    if not experiments:
        raise EnsembleError(_incomplete(store))
    clips = store.clips()
    if store.storage.exists("quarantine.csv"):
        clips = clips[~clips["clip"].isin(store.quarantine()["clip"])]
    scored = clips[(clips["subset"] == "curated") & (clips["fold"] >= 0)].reset_index(drop=True)
    test_clips = clips[clips["subset"] == "test"]
    fnames, test_fnames = tuple(scored["fname"]), tuple(test_clips["fname"])
    fold = scored["fold"].to_numpy(dtype=np.int64)
    probabilities = np.empty((len(experiments), len(fnames), len(store.classes)), np.float32)
    test = np.empty((len(experiments), len(test_fnames), len(store.classes)), np.float32) if test_fnames else None
    for m, experiment in enumerate(experiments):
        for k in range(store.n_folds):
            rows = np.flatnonzero(fold == k)
            frame, where = store.fold(experiment, k).oof(), f"{experiment} fold {k} (oof.parquet)"
            probabilities[m, rows] = _aligned(frame, [fnames[i] for i in rows], store.classes, where)
        if test is not None:
            test[m] = _test_predictions(store, experiment, test_fnames)
    return OofMatrix(
        experiments=tuple(experiments),
        classes=store.classes,
        fnames=fnames,
        probabilities=probabilities,
        targets=multi_hot(scored["labels"].tolist(), store.classes),
        fold=fold,
        group=scored["group"].to_numpy(dtype=object),
        n_folds=store.n_folds,
        test_fnames=test_fnames,
        test=test,
    )


def _test_predictions(store: RunStore, experiment: str, fnames: Sequence[str]) -> NDArray[np.float64]:
    """Geometric mean over the fold models, (n_test, n_classes)."""
    folds = []
    for k in range(store.n_folds):
        frame, where = store.fold(experiment, k).test(), f"{experiment} fold {k} (test.parquet)"
        if frame is None:
            raise EnsembleError(
                f"{where} is missing though the run has {len(fnames)} test clips; delete the fold's folder and "
                f"train it again with: {continue_command(store)}"
            )
        folds.append(_aligned(frame, fnames, store.classes, where))
    return geometric_mean(np.stack(folds))


def _aligned(frame: pd.DataFrame, fnames: Sequence[str], classes: Sequence[str], where: str) -> NDArray[np.float32]:
    """The predictions of a file in the order of ``fnames``, checked, (n, n_classes)."""
    expected = ["fname", *classes]
    if list(frame.columns) != expected:
        odd = [c for c in [*frame.columns, *expected] if (c in frame.columns) != (c in expected)]
        raise EnsembleError(
            f"{where}: its columns are not fname and the run's classes in order (look at {odd[:3]})"
        )
    if frame["fname"].duplicated().any():
        raise EnsembleError(f"{where}: clip {frame['fname'][frame['fname'].duplicated()].iloc[0]} stands twice")
    row = {fname: i for i, fname in enumerate(frame["fname"])}
    missing = [fname for fname in fnames if fname not in row]
    if missing:
        raise EnsembleError(f"{where}: {len(missing)} clips have no prediction, first {missing[0]}")
    if len(row) > len(fnames):
        extra = sorted(set(row) - set(fnames))
        raise EnsembleError(f"{where}: {len(extra)} clips do not belong there, first {extra[0]}")
    values = frame[list(classes)].to_numpy(dtype=np.float32)[[row[fname] for fname in fnames]]
    wrong = ~((values >= 0) & (values <= 1)).all(axis=1)
    if wrong.any():
        raise EnsembleError(f"{where}: clip {fnames[int(wrong.argmax())]} has predictions outside [0, 1] or NaN")
    return values


def _incomplete(store: RunStore) -> str:
    """Which folds of which experiments are missing, and how to train them."""
    lines = []
    for experiment in store.experiments():
        finished = store.finished_folds(experiment)
        missing = [str(k) for k in range(store.n_folds) if k not in finished]
        lines.append(f"{experiment} lacks {len(missing)} of {store.n_folds} folds ({', '.join(missing)})")
    more = f", and {len(lines) - 5} more experiments" if len(lines) > 5 else ""
    return (
        f"no experiment of run {store.name!r} is complete: "
        + ("; ".join(lines[:5]) + more if lines else "it has no experiments")
        + f". Continue the run with: {continue_command(store)}"
    )


def continue_command(store: RunStore) -> str:
    """The command line that last launched the run, as its event log tells."""
    commands = [e["command"] for e in read_events(store.storage) if e["event"] == "launch"]
    return (
        f"python {commands[-1]}" if commands else f"python launch.py --run {store.name} (and its --space, --data)"
    )
