"""What models say of each tile of clips that they did not train on, where a run keeps it: ``raytag windows``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from raytag.ensemble.predictions.oof import EnsembleError, OofMatrix
from raytag.store.fold import WINDOWS_KEPT
from raytag.store.predictions import PredictionsError, class_values

#: Mean difference to the clips' predictions, as a share of their mean: precisions and devices make less, a maximum
#: over tiles in the place of a mean makes more.
_AGREES = 0.05
#: Why a model has none where nothing is wrong.
UNMADE = "without windows: raytag windows makes them"


@dataclass(frozen=True)
class ClipTiles:
    """Tiles of a model's clips.

    Attributes
    ----------
    values : np.ndarray [shape=(n_tiles, n_classes)], float32
        Probabilities, clip after clip, left to right.
    first : np.ndarray [shape=(n_clips + 1,)], int64
        Tiles ``first[i]`` to ``first[i + 1]`` are clip i's; there is one at least.
    """

    values: NDArray[np.float32]
    first: NDArray[np.int64]


def windowed(oof: OofMatrix) -> list[str]:
    """Models all of whose folds have windows."""
    return [
        name
        for name, origin in zip(oof.experiments, oof.origin, strict=True)
        if origin and all(origin[0].fold(origin[1], k).storage.exists(WINDOWS_KEPT) for k in range(oof.n_folds))
    ]


def load_windows(oof: OofMatrix, model: int) -> ClipTiles | str:
    """The out-of-fold tiles of a model, or why there are none that stackers can learn from.

    Raises
    ------
    EnsembleError
        They do not fit the run's clips; the message names the file.
    """
    origin = oof.origin[model] if oof.origin else None
    if origin is None:
        return "not trained by raytag"
    store, experiment = origin
    place = pd.Index(oof.fnames)
    clips, values = [], []
    for k in range(oof.n_folds):
        frame = store.fold(experiment, k).windows()
        if frame is None:
            return UNMADE
        where = f"{oof.experiments[model]} fold {k} (windows)"
        clip = place.get_indexer(pd.Index(frame["fname"]))  # -1: unusable by now
        if lacking := sorted({*np.flatnonzero(oof.fold == k)} - {*clip}):
            raise EnsembleError(
                f"{where}: {len(lacking)} clips have none, first {oof.fnames[lacking[0]]}; make them again with: "
                f"raytag windows --run {store.name}"
            )
        try:
            values.append(class_values(frame, oof.classes, where)[clip >= 0].astype(np.float32))
        except PredictionsError as error:
            raise EnsembleError(str(error)) from None
        clips.append(clip[clip >= 0])
    clip = np.concatenate(clips)
    order = np.argsort(clip, kind="stable")
    first = np.searchsorted(clip[order], np.arange(len(oof.fnames) + 1))
    found = ClipTiles(np.concatenate(values)[order], first)
    means = np.add.reduceat(found.values, first[:-1], axis=0) / np.diff(first)[:, None]
    if np.abs(means - oof.probabilities[model]).mean() > _AGREES * oof.probabilities[model].mean():
        return "not the mean of its windows"
    return found
