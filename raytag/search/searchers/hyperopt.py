"""TPE over the fields that vary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from raytag.search.searchers.base import Searcher

if TYPE_CHECKING:
    from raytag.experiment import Experiment
    from raytag.space import Space

INITIAL_POINTS = 8  # proposals before TPE starts to model, the base experiment included


class HyperoptSearcher(Searcher):
    """TPE over the fields that vary and, in a mixture, the kinds of experiments; the space's first ones come first.

    Parameters
    ----------
    space : Space
        In which something varies. What comes first is modelled like any proposal if the distributions cover it.
    seed, number : int
        Whatever the number.
    n_initial_points : int
        Proposals, the base included, before TPE starts to model; they are those of a random search.

    Raises
    ------
    ValueError
        The space has nothing that varies, or ``n_initial_points`` is negative.
    """

    about = f"TPE, which models the results so far; the first {INITIAL_POINTS} are random draws"

    def __init__(self, space: Space, seed: int, number: int, n_initial_points: int = INITIAL_POINTS) -> None:
        if not space.branches:
            why = "".join(f". {note}" for note in space.notes)
            raise ValueError(
                f"{space.path}: nothing varies that --search hyperopt could choose{why}. Use --search random"
            )

        from raytag.search.searchers.tpe import Tpe, as_stored  # hyperopt takes a second

        self.space = space
        self.known = max(len(space.firsts), n_initial_points)
        kinds = [{k: as_stored(b.base, k, d) for k, d in b.vary.items()} for b in space.branches]
        self.tpe = Tpe(kinds, [b.weight for b in space.branches], seed, n_initial_points)
        self.history: dict[int, tuple[int, Mapping[str, Any]]] = {}  # proposal -> its branch and varied fields
        self.values: dict[int, float] = {}  # proposal -> what was told last

    def propose(self, index: int) -> Experiment:
        if index < len(self.space.firsts):
            experiment = self.space.firsts[index]
        else:
            branch, point = self.tpe.suggest(index, self.history, self.values)
            experiment = self.space.branches[branch].base.replace(point)
        self.restore(index, experiment)
        return experiment

    def restore(self, index: int, experiment: Experiment) -> None:
        fields = experiment.flat()
        for number, branch in enumerate(self.space.branches):
            if not branch.moved(experiment):
                self.history[index] = number, {key: fields[key] for key in branch.vary}
                return

    def tell(self, index: int, value: float) -> None:
        super().tell(index, value)
        self.values[index] = value
