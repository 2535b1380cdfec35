"""The simple ways beside every search: the best single model, the best few, and greedy forward selection."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from raytag.blends.pairs import MOST_MEMBERS
from raytag.blends.scorer import Scorer
from raytag.blends.subsets import Found

#: Members that greedy selection draws at most; a model may be drawn again, which raises its weight.
BAG = 40
#: Models that `best_few` blends at most.
FEW = 7


def best_single(scorer: Scorer, parts: Sequence[int]) -> Found:
    """The model with the highest lwlrap over some parts; of equals the one with the lowest number."""
    return best_addition(scorer, parts, (), range(scorer.pairs.n_models))


def best_few(scorer: Scorer, parts: Sequence[int]) -> Found:
    """The models with the highest lwlrap over some parts, with equal weights: two to ``FEW`` of them.

    How many is all that is chosen by the blend's score; of equal scores the fewest. Members ascending.
    """
    sums = [scorer.sums((m,)) for m in range(scorer.pairs.n_models)]
    ranked = sorted(range(len(sums)), key=lambda m: (-scorer.total(sums[m], parts), m))
    most = min(FEW, len(ranked))
    options = [tuple(sorted(ranked[:n])) for n in range(min(2, most), most + 1)]
    found = [Found(members, tuple(scorer.sums(members))) for members in options]
    return min(found, key=lambda one: (-scorer.total(one.sums, parts), len(one.members)))


def best_addition(scorer: Scorer, parts: Sequence[int], members: tuple[int, ...], options: Sequence[int]) -> Found:
    """An ensemble with the model that helps most; of equals the one that comes first among the options."""
    base = scorer.margin_sum(members)
    scores = scorer.additions(base[None], parts)[0][list(options)]
    best: Found | None = None
    for k in scorer.leaders(scores).tolist():
        found = Found((*members, options[k]), tuple(scorer.sums_of(base + scorer.pairs.margins[options[k]])))
        if best is None or scorer.total(found.sums, parts) > scorer.total(best.sums, parts):
            best = found
    assert best is not None
    return best


def greedy_selection(scorer: Scorer, parts: Sequence[int], bag: int = BAG) -> Found:
    """Forward selection with replacement: add the model that helps most, ``bag`` times; keep the best moment.

    The disputed pairs are exact for it too: a model drawn w times has weight w, and a positive weight changes
    no sign.

    Parameters
    ----------
    scorer : Scorer
    parts : sequence of int
        Parts (folds) that the selection may see.
    bag : int
        Number of draws, 1..1000.

    Returns
    -------
    Found
        Members in the order in which they were drawn, repeats included; of equal scores the fewest.

    References
    ----------
    Caruana, Niculescu-Mizil, Crew, Ksikes: Ensemble selection from libraries of models. ICML 2004.
    """
    if not 1 <= bag <= MOST_MEMBERS:
        raise ValueError(f"bag must lie in 1..{MOST_MEMBERS}, not {bag}")
    chosen = best = best_single(scorer, parts)
    for _ in range(1, bag):
        chosen = best_addition(scorer, parts, chosen.members, range(scorer.pairs.n_models))
        if scorer.total(chosen.sums, parts) > scorer.total(best.sums, parts):
            best = chosen
    return best


def greedy_subset(scorer: Scorer, parts: Sequence[int], size: int) -> Found:
    """Forward selection without replacement: ``size`` distinct models; members ascending."""
    members: tuple[int, ...] = ()
    for _ in range(size):
        left = np.setdiff1d(np.arange(scorer.pairs.n_models), members).tolist()
        members = best_addition(scorer, parts, members, left).members
    members = tuple(sorted(members))
    return Found(members, tuple(scorer.sums(members)))
