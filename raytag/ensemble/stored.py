"""An ensemble that a run holds, or one of its experiments, and what it says of recordings that the run never saw.

Nothing but what is stored is needed: weights, ``experiment.json`` and ``ensemble.json``. No Ray.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from raytag import parts
from raytag.batch import Feed
from raytag.blends.means.base import blend, geometric_mean
from raytag.ensemble.kept import newest_first
from raytag.ensemble.predictions.external import closest
from raytag.ensemble.predictions.oof import EnsembleError
from raytag.ensemble.stackers.case import LinearConfig, StackerConfig, one_thread, predict_stacker
from raytag.experiment import Experiment
from raytag.features.decoding import read_bytes
from raytag.features.manifest import feature_hash
from raytag.features.shards import compute_clip
from raytag.predict import Line, Windows, predict, restored
from raytag.store.fold import FoldStore
from raytag.store.run import REPORT, RunStore
from raytag.train.memory import tune_malloc

#: What is read at a time ends with so many files or bytes: long recordings come one by one.
_FILES, _BYTES = 64, 2**25


@dataclass(frozen=True)
class Stacker:
    """A second-level model: `raytag.ensemble.stackers.case.predict_stacker` with the models that it reads."""

    config: StackerConfig | LinearConfig
    weights: Mapping[str, torch.Tensor]
    reads: tuple[str, ...]

    def predict(self, first: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        return predict_stacker(self.config, self.weights, np.stack([first[name] for name in self.reads]))


@dataclass(frozen=True)
class Stored:
    """What predicts.

    Attributes
    ----------
    what : str
        Its name, for people.
    classes : tuple of str
    experiments : dict of str to (RunStore, str)
        Run and identity of the first-level models that are needed, by their names in the ensemble.
    kind : str, optional
        How they are blended; None where one experiment predicts alone.
    weights : dict of str to float
        Of the blend's first-level members.
    stackers : list of list of Stacker
        Its second-level models, by the fold that they left out.
    """

    what: str
    classes: tuple[str, ...]
    experiments: Mapping[str, tuple[RunStore, str]]
    kind: str | None
    weights: Mapping[str, float]
    stackers: Sequence[Sequence[Stacker]]

    def combine(self, first: Mapping[str, NDArray[np.float32]]) -> NDArray[np.floating]:
        """Of the probabilities (n, n_classes) of each experiment those of the whole, (n, n_classes)."""
        if self.kind is None:
            return first[self.what]
        second = [[stacker.predict(first) for stacker in of_fold] for of_fold in self.stackers]
        return blend_all([first[name] for name in self.weights], [*self.weights.values()], second, self.kind)


def blend_all(
    first: Sequence[NDArray[np.float32]],
    weights: Sequence[float],
    second: Sequence[Sequence[NDArray[np.float32]]],
    kind: str,
) -> NDArray[np.float64]:
    """The blend of members and stackers for clips that none has seen; a fold's stackers count as a share of one.

    Parameters
    ----------
    first : sequence of float32 (n, n_classes)
    weights : sequence of float
        One for each of ``first``.
    second : sequence of sequence of float32 (n, n_classes)
        Of the stackers, by the fold that they left out.
    kind : str
        One of `raytag.blends.means.BLENDS`.
    """
    inputs, weights = [*first], [*weights]
    for of_fold in second:
        inputs += of_fold
        weights += [1.0 / len(second)] * len(of_fold)
    return blend(np.stack(inputs), kind, weights)


def stored_experiment(store: RunStore, experiment: str) -> Stored:
    """An experiment: the geometric mean over its folds. `EnsembleError` where it is not there, or not complete."""
    known = store.experiments()
    if experiment not in known:
        raise EnsembleError(f"run {store.name!r} has no experiment {experiment!r}{closest(experiment, known)}")
    return _complete(Stored(experiment, store.classes, {experiment: (store, experiment)}, None, {}, []))


def stored_ensemble(store: RunStore, name: str | None = None) -> Stored:
    """An ensemble of a run, by default the newest.

    Raises
    ------
    EnsembleError
        There is none, it has members that raytag did not train, or experiments whose folds are not there.
    """
    known = newest_first(store)
    if not known:
        raise EnsembleError(
            f"run {store.name!r} has no ensemble: search one with python ensemble_search.py --run {store.name}, or "
            "predict with one of its experiments: --experiment ID (raytag status names them)"
        )
    name = name or known[0]
    if name not in known:
        raise EnsembleError(f"run {store.name!r} has no ensemble {name!r}{closest(name, known)}")
    storage = store.storage.sub(f"ensembles/{name}")
    report = storage.read_json(REPORT)
    stackers = [
        [_stacker(FoldStore(storage.sub(f"stackers/{stacker}/fold_{fold}"))) for stacker in of_fold]
        for fold, of_fold in report["stackers"].items()
    ]
    needed = sorted({*report["members"]}.union(*(s.reads for of_fold in stackers for s in of_fold)))
    outside = {Path(file).stem: file for file in report["search"]["predictions"]}
    if foreign := [outside[member] for member in needed if member in outside]:
        raise EnsembleError(
            f"ensemble {name} of run {store.name!r} needs {', '.join(foreign)}, predictions of a model that raytag "
            "did not train and that cannot be asked for others: give another --ensemble, or --experiment ID"
        )
    experiments = {member: (store, member) for member in needed}
    if len(report["search"]["runs"]) > 1:
        runs = {run: RunStore(store.runs_dir, run) for run in report["search"]["runs"]}
        experiments = {m: (runs[run], e) for m in needed for run, _, e in [m.partition("/")]}
    kind, weights = report["search"]["blend"], report["members"]
    return _complete(Stored(f"ensemble {name}", store.classes, experiments, kind, weights, stackers))


def _stacker(fold: FoldStore) -> Stacker:
    result = fold.result()
    config = (LinearConfig if result["family"] == "linear" else StackerConfig)(**result["config"])
    return Stacker(config, fold.weights(), tuple(result["members"]))


def _complete(stored: Stored) -> Stored:
    for store, experiment in stored.experiments.values():
        if lacking := sorted({*range(store.n_folds)} - {*store.finished_folds(experiment)}):
            raise EnsembleError(
                f"{stored.what} cannot predict: of {experiment} in run {store.name!r} folds "
                f"{', '.join(map(str, lacking))} are not finished, or damaged; launch again"
            )
    return stored


@dataclass(frozen=True)
class Predicted:
    """What is said of some recordings.

    Attributes
    ----------
    probabilities : float32 array (n_usable, n_classes)
        Of the files that can be used, in their order.
    reasons : list of str
        Of all files: "" or why it is unusable, ``code: sentence`` (`raytag.features.decoding.UnusableClip`).
    windows : Windows, optional
        Of the tiles of the usable files, if they were asked for.
    """

    probabilities: NDArray[np.float32]
    reasons: list[str]
    windows: Windows | None

    @classmethod
    def joined(cls, parts: Sequence[Predicted]) -> Predicted:
        """All of them, in their order; at least one."""
        tiles = [part.windows for part in parts if part.windows]
        reasons = [reason for part in parts for reason in part.reasons]
        values = np.concatenate([part.probabilities for part in parts])
        return cls(values, reasons, Windows.joined(tiles) if tiles else None)


class Predictor:
    """The models of what is stored, in memory.

    Parameters
    ----------
    stored : Stored
    device : torch.device
    threads : int, optional
        CPUs; by default all. Models work side by side on a CPU, each on one thread.

    Raises
    ------
    PluginError
        A plugin of an experiment is not trusted (`raytag.plugins.trusting`), or fails.
    DamagedError
        Weights are damaged, or were freed by ``raytag prune``.
    """

    def __init__(self, stored: Stored, device: torch.device, threads: int | None = None) -> None:
        self.stored, self.device, self.threads = stored, device, threads
        self.experiments = experiments_of(stored)
        self.models = [
            (name, restored(self.experiments[name], store.fold(e, k).weights(), len(stored.classes), device))
            for name, (store, e) in stored.experiments.items()
            for k in range(store.n_folds)
        ]

    def predict(
        self,
        files: Sequence[Path],
        advance: Callable[[float], None] = lambda files: None,
        windows: bool = False,
    ) -> Predicted:
        """Probabilities of recordings of any length.

        The files come a few at a time, and so do the tiles of a long one. Each model sees the batches that the end
        of a training makes of the same files in the same order.

        Parameters
        ----------
        files : sequence of Path
        advance : callable
            Called with the files, or the part of one, that are done.
        windows : bool
            Give the tiles too, each the geometric mean over folds: of one experiment alone, for others may have
            tiles elsewhere.
        """
        sets = {name: experiment.features.copies()[0] for name, experiment in self.experiments.items()}
        keys = {name: feature_hash(own) for name, own in sets.items()}
        lines = {name: Line(experiment) for name, experiment in self.experiments.items()}
        found: dict[str, list[NDArray[np.float32]]] = {name: [] for name in lines}
        tiled: list[Windows] = []
        begins: list[float] = []  # of the clips in line
        reasons: list[str] = []

        def ask(model: torch.nn.Module, feed: Feed, rows: NDArray[np.int64]) -> list[NDArray[np.float32]]:
            share = len(rows) / len(self.models) / max(1, feed.count_tiles(rows).sum())

            def done(tiles: int) -> None:
                check()
                advance(share * tiles)

            tiles: list[NDArray[np.float32]] = []
            return [predict(model, feed, rows, self.device, done, tiles), *tiles]

        tune_malloc()
        with side_by_side(self.device, self.threads) as (pool, _, check):
            for group, last in _groups(files):
                every = {keys[name]: own for name, own in sets.items()}
                read = list(pool.map(partial(_read, every, windows), group))
                reasons += [one.reason for one in read]
                usable = [one.frames for one in read if not one.reason]
                begins += [one.begins for one in read if not one.reason]
                advance(len(read) - len(usable))
                ready = {
                    name: line.add([frames[keys[name]] for frames in usable], last) for name, line in lines.items()
                }
                asked = [(name, pool.submit(ask, model, *ready[name])) for name, model in self.models]
                for name, (feed, rows) in ready.items():
                    folds = [one.result() for of, one in asked if of == name]
                    if len(rows):
                        found[name].append(_mean([pooled for pooled, *_ in folds]))
                    if len(rows) and windows:
                        values = _mean([np.concatenate(tiles) for _, *tiles in folds])
                        tiled.append(Windows.of(self.experiments[name], feed, rows, values, begins[: len(rows)]))
                        begins = begins[len(rows) :]
        n_classes = len(self.stored.classes)
        values = np.zeros((0, n_classes), np.float32)
        if all(found.values()):
            first = {name: np.concatenate(own) for name, own in found.items()}
            values = self.stored.combine(first).astype(np.float32)
        return Predicted(values, reasons, Windows.joined([Windows.none(n_classes), *tiled]) if windows else None)


def experiments_of(stored: Stored) -> dict[str, Experiment]:
    """The experiments by their names in the ensemble; a `PluginError` where one's plugin is not trusted."""
    return {name: store.experiment(e) for name, (store, e) in stored.experiments.items()}


