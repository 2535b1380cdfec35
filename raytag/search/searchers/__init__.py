"""Searchers propose experiments, never folds, and hold one number an experiment.

All are functions of (space, seed, proposals so far, values so far). No searcher keeps a state beyond these facts,
so a search that is told them from the event log goes on exactly where it stopped. A new one is one file here, with
its import and its line in `SEARCHERS`.

Imports of raytag `raytag.experiment`, `raytag.space` and `raytag.seeding`, when one is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from raytag.search.searchers.base import Searcher, search_key
from raytag.search.searchers.drawn import GridSearcher, RandomSearcher
from raytag.search.searchers.hyperopt import HyperoptSearcher

if TYPE_CHECKING:
    from raytag.space import Space

#: Every searcher that ``--search`` can name.
SEARCHERS: dict[str, type[Searcher]] = {
    "random": RandomSearcher,
    "grid": GridSearcher,
    "hyperopt": HyperoptSearcher,
}

__all__ = ["SEARCHERS", "Searcher", "build", "search_key"]


def build(name: str, space: Space, seed: int, number: int) -> Searcher:
    """The searcher ``name`` for ``number`` experiments.

    Raises
    ------
    ValueError
        No such searcher, or one that the space does not suit.
    """
    if name not in SEARCHERS:
        raise ValueError(f"no searcher {name!r}; there are {', '.join(SEARCHERS)}")
    return SEARCHERS[name](space, seed, number)
