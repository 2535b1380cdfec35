"""The out-of-fold matrix: what every complete experiment predicted for clips that it had not seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from raytag.blends.means.base import geometric_mean
from raytag.datasets.findings import some
from raytag.datasets.table import multi_hot
from raytag.ensemble.predictions.external import ExternalModel, read_external
from raytag.store.difference import difference, replaced_clips
from raytag.store.events import launch_command, read_events
from raytag.store.predictions import PredictionsError, aligned
from raytag.store.run import RunStore


class EnsembleError(ValueError):
    """What the run holds does not make an ensemble; the message names what is missing and what to do."""


@dataclass(frozen=True)
class OofMatrix:
    """Predictions of the complete experiments of one or several runs, and of outside models, aligned by clip.

    Attributes
    ----------
    experiments : tuple of str
        Names of the models: model number m is ``experiments[m]``. Experiments come first, sorted: by their
        identity, or as RUN/IDENTITY when several runs join. Then come outside predictions, sorted by file name.
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
        Geometric mean over the fold models, or as an outside file has it; None when the dataset has no test
        clips, or an outside model no predictions for them.
    origin : tuple of (RunStore, str) or None
        For each model the run that holds it and its identity there; None for outside predictions.
    notes : tuple of str
        Sentences that whoever reads the ensemble's scores should know.
    left_out : tuple of str
        Experiments that are complete and leaky, where those do not count.
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
    origin: tuple[tuple[RunStore, str] | None, ...] = ()
    notes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


def load_oof(
    stores: Sequence[RunStore] | RunStore,
    predictions: Sequence[Path] = (),
    advance: Callable[[float], None] = lambda _: None,
    leaky: bool = False,
) -> OofMatrix:
    """Read the predictions of all complete experiments.

    Parameters
    ----------
    stores : RunStore or sequence of RunStore
        Runs on the same data. An experiment that several of them hold counts once.
    predictions : sequence of Path
        Files of models that raytag did not train: `raytag.ensemble.predictions.external`.
    advance : callable
        Called with 1 after each experiment.
    leaky : bool
        Whether those count too whose own fold's labels helped to train them (`raytag.train.stages.lineage`).

    Raises
    ------
    EnsembleError
        No experiment of a run is complete, runs differ in their data, two models have one name, or a prediction
        does not fit the run's clips; the message names the runs, or the experiment and the clip, or the file.
    """
    try:
        return _load([stores] if isinstance(stores, RunStore) else list(stores), predictions, advance, leaky)
    except PredictionsError as error:
        raise EnsembleError(str(error)) from None


def _load(
    runs: Sequence[RunStore], predictions: Sequence[Path], advance: Callable[[float], None], leaky: bool
) -> OofMatrix:
    for i, run in enumerate(runs):
        if run.name in [other.name for other in runs[:i]]:
            raise EnsembleError(f"run {run.name!r} is given twice")
        _check_same_data(runs[0], run)
    store = runs[0]
    models, notes, left_out = _models(runs, leaky)

    clips, unusable = store.clips(), _unusable(store)
    lost = clips["clip"].isin(unusable)
    ignored, clips = clips["fname"][lost].tolist(), clips[~lost]
    scored = clips[(clips["subset"] == "curated") & (clips["fold"] >= 0)].reset_index(drop=True)
    fnames = tuple(scored["fname"])
    test_fnames = tuple(clips[clips["subset"] == "test"]["fname"])
    outside = _outside(predictions, store.classes, fnames, test_fnames, ignored, [name for name, _, _ in models])
    notes += _outside_notes(outside, bool(test_fnames))
    with_test = bool(test_fnames) and all(model.test is not None for model in outside)

    fold = scored["fold"].to_numpy(dtype=np.int64)
    names = [name for name, _, _ in models] + [model.name for model in outside]
    probabilities = np.empty((len(names), len(fnames), len(store.classes)), np.float32)
    test = np.empty((len(names), len(test_fnames), len(store.classes)), np.float32) if with_test else None
    for m, (name, run, experiment) in enumerate(models):
        for k in range(store.n_folds):
            rows = np.flatnonzero(fold == k)
            frame, where = run.fold(experiment, k).oof(), f"{name} fold {k} (oof.parquet)"
            probabilities[m, rows] = aligned(frame, [fnames[i] for i in rows], store.classes, where)
        if test is not None:
            test[m] = _test_predictions(run, experiment, name, test_fnames)
        advance(1)
    for m, model in enumerate(outside, start=len(models)):
        probabilities[m] = model.oof
        if test is not None:
            test[m] = model.test
    return OofMatrix(
        experiments=tuple(names),
        classes=store.classes,
        fnames=fnames,
        probabilities=probabilities,
        targets=multi_hot(scored["labels"].tolist(), store.classes),
        fold=fold,
        group=scored["group"].to_numpy(dtype=object),
        n_folds=store.n_folds,
        test_fnames=test_fnames,
        test=test,
        origin=(*((run, experiment) for _, run, experiment in models), *(None for _ in outside)),
        notes=tuple(notes),
        left_out=tuple(left_out),
    )


def _unusable(store: RunStore) -> list[str]:
    """Clips that the run could not use, sorted."""
    return sorted(store.quarantine()["clip"]) if store.storage.exists("quarantine.csv") else []


