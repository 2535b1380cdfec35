"""Non-negative weights by coordinate search with exact line search.

Along one model's weight the score is a step function: a disputed pair changes sides at one weight and only there,
once for all, since its margin either grows or falls with the weight. One pass over the pairs finds where; the
steps, added up, give the score at every integer weight at once. So each line search is exact, and the search over
coordinates needs no step length, no gradient and no restarts of a simplex.

Weights are whole numbers with a total of at most a thousand, so that summed margins stay exact
(`raytag.blends.pairs`), and an ensemble is a multiset of models like any other.

References
----------
Och: Minimum error rate training in statistical machine translation. ACL 2003 (exact line search for a score that
is piecewise constant in each weight).
Caruana, Niculescu-Mizil, Crew, Ksikes: Ensemble selection from libraries of models. ICML 2004 (integer weights by
repeats; the greedy bag is the first start here).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numba import njit
from numpy.typing import NDArray

from raytag.blends.greedy import greedy_selection
from raytag.blends.pairs import MOST_MEMBERS
from raytag.blends.scorer import Scorer
from raytag.blends.subsets import Found

#: Total to which the weights of a start are raised, for steps finer than a member of it.
START_TOTAL = 300
#: Cyclic sweeps over all models at most; a handful is enough in practice.
SWEEPS = 50


def weight_search(
    scorer: Scorer, parts: Sequence[int], start: Sequence[int] | None = None, sweeps: int = SWEEPS
) -> Found:
    """Non-negative integer weights that no change of a single one improves.

    Starts from the greedy bag, from ``start`` and from equal weights, and returns the best end. Moves are accepted
    when the exact score rises, so the end is never worse on these parts than any start.

    Parameters
    ----------
    scorer : Scorer
    parts : sequence of int
        Parts (folds) that the search may see.
    start : sequence of int, optional
        Members of a good ensemble, repeats included, at most a thousand.
    sweeps : int
        Sweeps over all models from each start at most.

    Returns
    -------
    Found
        Members ascending, each as often as its weight says, divided by the weights' common divisor. Of equal scores
        the smallest total weight, then the lowest members.

    Raises
    ------
    ValueError
        ``start`` is empty, too long or names a model that there is not.
    """
    n_models = scorer.pairs.n_models
    starts: list[Iterable[int]] = [greedy_selection(scorer, parts).members]
    if start is not None:
        if not 1 <= len(start) <= MOST_MEMBERS or min(start) < 0 or max(start) >= n_models:
            raise ValueError(f"start must name 1 to {MOST_MEMBERS} of the models 0..{n_models - 1}, not {start}")
        starts.append(start)
    if n_models <= MOST_MEMBERS:
        starts.append(range(n_models))
    ends = [_climb(scorer, parts, members, sweeps) for members in starts]
    return min(ends, key=lambda found: (-scorer.total(found.sums, parts), len(found.members), found.members))


def _climb(scorer: Scorer, parts: Sequence[int], members: Iterable[int], sweeps: int) -> Found:
    """Sweep over the models until none of their weights can be improved."""
    weights = _reduced(np.bincount(list(members), minlength=scorer.pairs.n_models))
    weights *= max(1, START_TOTAL // int(weights.sum()))
    total = weights @ scorer.pairs.margins
    best = scorer.total(scorer.sums_of(total), parts)
    wanted = scorer.labels_of(parts)
    since = 0  # models looked at since the last move
    for model in list(range(scorer.pairs.n_models)) * sweeps:
        others = int(weights.sum() - weights[model])
        if others:  # else all of its weights are alike, but 0, which is no ensemble
            rest = total - weights[model] * scorer.pairs.margins[model]
            weight, score = _best_weight(scorer, rest, model, MOST_MEMBERS - others, parts, wanted)
            if score > best:
                weights[model], best, since = weight, score, -1
                total = rest + weight * scorer.pairs.margins[model]
        since += 1
        if since == scorer.pairs.n_models:
            break
    members = np.repeat(np.arange(len(weights)), _reduced(weights)).tolist()
    return Found(tuple(members), tuple(scorer.sums_of(total)))


def _reduced(weights: NDArray[np.int64]) -> NDArray[np.int64]:
    return weights // math.gcd(*weights.tolist())


def line_scores(
    scorer: Scorer, rest: NDArray[np.float64], model: int, most: int, wanted: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Score at each weight of one model.

    Parameters
    ----------
    scorer : Scorer
    rest : np.ndarray [shape=(n_pairs,)], float64
        Summed margins of the other models, with their weights.
    model : int
    most : int
        Largest weight; with the others' weights at most a thousand.
    wanted : np.ndarray [shape=(n_labels,)], bool
        Labels that count (`Scorer.labels_of`).

    Returns
    -------
    scores : np.ndarray [shape=(most + 1,)], int64
        Sums of precisions at weights 0..most in fixed point (`raytag.blends.scorer`).
    turned : np.ndarray [shape=(most + 1,)], bool
        Whether any pair changes sides from the weight before; true at 0.
    """
    pairs = scorer.pairs
    changes = np.zeros(most + 1, np.int64)
    turned = np.zeros(most + 1, np.bool_)
    turned[0] = True
    longest = int(np.diff(pairs.offsets).max(initial=0))
    _add_changes(
        rest,
        pairs.margins[model],
        pairs.other_is_label,
        pairs.offsets,
        pairs.hits,
        pairs.rank,
        wanted,
        scorer.fixed,
        np.empty(longest, np.int64),
        changes,
        turned,
    )
    return np.cumsum(changes), turned


