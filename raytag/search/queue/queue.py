"""In what order models are trained: what the race wants, and before each what it learns from."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from raytag.search.progress import Trial
from raytag.search.queue.ancestry import Ancestry, BlockedError, Model
from raytag.search.race.race import Race
from raytag.train.stages.lineage import Cell


class Queue:
    """What a driver starts next.

    Parameters
    ----------
    race : Race
    ancestry : Ancestry
        Knows all experiments that were proposed.
    blocked : callable
        Told (experiment, fold, reason) once of each fold that is left out, because what it learns from failed.
    """

    def __init__(self, race: Race, ancestry: Ancestry, blocked: Callable[[str, int, str], None]) -> None:
        self.race, self.ancestry = race, ancestry
        self._tell, self._blocked = blocked, set[tuple[str, int]]()

    def next(
        self, running: Sequence[Trial], may_propose: Callable[[], bool], propose: Callable[[], None]
    ) -> Model | None:
        """What is open of a first fold, then new experiments, then other folds; without stopping, what is open.

        What an experiment learns from comes before it; while all of that is under way, what its other folds will
        read. None when there is nothing to start now.
        """
        models = [trial.model for trial in running]
        busy = [(trial.experiment.id, trial.fold) for trial in running if not trial.cell.blind]
        waits = False
        while True:
            found = self.race.next_trial(busy, self._blocked)
            if found is None or (self.race.can_stop and found[1] != self.race.folds[0]):
                if waits and (step := self._ahead(models)) is not None:
                    return step
                if may_propose():
                    propose()
                    continue
            if found is None:
                return self._ahead(models)
            if (step := self._step(*found, models)) is not None:
                return step
            busy.append(found)
            waits = True

    def _step(self, experiment_id: str, fold: int, running: Sequence[Model]) -> Model | None:
        """What to train for a fold now: itself or what it reads; None where that is under way, or failed."""
        try:
            return self.ancestry.first_step((experiment_id, Cell(fold)), running)
        except BlockedError as error:
            self._blocked.add((experiment_id, fold))
            self._tell(experiment_id, fold, str(error))
            return None

    def _ahead(self, running: Sequence[Model]) -> Model | None:
        """What the experiments that hold the places of the portfolio will read, on any fold."""
        for entry in self.race.places():
            for fold in self.race.folds:
                if not entry.open or fold in entry.folds or (entry.id, fold) in self._blocked:
                    continue
                step = self._step(entry.id, fold, running)
                if step is not None and step != (entry.id, Cell(fold)):
                    return step
        return None

    def is_read(self, experiment_id: str) -> bool:
        """Whether anything that is still in learns from an experiment."""
        return any(e.open and experiment_id in self.ancestry.ancestors(e.id) for e in self.race.active)

    def open_epochs(self, running: Sequence[Trial]) -> float:
        """Epochs that are left if no more experiment is proposed or dropped, those of earlier stages included."""
        begun = {trial.model: trial.epoch for trial in running}
        wanted: dict[Model, int] = {}
        for entry in self.race.active:
            for fold in self.race.folds:
                if entry.open and fold not in entry.folds and (entry.id, fold) not in self._blocked:
                    wanted |= {(entry.id, Cell(fold)): entry.epochs} | self.ancestry.needed(entry.id, fold)
        return sum(epochs - begun.get(model, 0) for model, epochs in wanted.items())
