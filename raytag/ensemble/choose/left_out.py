"""What a choice is worth on clips that it has not seen.

The best of many ensembles is partly lucky: its in-sample score is too high. The nested score repeats the whole
choice once per fold on the other folds and scores it on the fold left out; pooled over the folds it is an honest
estimate for *this way of choosing from this pool*. In-sample minus nested is the subset optimism.

Which of several ways of choosing to trust is a choice as well. It is repeated inside with two folds left out: for
fold k, each way is scored on every other fold j by what it chooses without j and k; the best of them then
predicts fold k.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from raytag.blends.subsets import Board, Found, Objective

#: Folds whose labels a choice must not see: none, one, or two.
LeftOut = tuple[int, ...]

NOT_COVERED = (
    "the nested score is conditional on the pool of experiments; which experiments exist, were completed and which "
    "epochs they kept was itself decided on these folds, by racing and by early stopping"
)


def left_out_sets(labels: Sequence[int], pairs: bool = True) -> list[LeftOut]:
    """What has to be chosen without: nothing, each fold, and each two folds.

    Parameters
    ----------
    labels : sequence of int
        Number of labels in each fold. Folds without labels cannot score anything and are not left out.
    pairs : bool
        Whether two folds are left out as well, which only a choice between several ways needs.

    Returns
    -------
    list of tuple of int
        ``()`` first; single folds only where two have labels, two folds only where three have.
    """
    used = [k for k, n in enumerate(labels) if n]
    found: list[LeftOut] = [()]
    if len(used) > 1:
        found += [(k,) for k in used]
    if pairs and len(used) > 2:
        found += [(j, k) for i, j in enumerate(used) for k in used[i + 1 :]]
    return found


def kept_parts(n_parts: int, left_out: LeftOut) -> tuple[int, ...]:
    """The folds that a choice may see."""
    return tuple(k for k in range(n_parts) if k not in left_out)


def goals(n_parts: int, left_outs: Iterable[LeftOut], keep: int, sizes: Iterable[int]) -> list[Objective]:
    """All folds together (the ``keep`` best), and the best of each size with nothing or one fold left out; the
    best of any size with two left out."""
    found = [Objective(tuple(range(n_parts)), keep)]
    for left_out in left_outs:
        parts = kept_parts(n_parts, left_out)
        if len(left_out) < 2:
            found += [Objective(parts, 1, size) for size in sizes]
        else:
            found.append(Objective(parts, 1))
    return found


def best_by_goal(
    boards: Iterable[Board], n_parts: int, left_outs: Iterable[LeftOut]
) -> dict[LeftOut, dict[int | None, Found]]:
    """The best subset of each size (None: any size) with each set of folds left out, where boards hold it."""
    by_parts: dict[tuple[int, ...], dict[int | None, Found]] = {}
    for board in boards:
        if len(board):
            by_parts.setdefault(board.objective.parts, {})[board.objective.size] = next(iter(board))
    return {left_out: by_parts.get(kept_parts(n_parts, left_out), {}) for left_out in left_outs}


def best_found(options: Iterable[Found], parts: Sequence[int]) -> Found:
    """The best of several blends on some folds: higher score, then fewer members, then lower numbers."""
    return min(options, key=lambda f: (-sum(f.sums[k] for k in parts), len(f.members), f.members))


def frequency(chosen: Sequence[Found]) -> dict[int, float]:
    """Share of the outer folds in which a model was chosen; models never chosen are left out."""
    counts = Counter(member for found in chosen for member in set(found.members))
    return {m: n / len(chosen) for m, n in sorted(counts.items())}


def epoch_optimism(curves: Sequence[pd.DataFrame], labels: Sequence[int]) -> float:
    """How much choosing each fold's best epoch on that very fold adds to an experiment's score.

    Score with each fold's own best epoch minus score with the epoch that the other folds' curves choose (the
    one with the highest label-weighted mean), averaged over folds weighted by their number of labels. A curve
    that ended early keeps its last value.

    Parameters
    ----------
    curves : sequence of pd.DataFrame
        ``curve.csv`` of each fold: columns epoch and lwlrap.
    labels : sequence of int
        Number of labels in each fold.

    Returns
    -------
    float
        At least 0; NaN with fewer than two folds that have labels.
    """
    used = [k for k, n in enumerate(labels) if n and len(curves[k])]
    if len(used) < 2:
        return math.nan
    epochs = max(len(curves[k]) for k in used)
    values = np.empty((len(used), epochs))
    for row, k in enumerate(used):
        curve = curves[k]["lwlrap"].to_numpy(dtype=np.float64)
        values[row, : len(curve)] = curve
        values[row, len(curve) :] = curve[-1]
    weights = np.array([labels[k] for k in used], dtype=np.float64)
    weighted = values * weights[:, None]
    chosen = np.empty(len(used))
    for row in range(len(used)):
        # added up afresh: a difference of sums would break ties by rounding
        chosen[row] = values[row, np.delete(weighted, row, axis=0).sum(axis=0).argmax()]
    return float(((values.max(axis=1) - chosen) * weights).sum() / weights.sum())


def frequency_by_name(frequency: Mapping[int, float], names: Sequence[str]) -> dict[str, float]:
    """Member frequency by experiment, most frequent first."""
    ordered = sorted(frequency.items(), key=lambda item: (-item[1], item[0]))
    return {names[m]: round(share, 4) for m, share in ordered}
