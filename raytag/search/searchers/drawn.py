"""Searchers that do not listen: random draws and the grid."""

from __future__ import annotations

from raytag.experiment import Experiment
from raytag.search.searchers.base import check_finite
from raytag.space import Space


class RandomSearcher:
    def __init__(self, space: Space, seed: int) -> None:
        self.space, self.seed = space, seed
        self.size = None if space.base is not None and space.vary else max(1, len(space.experiments))

    def propose(self, index: int) -> Experiment:
        return self.space.sample(self.seed, index)

    def restore(self, index: int, experiment: Experiment) -> None:
        """A random search does not look back."""

    def tell(self, index: int, value: float) -> None:
        """A random search does not listen, but it does not let a broken value pass either."""
        check_finite(index, value)


class GridSearcher:
    def __init__(self, space: Space, seed: int, number: int) -> None:
        self.points = space.grid(seed, number)
        self.size: int | None = len(self.points)

    def propose(self, index: int) -> Experiment:
        return self.points[index]

    def restore(self, index: int, experiment: Experiment) -> None:
        """A grid does not look back."""

    def tell(self, index: int, value: float) -> None:
        """A grid does not listen, but it does not let a broken value pass either."""
        check_finite(index, value)
