"""What stored models say of clips of their own run, whose features are in the cache: no recording is read."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from raytag.batch import Feed
from raytag.ensemble.predictions.external import closest
from raytag.ensemble.stored import side_by_side
from raytag.errors import DamagedError
from raytag.experiment import Experiment
from raytag.features.manifest import feature_hash
from raytag.features.sets.cached import cached_bank
from raytag.predict import Windows, predict, restored
from raytag.store.fold import WEIGHTS, FoldStore
from raytag.store.run import RunStore, StoreError
from raytag.train.memory import tune_malloc

#: Largest difference of pooled tiles to the stored predictions: on the machine that made them, and on another one,
#: whose processor, or whose GPU with its products of 10 bits, rounds otherwise.
SAME, OTHER = 1e-6, 1e-2


class Model(NamedTuple):
    """A model of an experiment by the fold that it left out."""

    experiment: str
    fold: int


def chosen_experiments(store: RunStore, experiments: Sequence[str] = ()) -> list[str]:
    """The experiments of a run that are named, none twice; without any, all complete ones.

    Raises
    ------
    StoreError
        There is no such experiment.
    """
    known = store.experiments()
    if unknown := [e for e in experiments if e not in known]:
        raise StoreError(f"run {store.name!r} has no experiment {unknown[0]!r}{closest(unknown[0], known)}")
    return list(dict.fromkeys(experiments or store.complete()))


def check_models(store: RunStore, experiment: str) -> None:
    """Raise `DamagedError` where not all models of an experiment can be asked; the message says why."""
    if lacking := sorted({*range(store.n_folds)} - {*store.finished_folds(experiment)}):
        raise DamagedError(f"folds {', '.join(map(str, lacking))} are not finished, or damaged; launch again")
    if any(WEIGHTS not in store.fold(experiment, k).storage.sizes() for k in range(store.n_folds)):
        raise DamagedError("its weights were freed by raytag prune")


def opened(
    store: RunStore,
    models: Sequence[Model],
    clips: Sequence[str],
    cache_dir: str,
    device: torch.device,
    console: Console,
) -> Iterator[tuple[int, Experiment, torch.nn.Module, Feed]]:
    """Models with their weights, and clips as they read them; those of one feature set after the other.

    Parameters
    ----------
    store : RunStore
    models : sequence of Model
    clips : sequence of str
        Ids; the rows of each feed.
    cache_dir : str
        Folder or URI of the feature cache.
    device : torch.device
    console : rich.console.Console
        For a word about damage in the cache.

    Yields
    ------
    int
        Number of the model in ``models``.
    Experiment
    torch.nn.Module
    Feed

    Raises
    ------
    StoreError
        The run does not know what its recordings hold.
    CacheError
        The cache lacks features.
    PluginError
        A plugin of an experiment is not trusted.
    DamagedError
        Weights are damaged.
    """
    contents = store.contents()
    if contents is None:
        raise StoreError(
            f"run {store.name!r} is from before it knew what its recordings hold: launch it once again"
        )
    asked = {clip: contents[clip] for clip in clips}
    experiments = {name: store.experiment(name) for name in dict.fromkeys(m.experiment for m in models)}
    keys = {name: feature_hash(own.features.copies()[0]) for name, own in experiments.items()}
    features = {keys[name]: own.features for name, own in experiments.items()}
    bank = lru_cache(maxsize=1)(lambda key: cached_bank(features[key], cache_dir, asked, console))
    tune_malloc()
    for number in sorted(range(len(models)), key=lambda i: keys[models[i].experiment]):  # one bank at a time
        name, k = models[number]
        own = experiments[name]
        network = restored(own, store.fold(name, k).weights(), len(store.classes), device)
        yield number, own, network, own.input.open(bank(keys[name]), own.features)


def lacking_windows(
    store: RunStore, experiments: Sequence[str] = (), force: bool = False
) -> tuple[list[Model], list[Model], dict[str, str]]:
    """Which models of a run have windows (`raytag.store.fold.FoldStore.windows`), and which may get them.

    Parameters
    ----------
    store : RunStore
    experiments : sequence of str
        Whose models; without any, those of all complete experiments.
    force : bool
        Count none as there.

    Returns
    -------
    lacking, there : list of Model
    refused : dict of str to str
        The experiments that lack some and cannot get them, and why.

    Raises
    ------
    StoreError
        There is no such experiment, one of ``experiments`` is refused, or none is complete.
    """
    lacking: list[Model] = []
    there: list[Model] = []
    refused: dict[str, str] = {}
    for name in chosen_experiments(store, experiments):
        models = [Model(name, k) for k in range(store.n_folds)]
        whole = [] if force else [model for model in models if _has_windows(store.fold(*model))]
        there += whole
        if len(whole) < len(models):
            try:
                check_models(store, name)
                lacking += [model for model in models if model not in whole]
            except DamagedError as error:
                refused[name] = str(error)
    if refused and experiments:
        words = "; ".join(f"{experiment}: {why}" for experiment, why in refused.items())
        raise StoreError(f"run {store.name!r} has no models for the windows of {words}")
    if not (lacking or there or refused):
        raise StoreError(f"run {store.name!r} has no complete experiment: launch it again, or name another --run")
    return lacking, there, refused


def _has_windows(fold: FoldStore) -> bool:
    with suppress(DamagedError):
        return fold.finished and fold.windows() is not None
    return False


def keep_windows(
    store: RunStore,
    models: Sequence[Model],
    cache_dir: str,
    device: torch.device,
    console: Console,
    advance: Callable[[float], None] = lambda models: None,
) -> None:
    """Compute the tiles of the out-of-fold clips of models, and keep them in their folds.

    Parameters are those of `opened`; ``advance`` is called with 1 after each model. On a CPU models work side by
    side, each on one thread, as in training.

    Raises
    ------
    StoreError
        Pooled, the tiles are not the stored out-of-fold predictions; or an error of `opened`.
    """
    table = store.clips()
    own = table[(table["fold"] >= 0) & ~table["clip"].isin(store.quarantine()["clip"])]
    row = {fname: i for i, fname in enumerate(own["fname"])}

    def keep(model: Model, experiment: Experiment, network: torch.nn.Module, feed: Feed) -> None:
        found: list[NDArray[np.float32]] = []
        fold = store.fold(*model)
        oof = fold.oof()
        rows = np.array([row[fname] for fname in oof["fname"]])
        pooled = predict(network, feed, rows, device, lambda tiles: check(), found)
        difference = float(np.abs(pooled - oof[list(store.classes)].to_numpy()).max())
        if not difference <= tolerance(fold.result(), device):
            raise StoreError(
                f"{fold.storage.where()}: its clips, predicted again, differ from its oof.parquet by up to "
                f"{difference:.2g}: the feature cache {cache_dir} holds other features, or the weights are not "
                "those that made it. Say where the run's cache is with --cache-dir"
            )
        windows = Windows.of(experiment, feed, rows, np.concatenate(found))
        fold.keep_windows(windows.frame(oof["fname"].tolist(), store.classes))

    with side_by_side(device) as (pool, workers, check):
        waiting: list[Future[None]] = []
        clips = own["clip"].tolist()
        for number, experiment, network, feed in opened(store, models, clips, cache_dir, device, console):
            waiting.append(pool.submit(keep, models[number], experiment, network, feed))
            while len(waiting) >= workers:  # so many are in memory
                waiting.pop(0).result()
                advance(1)
        for one in waiting:
            one.result()
            advance(1)


def tolerance(result: Mapping[str, Any], device: torch.device) -> float:
    """How far pooled tiles may be from the predictions of a fold with this result, absolute."""
    here = (platform.node(), torch.__version__, device.type)
    same = (result.get("host"), result.get("torch"), result.get("device")) == here
    return SAME if same and device.type == "cpu" else OTHER
