"""What a searcher is, and what names a sequence of proposals."""

from __future__ import annotations

import hashlib
import json
import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from raytag.experiment import Experiment
    from raytag.space import Space


class Searcher(ABC):
    """Proposes experiments by number.

    Its module is read for ``--help``: what takes long to import is imported when one is made.
    `raytag.testing.searchers.check_searcher` holds a searcher to what the driver relies on.

    Parameters
    ----------
    space : Space
    seed : int
    number : int
        Experiments that are wanted, if the space has so many.

    Raises
    ------
    ValueError
        The space does not suit.

    Attributes
    ----------
    about : str
        How it proposes, for ``--help``; it goes on after ``NAME:``.
    source : str
        What it draws from, for messages.
    size : int or None
        How many distinct proposals there are, if that is limited.
    known : int or None
        How many proposals, from the first, no result can change; None: all.
    """

    about: ClassVar[str]
    source: ClassVar[str] = "space"
    size: int | None = None
    known: int | None = None

    @abstractmethod
    def __init__(self, space: Space, seed: int, number: int) -> None: ...

    @abstractmethod
    def propose(self, index: int) -> Experiment:
        """The experiment number ``index``: a function of the proposals before it and of the values told so far.

        Called for 0, 1, 2, … in this order, but for those that ``restore`` gives.
        """

    def restore(self, index: int, experiment: Experiment) -> None:  # noqa: B027 - not all look back
        """Take over that proposal ``index`` was ``experiment``: a fact of an earlier launch, nothing is drawn."""

    def tell(self, index: int, value: float) -> None:
        """Set the value of proposal ``index``: its lwlrap, larger is better.

        A later call replaces the value by a better estimate; the order of calls does not matter.

        Raises
        ------
        ValueError
            The value is not finite, which no searcher lets pass, whether it listens or not.
        """
        if not math.isfinite(value):
            raise ValueError(f"the value of experiment {index} is {value}; a searcher takes finite numbers only")


def search_key(name: str, space: Space, seed: int) -> str:
    """8 hexadecimal digits that name a sequence of proposals: the same for every launch that continues it."""
    content = {
        "search": name,
        "seed": seed,
        "firsts": [e.canonical_json() for e in space.firsts],
        "branches": [
            [branch.weight, branch.base.canonical_json(), {key: repr(d) for key, d in sorted(branch.vary.items())}]
            for branch in space.branches
        ],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]