def _check_same_data(first: RunStore, other: RunStore) -> None:
    """Two runs can join only when a clip means the same in both."""
    here, there = f"in run {other.name!r}", f"in run {first.name!r}"
    found = []
    if first.run["fingerprint"] != other.run["fingerprint"]:
        found.append(difference(first.run, first.clips(), other.run, other.clips(), there, here))
    if replaced := replaced_clips(first.contents(), other.contents()):
        found.append(f"{len(replaced)} recordings are others (first {replaced[0]})")
    for where, lost in (
        (there, set(_unusable(first)) - set(_unusable(other))),
        (here, set(_unusable(other)) - set(_unusable(first))),
    ):
        if lost:
            found.append(f"{len(lost)} clips are unusable only {where} (first {min(lost)})")
    if found:
        raise EnsembleError(
            f"runs {first.name!r} and {other.name!r} cannot join, for their data differ: {'; '.join(found)}"
        )


def _models(runs: Sequence[RunStore], leaky: bool) -> tuple[list[tuple[str, RunStore, str]], list[str], list[str]]:
    """Name, run and identity of every complete experiment, sorted by name; what should be known of them; and those
    that are left out, for they are leaky."""
    taken: dict[str, RunStore] = {}
    notes = []
    for run in runs:
        complete = run.complete()
        if not complete:
            raise EnsembleError(_incomplete(run))
        again = [experiment for experiment in complete if experiment in taken]
        if again:
            shown = ", ".join(again[:5]) + (", …" if len(again) > 5 else "")
            notes.append(
                f"{len(again)} experiments of run {run.name!r} are complete in a run named before it too, on the "
                f"same data, and count once: {shown}"
            )
        for experiment in complete:
            taken.setdefault(experiment, run)
    if flattered := [name for name, run in taken.items() if run.lineage(name)["leaky"]]:
        words = some(flattered, "leaky experiment", "leaky experiments")
        words += ": models that were trained on a fold's labels helped to train what is scored on it"
        notes.append(
            words + ("; --leaky counts them all the same" if leaky else ", and left out; --leaky counts them")
        )
    if not leaky:
        taken = {name: run for name, run in taken.items() if name not in flattered}
    if not taken:
        raise EnsembleError(f"nothing is left: {notes[-1]}")
    models = [
        (f"{run.name}/{experiment}" if len(runs) > 1 else experiment, run, experiment)
        for experiment, run in taken.items()
    ]
    return sorted(models, key=lambda model: model[0]), notes, [] if leaky else flattered


def _outside(
    paths: Sequence[Path],
    classes: Sequence[str],
    fnames: Sequence[str],
    test_fnames: Sequence[str],
    ignored: Sequence[str],
    names: Sequence[str],
) -> list[ExternalModel]:
    """The outside models, sorted by name."""
    models: dict[str, ExternalModel] = {}
    for path in paths:
        if path.stem in models or path.stem in names:
            raise EnsembleError(f"{path}: another model is called {path.stem!r} too; rename the file")
        models[path.stem] = read_external(path, classes, fnames, test_fnames, ignored)
    return [models[name] for name in sorted(models)]


def _outside_notes(models: Sequence[ExternalModel], has_test: bool) -> list[str]:
    if not models:
        return []
    names = ", ".join(model.name for model in models)
    notes = [
        f"the predictions of {names} come from outside: they must be out-of-fold on the run's folds; raytag cannot "
        "check that, and scores that count them are worth no more than that"
    ]
    without = [model.name for model in models if model.test is None]
    if has_test and without:
        notes.append(
            f"no submission will be written: {', '.join(without)} lack{'s' * (len(without) == 1)} predictions for "
            "the run's test clips"
        )
    return notes


def _test_predictions(store: RunStore, experiment: str, name: str, fnames: Sequence[str]) -> NDArray[np.float64]:
    """Geometric mean over the fold models, (n_test, n_classes)."""
    folds = []
    for k in range(store.n_folds):
        frame, where = store.fold(experiment, k).test(), f"{name} fold {k} (test.parquet)"
        if frame is None:
            raise EnsembleError(
                f"{where} is missing though the run has {len(fnames)} test clips; delete the fold's folder and "
                f"train it again with: {launch_command(read_events(store.storage), store.name, experiment)}"
            )
        folds.append(aligned(frame, fnames, store.classes, where))
    return geometric_mean(np.stack(folds))


def _incomplete(store: RunStore) -> str:
    """Which folds of which experiments are missing, and how to train them."""
    events = read_events(store.storage)
    lacking = store.incomplete()
    lines = [
        f"{e} lacks {len(folds)} of {store.n_folds} folds ({', '.join(map(str, folds))})"
        for e, folds in lacking.items()
    ]
    more = f", and {len(lines) - 5} more experiments" if len(lines) > 5 else ""
    commands = {launch_command(events, store.name, e): None for e in [*lacking][:5]}
    return (
        f"no experiment of run {store.name!r} is complete: "
        + ("; ".join(lines[:5]) + more if lines else "it has no experiments")
        + f". Continue the run with: {' and with: '.join(commands or [launch_command(events, store.name)])}"
    )