def _best_weight(
    scorer: Scorer,
    rest: NDArray[np.float64],
    model: int,
    most: int,
    parts: Sequence[int],
    wanted: NDArray[np.bool_],
) -> tuple[int, int]:
    """The best weight of a model, of equals the smallest, and its exact score."""
    scores, turned = line_scores(scorer, rest, model, most, wanted)
    best, best_score = -1, -1
    for weight in scorer.leaders(scores).tolist():
        if not turned[weight]:  # the same ensemble as at the weight before
            continue
        score = scorer.total(scorer.sums_of(rest + weight * scorer.pairs.margins[model]), parts)
        if score > best_score:
            best, best_score = weight, score
    return best, best_score


@njit(cache=True, nogil=True)
def _add_changes(  # type: ignore[no-untyped-def]
    rest, step, other_is_label, offsets, hits, rank, wanted, fixed, events, changes, turned
):
    """``changes[0]``: score at weight 0; ``changes[w]``: what it gains from weight w - 1 to w."""
    most = changes.shape[0] - 1
    for i in range(hits.shape[0]):
        if not wanted[i]:
            continue
        h, r, n = hits[i], rank[i], 0
        for j in range(offsets[i], offsets[i + 1]):
            above = rest[j] <= 0.0
            if above:
                r += 1
                h += other_is_label[j]
            weight = _turn(rest[j], step[j], most)
            if weight <= most:
                # sorts by weight; the last two bits say what happens there
                events[n] = weight * 4 + 2 * above + other_is_label[j]
                n += 1
        before = fixed[h, r]
        changes[0] += before
        if n == 0:
            continue
        _sort(events, n)
        for k in range(n):
            change = -1 if events[k] & 2 else 1
            r += change
            if events[k] & 1:
                h += change
            weight = events[k] >> 2
            if k + 1 == n or events[k + 1] >> 2 != weight:
                turned[weight] = True
                changes[weight] += fixed[h, r] - before
                before = fixed[h, r]


@njit(cache=True, nogil=True)
def _sort(values, n):  # type: ignore[no-untyped-def]
    """Sort the first ``n`` values, mostly a few dozen: Shell's method (1959) with Knuth's gaps (1973)."""
    gap = 1
    while gap < n // 3:
        gap = 3 * gap + 1
    while gap > 0:
        for i in range(gap, n):
            value = values[i]
            j = i
            while j >= gap and values[j - gap] > value:
                values[j] = values[j - gap]
                j -= gap
            values[j] = value
        gap //= 3


@njit(cache=True, nogil=True)
def _turn(rest, step, most):  # type: ignore[no-untyped-def]
    """The smallest weight at which ``rest + weight * step <= 0`` differs from weight 0; most + 1 if none does.

    The quotient is only near; margins are exact, so the sums decide.
    """
    if step == 0.0 or (rest > 0.0) == (step > 0.0):
        return most + 1
    quotient = -rest / step
    if quotient > most + 1.0:
        return most + 1
    weight = max(1, int(quotient))
    if rest > 0.0:
        while weight > 1 and rest + (weight - 1) * step <= 0.0:
            weight -= 1
        while rest + weight * step > 0.0:
            weight += 1
    else:
        while weight > 1 and rest + (weight - 1) * step > 0.0:
            weight -= 1
        while rest + weight * step <= 0.0:
            weight += 1
    return weight
