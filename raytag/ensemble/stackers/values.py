"""What goes into the training of second-level models and what comes out: plain values, sent between processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from raytag.ensemble.predictions.windows import ClipTiles
from raytag.ensemble.stackers.grid import StackerConfig
from raytag.ensemble.stackers.linear import LinearConfig

#: What is told of every configuration of a case; what a family does not have is None.
HISTORY_COLUMNS = (
    "family", "name", "kind", "penalty", "base_size", "reduction_scale", "batch_size", "dropout", "lr", "patience",
    "factor", "epochs_trained", "best_epoch", "inner_lwlrap",
)  # fmt: skip


@dataclass(frozen=True)
class StackerData:
    """What all cases share; read-only.

    Attributes
    ----------
    probabilities : np.ndarray [shape=(n_models, n_clips, n_classes)], float32
        Out-of-fold.
    targets : np.ndarray [shape=(n_clips, n_classes)], float32
    fold : np.ndarray [shape=(n_clips,)], int64
    group : np.ndarray [shape=(n_clips,)], str
        Clips of a group stay together in inner splits; "" is a group of its own.
    test : np.ndarray [shape=(n_models, n_test, n_classes)], float32, or None
    windows : dict of int to ClipTiles
        Tiles by number of model, of those that some case reads and that have any.
    """

    probabilities: NDArray[np.float32]
    targets: NDArray[np.float32]
    fold: NDArray[np.int64]
    group: NDArray[np.object_]
    test: NDArray[np.float32] | None
    windows: Mapping[int, ClipTiles] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """Which models are read, whose labels are out of sight, and what is wanted.

    A faithful one lets networks stop, and be chosen, on the very folds left out, as argus-freesound does.
    """

    members: tuple[int, ...]
    left_out: tuple[int, ...]
    with_test: bool = False
    keep_weights: bool = False
    faithful: bool = False


@dataclass(frozen=True)
class Trained:
    """A second-level model of a case.

    Attributes
    ----------
    inner_lwlrap : float
        On the inner split of the other folds, of faithful networks on the folds left out: what it is selected by.
    epochs : int
        Epoch whose weights predict; 0 for a linear model.
    oof : np.ndarray [shape=(n, n_classes)], float32
        Probabilities for the clips of the folds left out, in the order of the clips.
    test : np.ndarray [shape=(n_test, n_classes)], float32, or None
    weights : dict of torch.Tensor, or None
        All that `raytag.ensemble.stackers.case.predict_stacker` needs beside ``config``.
    """

    config: StackerConfig | LinearConfig
    inner_lwlrap: float
    epochs: int
    oof: NDArray[np.float32]
    test: NDArray[np.float32] | None
    weights: dict[str, torch.Tensor] | None

    @property
    def name(self) -> str:
        """Name of the configuration, the same in all cases."""
        return self.config.name

    @property
    def family(self) -> Literal["mlp", "linear"]:
        """Kind of model."""
        return "linear" if isinstance(self.config, LinearConfig) else "mlp"


@dataclass(frozen=True)
class CaseResult:
    """What a case found.

    Attributes
    ----------
    finalists : list of Trained
        The best three networks and the best linear model by inner lwlrap: family by family, networks first, best
        first.
    history : list of dict
        A row for every configuration with the fields `HISTORY_COLUMNS`.
    """

    finalists: list[Trained]
    history: list[dict[str, Any]]
