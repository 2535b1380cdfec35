"""Good subsets where there are too many to visit: exchange members until no single exchange helps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from raytag.blends.greedy import greedy_subset
from raytag.blends.scorer import Scorer
from raytag.blends.subsets import Found
from raytag.blends.trees import check_sizes
from raytag.seeding import generator


def swap_search(scorer: Scorer, parts: Sequence[int], size: int, starts: int = 8, seed: int = 0) -> Found:
    """A subset that no exchange of one member for one other model improves.

    From each start the best exchange is made until none helps (steepest ascent), and the best of the ends is
    returned. Neighbours are compared by exact integers, so an end is a local optimum and not a place where rounding
    stopped; it need not be the best subset of all.

    Parameters
    ----------
    scorer : Scorer
    parts : sequence of int
        Parts (folds) that the search may see.
    size : int
        Number of members, 1..n_models.
    starts : int
        The first is greedy forward selection without replacement, the others are drawn.
    seed : int
        Of the draws.

    Returns
    -------
    Found
        Distinct members, ascending. Of equal scores the lowest members, in each step and at the end.

    Raises
    ------
    ValueError
        ``size`` outside 1..n_models, ``starts`` below 1.

    References
    ----------
    Teitz, Bart: Heuristic methods for estimating the generalized vertex median of a weighted graph. Operations
    Research 16, 1968 (exchange of one chosen for one other point).
    """
    n_models = scorer.pairs.n_models
    check_sizes(size, n_models)
    if starts < 1:
        raise ValueError(f"starts must be at least 1, not {starts}")
    rng = generator(seed, size)
    visited: set[tuple[int, ...]] = set()
    best: Found | None = None
    for start in range(starts):
        drawn = tuple(np.sort(rng.choice(n_models, size, replace=False)).tolist())
        found: Found | None = greedy_subset(scorer, parts, size) if start == 0 else _scored(scorer, drawn)
        while found is not None and found.members not in visited:  # else its way on is known
            visited.add(found.members)
            if best is None or _key(scorer, found, parts) < _key(scorer, best, parts):
                best = found
            found = best_exchange(scorer, parts, found)
    assert best is not None
    return best


def best_exchange(scorer: Scorer, parts: Sequence[int], found: Found) -> Found | None:
    """The best subset at one exchange's distance if it is better, else None; of equals the lowest members."""
    others = [m for m in range(scorer.pairs.n_models) if m not in found.members]
    if not others:
        return None
    total = scorer.margin_sum(found.members)
    bases = total - scorer.pairs.margins[list(found.members)]
    scores = scorer.additions(bases, parts)[:, others]
    options: list[Found] = []
    for k in scorer.leaders(scores).tolist():
        out, new = divmod(k, len(others))
        members = tuple(sorted((*found.members[:out], *found.members[out + 1 :], others[new])))
        options.append(Found(members, tuple(scorer.sums_of(bases[out] + scorer.pairs.margins[others[new]]))))
    best = min(options, key=lambda option: _key(scorer, option, parts))
    return best if scorer.total(best.sums, parts) > scorer.total(found.sums, parts) else None


def _scored(scorer: Scorer, members: tuple[int, ...]) -> Found:
    return Found(members, tuple(scorer.sums(members)))


def _key(scorer: Scorer, found: Found, parts: Sequence[int]) -> tuple[int, tuple[int, ...]]:
    return -scorer.total(found.sums, parts), found.members
