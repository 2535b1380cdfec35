"""Searchers propose experiments, never folds, and are told one number an experiment.

``random`` and ``grid`` are functions of (space, seed); ``hyperopt`` (Bergstra et al. 2011, tree-structured
Parzen estimators) learns from what it is told. Its state is rebuilt by replaying the proposals and values
of the event log in their order, so a resumed search goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any, Protocol

from hyperopt import hp
from ray.tune.search.hyperopt import HyperOptSearch

from raytag.experiment import Experiment
from raytag.space import Choice, Space, Uniform

SEARCHES = ("random", "grid", "hyperopt")
INITIAL_POINTS = 8  # random proposals before TPE starts to model


class Searcher(Protocol):
    """Proposes experiments by number."""

    size: int | None  # how many distinct proposals there are, if that is limited

    def propose(self, index: int) -> Experiment:
        """The experiment number ``index``; called once for 0, 1, 2, … in this order."""

    def tell(self, index: int, value: float) -> None:
        """The value (lwlrap) of proposal ``index``."""


class RandomSearcher:
    def __init__(self, space: Space, seed: int) -> None:
        self.space, self.seed = space, seed
        self.size = None if space.base is not None and space.vary else max(1, len(space.experiments))

    def propose(self, index: int) -> Experiment:
        return self.space.sample(self.seed, index)

    def tell(self, index: int, value: float) -> None:
        """A random search does not listen."""


class GridSearcher:
    def __init__(self, space: Space, seed: int, number: int) -> None:
        self.points = space.grid(seed, number)
        self.size: int | None = len(self.points)

    def propose(self, index: int) -> Experiment:
        return self.points[index]

    def tell(self, index: int, value: float) -> None:
        """A grid does not listen."""


class HyperoptSearcher:
    """Ray's wrapper of hyperopt over the fields that vary; the base experiment comes first."""

    def __init__(self, space: Space, seed: int) -> None:
        if space.base is None or not space.vary:
            raise ValueError(f"{space.path}: --search hyperopt needs a space with BASE and VARY")
        self.space = space
        self.base = space.base
        self.size: int | None = None
        self.keys = sorted(space.vary)
        domain = {f"p{i}": _domain(f"p{i}", space.vary[key]) for i, key in enumerate(self.keys)}
        self.search = HyperOptSearch(
            domain, metric="lwlrap", mode="max", n_initial_points=INITIAL_POINTS, random_state_seed=seed
        )

    def propose(self, index: int) -> Experiment:
        if index == 0:
            return self.base
        point = self.search.suggest(str(index))
        assert isinstance(point, dict)  # hyperopt waits for nothing
        changes = {}
        for i, key in enumerate(self.keys):
            distribution, value = self.space.vary[key], point[f"p{i}"]
            if isinstance(distribution, Choice):
                changes[key] = distribution.values[int(value)]
            else:
                low, high = distribution.low, distribution.high
                changes[key] = min(max(float(f"{float(value):.4g}"), low), high)
        return self.base.replace(changes)

    def tell(self, index: int, value: float) -> None:
        if index > 0:  # the base is not hyperopt's own proposal and has no place in its records
            self.search.on_trial_complete(str(index), {"lwlrap": value})


def _domain(label: str, distribution: Uniform | Choice) -> Any:
    if isinstance(distribution, Choice):
        return hp.randint(label, len(distribution.values))
    if distribution.log:
        return hp.loguniform(label, math.log(distribution.low), math.log(distribution.high))
    return hp.uniform(label, distribution.low, distribution.high)


def build(name: str, space: Space, seed: int, number: int) -> Searcher:
    """The searcher ``name`` for ``number`` experiments."""
    if name == "random":
        return RandomSearcher(space, seed)
    if name == "grid":
        return GridSearcher(space, seed, number)
    if name == "hyperopt":
        return HyperoptSearcher(space, seed)
    raise ValueError(f"no searcher {name!r}; there are {', '.join(SEARCHES)}")


def search_key(name: str, space: Space, seed: int) -> str:
    """8 hexadecimal digits that name a sequence of proposals: the same for every launch that continues it."""
    content = {
        "search": name,
        "seed": seed,
        "base": space.base.canonical_json() if space.base else None,
        "vary": {key: repr(space.vary[key]) for key in sorted(space.vary)},
        "experiments": [e.canonical_json() for e in space.experiments],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]
