"""The ways of choosing an ensemble, and the rules for which of them to keep; of equals the first is kept.

A further way to blend first-level models is one file in `raytag.blends` and one row here. Its function is given
(scorer, parts), and what it returns is scored exactly, in-sample and nested, like all others::

    Way("mine", "my blend", "what it chooses", "raytag.blends.mine:choose")
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from raytag.parts import resolve

if TYPE_CHECKING:
    from raytag.blends.scorer import Scorer
    from raytag.blends.subsets import Found
    from raytag.ensemble.assess.bootstrap import Bootstrap
    from raytag.ensemble.assess.rules import Candidate


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


@dataclass(frozen=True)
class Rule:
    """One rule for which way to keep.

    Attributes
    ----------
    name : str
        As ``--way`` calls it.
    about : str
        For ``--help``.
    target : str
        ``module:function``, see `raytag.ensemble.assess.rules`.
    """

    name: str
    about: str
    target: str

    def keep(self, found: Mapping[str, Candidate], bootstrap: Bootstrap) -> str:
        """Of ways by name the one to keep."""
        kept: str = resolve(self.target)(found, bootstrap)
        return kept


#: Every rule by name.
RULES = {
    rule.name: rule
    for rule in (
        Rule(
            "auto",
            "the simplest within one standard error of the highest nested score",
            "raytag.ensemble.assess.rules:simplest",
        ),
        Rule("best", "the highest nested score", "raytag.ensemble.assess.rules:highest"),
    )
}

#: Every way by name.
WAYS = {
    way.name: way
    for way in (
        Way("single", "best single model", "the model with the highest lwlrap", "raytag.blends.greedy:best_single"),
        Way("few", "best few", "equal weights over the best few models", "raytag.blends.greedy:best_few"),
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
