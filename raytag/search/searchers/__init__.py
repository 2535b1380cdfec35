"""Searchers propose experiments, never folds, and hold one number an experiment.

All are functions of (space, seed, proposals so far, values so far): ``random`` and ``grid`` do not look at
proposals and values, ``hyperopt`` (tree-structured Parzen estimators, TPE) models them. No searcher keeps a
state beyond these facts, so a search that is told them from the event log goes on exactly where it stopped.
"""

from __future__ import annotations

from raytag.search.searchers.base import Searcher, search_key
from raytag.search.searchers.drawn import GridSearcher, RandomSearcher
from raytag.search.searchers.hyperopt import INITIAL_POINTS, HyperoptSearcher
from raytag.space import Space

SEARCHES = ("random", "grid", "hyperopt")

__all__ = ["INITIAL_POINTS", "SEARCHES", "Searcher", "build", "search_key"]


def build(name: str, space: Space, seed: int, number: int, n_initial_points: int = INITIAL_POINTS) -> Searcher:
    """The searcher ``name`` for ``number`` experiments.

    ``n_initial_points`` is how many proposals ``hyperopt`` makes, the base included, before it models.

    Raises
    ------
    ValueError
        No such searcher, or one that the space does not suit.
    """
    if name == "random":
        return RandomSearcher(space, seed)
    if name == "grid":
        return GridSearcher(space, seed, number)
    if name == "hyperopt":
        return HyperoptSearcher(space, seed, n_initial_points)
    raise ValueError(f"no searcher {name!r}; there are {', '.join(SEARCHES)}")
