"""The models of a run that may rate noisy clips: those on which neither they nor what they read were trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from rich.console import Console

from raytag.datasets.findings import some
from raytag.ensemble.own_clips import Model, check_models, chosen_experiments, opened
from raytag.errors import DamagedError
from raytag.predict import predict
from raytag.store.run import RunStore, StoreError


@dataclass(frozen=True)
class Rater:
    """A model of an experiment, and which of the noisy clips it may rate: rows of `noisy_clips`, int64 (n,)."""

    experiment: str
    fold: int
    rows: NDArray[np.int64]


def noisy_clips(store: RunStore) -> pd.DataFrame:
    """The usable noisy clips of a run that have labels: clip, fname, labels and more, in the run's order.

    Raises
    ------
    StoreError
        There is none.
    """
    clips = store.clips()
    own = (clips["subset"] == "noisy") & ~clips["clip"].isin(store.quarantine()["clip"]) & (clips["labels"] != "")
    if not own.any():
        raise StoreError(f"run {store.name!r} has no noisy clips with labels")
    return clips[own].reset_index(drop=True)


def find_raters(
    store: RunStore, clips: Sequence[str], experiments: Sequence[str] = ()
) -> tuple[list[Rater], dict[str, str]]:
    """Models that were not trained on all of some clips.

    Parameters
    ----------
    store : RunStore
    clips : sequence of str
        Ids.
    experiments : sequence of str
        Whose models; without any, those of all complete experiments that qualify.

    Returns
    -------
    raters : list of Rater
    refused : dict of str to str
        The experiments that do not qualify, and why.

    Raises
    ------
    StoreError
        An experiment of ``experiments`` does not qualify, none does, or some clips were trained on by all models.
    """
    chosen = chosen_experiments(store, experiments)
    found: list[Rater] = []
    refused: dict[str, str] = {}
    for experiment in chosen:
        try:
            found += _raters(store, experiment, clips)
        except DamagedError as error:
            refused[experiment] = str(error)
    words = "; ".join(f"{experiment}: {why}" for experiment, why in refused.items())
    if refused and (experiments or not found):
        raise StoreError(
            f"the noisy clips of run {store.name!r} cannot be rated by {words}. Rate them by an experiment that "
            "was trained without them (raytag status names all)"
        )
    if not found:
        raise StoreError(f"run {store.name!r} has no complete experiment: launch it again, or name another --run")
    rated = np.zeros(len(clips), bool)
    for rater in found:
        rated[rater.rows] = True
    if lost := [clip for clip, known_of in zip(clips, rated, strict=True) if not known_of]:
        names = ", ".join(dict.fromkeys(rater.experiment for rater in found))
        raise StoreError(
            f"every model of {names} was trained on {some(lost, 'noisy clip', 'noisy clips')} of {len(clips)}: "
            "rate with an experiment that was trained without them, too"
        )
    return found, refused


def _raters(store: RunStore, experiment: str, clips: Sequence[str]) -> list[Rater]:
    """The models of an experiment; a `DamagedError` says why none qualifies."""
    check_models(store, experiment)
    unseen = [~np.isin(clips, [*trained_on(store, experiment, f"fold_{k}")]) for k in range(store.n_folds)]
    found = [Rater(experiment, k, np.flatnonzero(own)) for k, own in enumerate(unseen) if own.any()]
    if not found:
        raise DamagedError(f"its models were trained on all {len(clips)} of them")
    return found


def trained_on(store: RunStore, experiment: str, folder: str) -> frozenset[str]:
    """Ids of the clips that a model was trained on, or any that it read weights or predictions of.

    Raises
    ------
    DamagedError
        It is not known of one of them.
    """
    try:
        fold = store.model(experiment, folder)
        clips, lineage = fold.trained(), fold.result().get("lineage", {})
    except FileNotFoundError as error:
        raise DamagedError(f"{error}, so what it was trained on is not known") from None
    for source in lineage.get("read", {}):
        clips |= trained_on(store, *source.split("/"))
    return clips


def predictions(
    store: RunStore,
    raters: Sequence[Rater],
    clips: Sequence[str],
    cache_dir: str,
    device: torch.device,
    console: Console,
    advance: Callable[[float], None] = lambda models: None,
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Of each model the rows of ``clips`` that it may rate, and their probabilities (n, n_classes).

    Parameters
    ----------
    store : RunStore
    raters : sequence of Rater
    clips : sequence of str
        Ids of the noisy clips.
    cache_dir : str
        Folder or URI of the feature cache.
    device : torch.device
    console : rich.console.Console
        For a word about damage in the cache.
    advance : callable
        Called with 1 after each model.

    Raises
    ------
    StoreError, CacheError, PluginError, DamagedError
        See `raytag.ensemble.own_clips.opened`.
    """
    models = [Model(rater.experiment, rater.fold) for rater in raters]
    for number, _, network, feed in opened(store, models, clips, cache_dir, device, console):
        rows = raters[number].rows
        yield rows, predict(network, feed, rows, device)
        advance(1)
