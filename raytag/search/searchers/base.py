"""What a searcher is, and what names a sequence of proposals."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Protocol

from raytag.experiment import Experiment
from raytag.space import Space


class Searcher(Protocol):
    """Proposes experiments by number."""

    size: int | None  # how many distinct proposals there are, if that is limited

    def propose(self, index: int) -> Experiment:
        """The experiment number ``index``: a function of the proposals before it and of the values told so far.

        Called for 0, 1, 2, … in this order, but for those that ``restore`` gives.
        """

    def restore(self, index: int, experiment: Experiment) -> None:
        """Take over that proposal ``index`` was ``experiment``: a fact of an earlier launch, nothing is drawn."""

    def tell(self, index: int, value: float) -> None:
        """Set the value of proposal ``index``: its lwlrap, larger is better.

        A later call replaces the value by a better estimate; the order of calls does not matter.

        Raises
        ------
        ValueError
            The value is not finite.
        """


def check_finite(index: int, value: float) -> None:
    if not math.isfinite(value):
        raise ValueError(f"the value of experiment {index} is {value}; a searcher takes finite numbers only")


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