def _mean(folds: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    return geometric_mean(np.stack(folds)).astype(np.float32)


@contextmanager
def side_by_side(
    device: torch.device, threads: int | None = None
) -> Iterator[tuple[ThreadPoolExecutor, int, Callable[[], None]]]:
    """A pool of threads in which models work, each on one thread of torch's; on a GPU one after the other.

    Yields
    ------
    pool : ThreadPoolExecutor
    workers : int
        Its threads.
    check : callable
        To be called by them after each batch: raises ``CancelledError`` once what is within has failed.
    """
    stopped = Event()

    def check() -> None:
        if stopped.is_set():
            raise CancelledError

    workers = 1 if device.type == "cuda" else threads or os.cpu_count() or 1
    with one_thread(), ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            yield pool, workers, check
        except BaseException:  # Ctrl-C too: what a thread is at ends with its batch
            stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _groups(files: Sequence[Path]) -> Iterator[tuple[Sequence[Path], bool]]:
    """Files that are read at a time, and whether they are the last."""
    start, held = 0, 0
    for i, file in enumerate(files):
        size = file.stat().st_size if file.is_file() else 0
        if i > start and (held + size > _BYTES or i - start == _FILES):
            yield files[start:i], False
            start, held = i, 0
        held += size
    yield files[start:], True


class _Recording(NamedTuple):
    """Frames for each feature set and where they begin, s; or the reason why there are none."""

    frames: dict[str, NDArray[np.int16]]
    begins: float
    reason: str


def _read(sets: Mapping[str, parts.Features], windows: bool, file: Path) -> _Recording:
    """A recording; where it begins is only looked for where ``windows`` of one feature set are asked for."""
    frames, begins = {}, 0.0
    for key, features in sets.items():
        cell = compute_clip(str(file), str(file), (), features)
        if cell["reason"]:
            return _Recording({}, 0.0, cell["reason"])
        frames[key] = np.frombuffer(cell["features"], "<i2").reshape(-1, features.width)
        if windows:
            begins = features.begins(read_bytes(file), str(file))
    return _Recording(frames, begins, "")
