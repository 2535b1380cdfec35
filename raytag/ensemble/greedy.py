"""The two baselines beside every ensemble: the best single model, and greedy forward selection."""

from __future__ import annotations

from collections.abc import Sequence

from raytag.ensemble.scoring import Scorer
from raytag.ensemble.subsets import Found

#: Members that greedy selection draws at most; a model may be drawn again, which raises its weight.
BAG = 20


def best_single(scorer: Scorer, parts: Sequence[int]) -> Found:
    """The model with the highest lwlrap over some parts; of equals the one with the lowest number."""
    singles = [Found((m,), tuple(scorer.sums([m]))) for m in range(scorer.pairs.n_models)]
    return max(singles, key=lambda found: scorer.total(found.sums, parts))


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
        Number of draws.

    Returns
    -------
    Found
        Members in the order in which they were drawn, repeats included; of equal scores the fewest.

    References
    ----------
    Caruana, Niculescu-Mizil, Crew, Ksikes: Ensemble selection from libraries of models. ICML 2004.
    """
    if bag < 1:
        raise ValueError(f"bag must be at least 1, not {bag}")
    margin_sum = scorer.margin_sum([])
    members: tuple[int, ...] = ()
    best: Found | None = None
    for _ in range(bag):
        options = [
            Found((*members, m), tuple(scorer.sums_of(margin_sum + scorer.pairs.margins[m])))
            for m in range(scorer.pairs.n_models)
        ]
        chosen = max(options, key=lambda found: scorer.total(found.sums, parts))
        members = chosen.members
        margin_sum += scorer.pairs.margins[members[-1]]
        if best is None or scorer.total(chosen.sums, parts) > scorer.total(best.sums, parts):
            best = chosen
    assert best is not None
    return best
