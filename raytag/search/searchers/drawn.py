"""Searchers that do not listen: random draws and the grid."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raytag.search.searchers.base import Searcher

if TYPE_CHECKING:
    from raytag.experiment import Experiment
    from raytag.space import Space


class RandomSearcher(Searcher):
    about = "independent draws"

    def __init__(self, space: Space, seed: int, number: int) -> None:
        self.space, self.seed = space, seed
        self.size = None if space.branches else len(space.firsts)

    def propose(self, index: int) -> Experiment:
        return self.space.sample(self.seed, index)


class GridSearcher(Searcher):
    about = "all combinations in a shuffled order, three values of what is continuous, none twice"
    source = "grid"

    def __init__(self, space: Space, seed: int, number: int) -> None:
        self.points = space.grid(seed, number)
        self.size = len(self.points)

    def propose(self, index: int) -> Experiment:
        return self.points[index]
