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
    """TPE over the fields that vary; the base experiment comes first.

    Parameters
    ----------
    space : Space
        With BASE and VARY. The base experiment is modelled like any proposal if the distributions cover it.
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
        if space.base is None:
            raise ValueError(f"{space.path}: --search hyperopt needs a space with BASE and VARY")
        if not space.vary:
            why = "".join(f". {note}" for note in space.notes)
            raise ValueError(
                f"{space.path}: nothing varies that --search hyperopt could choose{why}. Use --search random"
            )

        from raytag.search.searchers.tpe import Tpe, as_stored  # hyperopt takes a second

        self.base = space.base
        self.known = max(1, n_initial_points)
        distributions = {key: as_stored(space.base, key, space.vary[key]) for key in space.vary}
        self.tpe = Tpe(distributions, seed, n_initial_points)
        self.history: dict[int, Mapping[str, Any]] = {}  # proposal -> its varied fields
        self.values: dict[int, float] = {}  # proposal -> what was told last

    def propose(self, index: int) -> Experiment:
        experiment = self.base
        if index > 0:
            experiment = self.base.replace(self.tpe.suggest(index, self.history, self.values))
        self.restore(index, experiment)
        return experiment

    def restore(self, index: int, experiment: Experiment) -> None:
        fields = experiment.flat()
        self.history[index] = {key: fields[key] for key in self.tpe.distributions}

    def tell(self, index: int, value: float) -> None:
        super().tell(index, value)
        self.values[index] = value
