"""What one model reads of earlier stages: weights and predictions of models that may be read, and files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from raytag import parts
from raytag.datasets.table import ClipTable
from raytag.errors import DamagedError
from raytag.experiment import Experiment, OutsideFile
from raytag.features.bank import Bank
from raytag.models.tagger import Tagger
from raytag.predict import predict, restored
from raytag.store.fold import PSEUDO, FoldStore
from raytag.store.kept.outside import outside_file
from raytag.store.predictions import PredictionsError, aligned, predictions_frame
from raytag.store.run import RunStore
from raytag.train.stages.lineage import Cell, parent_model, parent_models


class Reading:
    """All that a model of an experiment may read: `raytag.train.stages.lineage` says which models those are.

    Parameters
    ----------
    experiment : Experiment
    cell : Cell
        Which of its models.
    table : ClipTable
        Usable clips.
    run : RunStore
        Holds the models of earlier stages.
    bank : callable
        Features -> their `raytag.features.Bank`.
    store : FoldStore
        Of this very model: keeps the predictions that it read.
    device : torch.device
        Where predictions are computed.

    Attributes
    ----------
    sources : dict of str to str
        Digests of the weights that were read, by ``EXPERIMENT/fold_K``.
    """

    def __init__(
        self,
        experiment: Experiment,
        cell: Cell,
        table: ClipTable,
        run: RunStore,
        bank: Callable[[parts.Features], Bank],
        store: FoldStore,
        device: torch.device,
    ) -> None:
        self.experiment, self.cell, self.table, self.run = experiment, cell, table, run
        self._bank, self._store, self._device = bank, store, device
        self.sources: dict[str, str] = {}

    def file(self, file: OutsideFile) -> bytes:
        """The content of a user's file, as the run keeps it."""
        return outside_file(self.run.storage, file)

    def weights(self) -> tuple[str, dict[str, torch.Tensor]]:
        """Where they come from and the tensors of the network of ``init.parent``.

        Raises
        ------
        DamagedError
            They are damaged, or were freed by ``raytag prune``.
        """
        parent = self.experiment.init.earlier
        cell = parent_model(parent, self.cell)
        state = self._state(parent, cell)
        return f"{parent.id} {cell}", of_network(parent, state)

    def predictions(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Probabilities of clips by the models of ``pseudo.parent`` that its ``reader`` names, (n, n_classes).

        They are computed once: a training that goes on elsewhere goes on with the same ones.

        Parameters
        ----------
        rows : int64 array (n,)
            Rows of the table.
        """
        fnames = self.table.clips["fname"].to_numpy()[rows].tolist()
        with suppress(DamagedError, FileNotFoundError, PredictionsError):  # then they are computed again
            frame, self.sources = self._store.pseudo()
            return aligned(frame, fnames, self.table.classes, PSEUDO)
        pseudo = self.experiment.pseudo
        models = parent_models(pseudo.earlier, pseudo.reads_by, self.cell, self.run.n_folds)
        found = self._predict(pseudo.earlier, pseudo.reads_by, models, rows)
        frame = predictions_frame(fnames, found, self.table.classes)
        self._store.keep_pseudo(frame, self.sources)
        return found

    def _predict(
        self, parent: Experiment, reader: str, models: Mapping[int, Cell], rows: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        clips = self.table.clips
        fold = np.where(clips["subset"] == "curated", clips["fold"], -1)[rows]
        found = np.zeros((len(rows), len(self.table.classes)), np.float32)
        for k, cell in models.items():
            alone = reader == "same_fold"
            own = np.ones(len(rows), dtype=bool) if alone else fold == k
            shared = ~np.isin(fold, [*models]) & ~own
            asked = own | shared
            if not asked.any():
                continue
            predicted = self._model(parent, cell)(rows[asked])
            found[own] = predicted[own[asked]]
            found[shared] += predicted[shared[asked]] / len(models)
        return found

    def _model(self, parent: Experiment, cell: Cell) -> Callable[[NDArray[np.int64]], NDArray[np.float32]]:
        model = restored(parent, self._state(parent, cell), len(self.table.classes), self._device)
        feed = parent.input.open(self._bank(parent.features), parent.features)
        return lambda rows: predict(model, feed, rows, self._device)

    def _state(self, parent: Experiment, cell: Cell) -> dict[str, torch.Tensor]:
        store = self.run.model(parent.id, cell.folder)
        state = store.weights()
        self.sources[f"{parent.id}/{cell.folder}"] = store.digest_of_weights()
        return state


def network_of(model: torch.nn.Module) -> torch.nn.Module:
    """What has weights: a model without its front end."""
    return model.network if isinstance(model, Tagger) else model


def of_network(experiment: Experiment, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The state of the network alone, of an experiment's whole model."""
    if experiment.front_end.build(experiment.features) is None:
        return dict(state)
    return {k.removeprefix("network."): v for k, v in state.items() if k.startswith("network.")}


def describe(experiment: Experiment, learned: Mapping[str, Any]) -> dict[str, Any]:
    """What a fold's result says of its lineage.

    ``leaky``: it reads models that trained on the labels that it is scored on. ``chosen_on_own_fold``: the epoch or
    the rate of a model that it reads was chosen by its score on this very fold (``training.keep_epoch=best``).
    """
    return {
        "stage": experiment.stage,
        "leaky": experiment.leaky,
        "parents": [parent.id for parent in experiment.parents],
        "chosen_on_own_fold": any(parent.watches for parent in experiment.parents),
        **learned,
    }
