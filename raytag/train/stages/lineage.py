"""Which models of an earlier stage a model may read: those that never saw the labels that it is scored on.

A model is an experiment trained on all folds but some. What it reads of a parent, weights or predictions, comes
from models of the parent that left out at least the same folds, and so, step by step, does all that these read:

    same_fold    the parent's model of this very fold
    cross_fit    for the clips of each other fold the parent's model that left out that fold too, so that they are
                 predicted by a model that was not trained on them; for all other clips the mean of these models
    oof          for the clips of each fold the parent's model of that fold, for all others the mean of all: as is
                 often published. Those models were trained on this fold's labels: what reads them is ``leaky``
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

from raytag.experiment import Experiment


@dataclass(frozen=True, order=True)
class Cell:
    """A model of an experiment: what it leaves out of training.

    Attributes
    ----------
    fold : int
        The fold that it is validated on and predicts.
    blind : tuple of int, ascending
        Further folds that it is not trained on: none for the models that make an experiment complete.
    """

    fold: int
    blind: tuple[int, ...] = ()

    @property
    def left_out(self) -> tuple[int, ...]:
        """All folds that it is not trained on, ascending."""
        return tuple(sorted((self.fold, *self.blind)))

    @property
    def folder(self) -> str:
        """Its folder in that of the experiment."""
        return f"fold_{self.fold}" + ("_without_" + "_".join(map(str, self.blind)) if self.blind else "")

    @property
    def key(self) -> int:
        """Names its random streams (`raytag.seeding`): the fold, where nothing else is left out."""
        return self.fold + 256 * sum(2**k for k in self.blind)

    def __str__(self) -> str:
        return f"fold {self.fold}" + (f" (without {', '.join(map(str, self.blind))})" if self.blind else "")


def model_without(experiment: Experiment, fold: int, others: tuple[int, ...]) -> Cell:
    """The model of an experiment that leaves out ``fold``, on which it is validated, and ``others``.

    Where validation decides on nothing, any of them may be validated on: then one model serves all of them.
    """
    left_out = {fold, *others}
    first = fold if experiment.watches else min(left_out)
    return Cell(first, tuple(sorted(left_out - {first})))


def parent_model(parent: Experiment, cell: Cell) -> Cell:
    """The model of a parent that left out what ``cell`` leaves out: ``same_fold``."""
    # validated on a fold that is blind to the child, it would choose its epoch by labels that the child may not see
    return model_without(parent, cell.fold, cell.blind)


def parent_models(parent: Experiment, reader: str, cell: Cell, n_folds: int) -> dict[int, Cell]:
    """The models of a parent that a reader asks for its predictions, by the fold whose clips each predicts.

    Of ``same_fold`` there is one, for all clips.
    """
    if reader == "same_fold":
        return {cell.fold: parent_model(parent, cell)}
    if reader == "oof":
        return {k: Cell(k) for k in range(n_folds)}
    others = [k for k in range(n_folds) if k not in cell.left_out]
    return {k: model_without(parent, k, cell.left_out) for k in others}


def reads(experiment: Experiment, cell: Cell, n_folds: int) -> list[tuple[Experiment, Cell]]:
    """The models of earlier stages that must be finished before this one can be trained; none twice."""
    found: list[tuple[Experiment, Cell]] = []
    if (parent := experiment.init.earlier) is not None:
        found.append((parent, parent_model(parent, cell)))
    if (parent := experiment.pseudo.earlier) is not None:
        models = parent_models(parent, experiment.pseudo.reads_by, cell, n_folds)
        found += [(parent, model) for model in models.values() if (parent, model) not in found]
    return found


def models(experiments: Iterable[Experiment], folds: Iterable[int], n_folds: int) -> list[tuple[Experiment, Cell]]:
    """All models that complete experiments on ``folds``, those that they read before them; none twice."""
    found: dict[tuple[str, Cell], Experiment] = {}

    def enter(experiment: Experiment, cell: Cell) -> None:
        if (experiment.id, cell) not in found:
            for parent, model in reads(experiment, cell, n_folds):
                enter(parent, model)
            found[experiment.id, cell] = experiment

    for experiment, fold in itertools.product(experiments, folds):
        enter(experiment, Cell(fold))
    return [(experiment, cell) for (_, cell), experiment in found.items()]
