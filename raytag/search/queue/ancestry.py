"""What must be trained before an experiment may start on a fold, and what of it is finished.

An ancestor takes part in the race only where it is proposed itself; else it is trained as far as those that learn
from it need it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from raytag.experiment import Experiment
from raytag.store.fold import PREDICTIONS, WEIGHTS
from raytag.store.run import RunStore
from raytag.train.stages.lineage import Cell, reads

#: A model by the identity of its experiment and what it leaves out.
Model = tuple[str, Cell]


class BlockedError(Exception):
    """A fold that cannot be trained in this launch: something that it reads failed; the message says what."""


class Ancestry:
    """The models of earlier stages that experiments read.

    Parameters
    ----------
    store : RunStore
    folds : sequence of int
        That are trained.
    say : callable
        Told which models are lost and trained again.

    Attributes
    ----------
    experiments : dict of str to Experiment
        All ancestors, by identity.
    """

    def __init__(self, store: RunStore, folds: Sequence[int], say: Callable[[str], None]) -> None:
        self.store, self.folds, self.say = store, folds, say
        self.experiments: dict[str, Experiment] = {}
        self._of: dict[str, tuple[str, ...]] = {}  # identities of ancestors, earliest first
        self._reads: dict[Model, list[Model]] = {}
        self._done: dict[Model, bool] = {}
        self._failed: dict[Model, str] = {}

    def enter(self, experiment: Experiment) -> None:
        """Take in an experiment, and store what it learns from."""
        if experiment.id in self._of:
            return
        ancestors = experiment.ancestors
        for ancestor in ancestors:
            if ancestor.id not in self.experiments:
                self.store.add(ancestor)
                self.experiments[ancestor.id] = ancestor
        self._of[experiment.id] = tuple(ancestor.id for ancestor in ancestors)
        for fold in self.folds:
            self._enter(experiment, Cell(fold))

    def _enter(self, experiment: Experiment, cell: Cell) -> None:
        model = experiment.id, cell
        if model in self._reads:
            return
        read = reads(experiment, cell, self.store.n_folds)
        self._reads[model] = [(parent.id, own) for parent, own in read]
        for parent, own in read:
            self._enter(parent, own)

    def ancestors(self, experiment_id: str) -> tuple[str, ...]:
        """Identities of all that an experiment learns from."""
        return self._of[experiment_id]

    def needed(self, experiment_id: str, fold: int) -> dict[Model, int]:
        """The models that must be finished before an experiment's fold, and are not, with their epochs."""
        found: dict[Model, int] = {}
        open_models = [(experiment_id, Cell(fold))]
        while open_models:
            for model in self._reads[open_models.pop()]:
                if model not in found and not self.done(model):
                    found[model] = self.experiments[model[0]].training.epochs
                    open_models.append(model)
        return found

    def done(self, model: Model) -> bool:
        """Whether a model is finished as a whole. What is damaged is set aside: it is trained again."""
        if model not in self._done:
            there = self.store.model(model[0], model[1].folder)
            result, damage = there.look(read=(*PREDICTIONS, WEIGHTS))
            if damage:
                there.set_aside()
                self.say(f"{model[0]} {model[1]} is lost, and trained again: {damage}")
            self._done[model] = result is not None
        return self._done[model]

    def finished(self, model: Model) -> None:
        """A model was trained."""
        self._done[model] = True

    def failed(self, model: Model, reason: str) -> None:
        """A model cannot be trained in this launch."""
        self._failed[model] = reason

    def first_step(self, model: Model, running: Collection[Model]) -> Model | None:
        """What to train next so that a model can be: the model itself, or one that it reads.

        None: all that is missing is under way.

        Raises
        ------
        BlockedError
            One of those failed.
        """
        missing = [read for read in self._reads[model] if not self.done(read)]
        for read in missing:
            if read in self._failed:
                raise BlockedError(f"it learns from {read[0]} {read[1]}, which failed")
        steps = [self.first_step(read, running) for read in missing if read not in running]
        return next((step for step in steps if step is not None), None) if missing else model

    def epochs_before(self, experiment: Experiment) -> int:
        """Epochs of all that an experiment learns from, on one fold, where they are not finished.

        Of a proposal that is not made yet as much is expected: where all share their parents, nothing once those
        are trained.
        """
        models = {model for fold in self.folds for model in self.needed(experiment.id, fold)}
        own = [self.experiments[name].training.epochs for name, _ in models]
        return -(-sum(own) // max(1, len(self.folds)))
