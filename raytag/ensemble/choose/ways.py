"""The ways of choosing an ensemble, simplest first: of equal nested scores the first is kept.

A further way to blend first-level models is one file in `raytag.blends` and one row here. Its function is given
(scorer, parts), and what it returns is scored exactly, in-sample and nested, like all others::

    Way("mine", "my blend", "what it chooses", "raytag.blends.mine:choose")
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from raytag.parts import resolve

if TYPE_CHECKING:
    from raytag.blends.scorer import Scorer
    from raytag.blends.subsets import Found


@dataclass(frozen=True)
class Way:
    """One way of choosing.

    Attributes
    ----------
    name : str
        As ``--way`` and ``ensemble.json`` call it.
    title : str
        On screen.
    about : str
        What it chooses, for ``--help``.
    target : str
        ``module:function`` from (scorer, parts) to a multiset of models, whose repeats are integer weights; ""
        takes the best subset, or is of the second level. Imported when it is called: names cost nothing.
    from_subset : bool
        Whether the function starts from the best subset's members, its third argument.
    stackers : str
        Family of the stackers that it reads; "" on the first level.
    joined : bool
        Whether the members of the best subset join the stackers.
    """

    name: str
    title: str
    about: str
    target: str = ""
    from_subset: bool = False
    stackers: str = ""
    joined: bool = False

    @property
    def members_of(self) -> str | None:
        """The way whose first-level members it has; None for stackers alone."""
        if not self.stackers:
            return self.name
        return "subset" if self.joined else None

    def choose(self, scorer: Scorer, parts: Sequence[int], subset: Found) -> Found:
        """The blend of first-level models that it chooses on some folds, given the best subset there."""
        if not self.target:
            return subset
        start = [subset.members] if self.from_subset else []
        found: Found = resolve(self.target)(scorer, parts, *start)
        return found


#: Every way by name.
WAYS = {
    way.name: way
    for way in (
        Way("single", "best single model", "the model with the highest lwlrap", "raytag.blends.greedy:best_single"),
        Way("subset", "best subset", "the best of all subsets"),
        Way(
            "greedy",
            "greedy, with replacement",
            "forward selection with replacement",
            "raytag.blends.greedy:greedy_selection",
        ),
        Way(
            "weighted",
            "weighted",
            "non-negative weights by coordinate search",
            "raytag.blends.weights:weight_search",
            from_subset=True,
        ),
        Way("linear", "linear stacker", "logistic or ridge regression on the best subset", stackers="linear"),
        Way("mlp", "MLP stackers", "networks on the best subset", stackers="mlp"),
        Way("subset+linear", "subset + linear stacker", "both, with equal weights", stackers="linear", joined=True),
        Way("subset+mlp", "subset + MLP stackers", "both, with equal weights", stackers="mlp", joined=True),
    )
}
