"""Exact scores of single ensembles.

Each label of an ensemble has a precision hits/rank with small whole numbers, so a sum of precisions is a whole
number of 1/scale, scale being the least common multiple of all possible ranks. Such sums are kept as Python
integers: two ensembles have equal scores exactly when they are equal, not when rounding makes them so.

Searches that go from one ensemble to a better one look at thousands of neighbours. Those are scored in fixed point,
as sums of precisions rounded to multiples of ``1/FIXED`` = 2^-40; only the ones that might be the best of all are
scored exactly (`Scorer.leaders`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np
from numba import njit
from numpy.typing import NDArray

from raytag.blends.pairs import Pairs

_LIMB_BITS = 30
#: Units of a precision of 1 in fixed point.
FIXED = 1 << 40


class Scorer:
    """Scores ensembles on reduced pairs.

    Parameters
    ----------
    pairs : Pairs

    Attributes
    ----------
    labels : list of int
        Labels in each part.
    scale : int
        Precisions are whole multiples of 1/scale.
    """

    def __init__(self, pairs: Pairs) -> None:
        self.pairs = pairs
        disputed = np.diff(pairs.offsets)
        owner = np.repeat(np.arange(len(disputed)), disputed)
        more_hits = np.bincount(owner[pairs.other_is_label], minlength=len(disputed))
        self._shape = (int((pairs.hits + more_hits).max()) + 1, int((pairs.rank + disputed).max()) + 1)
        self.labels: list[int] = pairs.labels_per_part.tolist()
        self.scale = math.lcm(*range(1, self._shape[1]))
        self._n_limbs = self.scale.bit_length() // _LIMB_BITS + 1
        # precisions times scale, cut into integers of 30 bits so that numpy can add them up
        self._weights = np.zeros((*self._shape, self._n_limbs), np.int64)
        for rank in range(1, self._shape[1]):
            for hits in range(1, min(rank + 1, self._shape[0])):
                value = self.scale // rank * hits
                for limb in range(self._n_limbs):
                    self._weights[hits, rank, limb] = value >> (limb * _LIMB_BITS) & ((1 << _LIMB_BITS) - 1)

    def margin_sum(self, members: Iterable[int]) -> NDArray[np.float64]:
        """Summed margins of an ensemble, (n_pairs,); a member named twice counts twice."""
        total = np.zeros(self.pairs.margins.shape[1])
        for member in members:
            total += self.pairs.margins[member]
        return total

    def sums(self, members: Iterable[int]) -> list[int]:
        """Sum of precisions in each part, in units of 1/scale."""
        return self.sums_of(self.margin_sum(members))

    def sums_of(self, margin_sum: NDArray[np.float64]) -> list[int]:
        """As `sums`, for summed margins."""
        pairs = self.pairs
        counts = np.zeros((pairs.n_parts, *self._shape), np.int64)
        _count_precisions(
            margin_sum, pairs.other_is_label, pairs.offsets, pairs.hits, pairs.rank, pairs.part, counts
        )
        limbs = np.einsum("phr,hrl->pl", counts, self._weights).tolist()
        return [sum(limb << (i * _LIMB_BITS) for i, limb in enumerate(row)) for row in limbs]

    def total(self, sums: Sequence[int], parts: Iterable[int]) -> int:
        """Sum over some parts, in units of 1/scale: what ensembles are compared by."""
        return sum(sums[k] for k in parts)

    def lwlrap(self, sums: Sequence[int], parts: Iterable[int] | None = None) -> float:
        """Correctly rounded lwlrap over some parts (by default all); NaN where they have no label."""
        chosen = range(len(self.labels)) if parts is None else list(parts)
        labels = sum(self.labels[k] for k in chosen)
        return self.total(sums, chosen) / (self.scale * labels) if labels else math.nan

    @cached_property
    def by_pair(self) -> NDArray[np.float64]:
        """Margins with models innermost, (n_pairs, n_models): a copy for passes over many models at once."""
        return np.ascontiguousarray(self.pairs.margins.T)

    @cached_property
    def fixed(self) -> NDArray[np.int64]:
        """Precision hits/rank in units of 1/FIXED, rounded, at ``[hits, rank]``; 0 at rank 0."""
        hits = np.arange(self._shape[0], dtype=np.float64)[:, None]
        rank = np.arange(self._shape[1], dtype=np.float64)[None, :]
        # float64 is exact to 2^-53 of a precision, so half a unit more or less is all that rounding does
        return np.rint(np.divide(hits, rank, out=np.zeros(self._shape), where=rank > 0) * FIXED).astype(np.int64)

    def labels_of(self, parts: Iterable[int]) -> NDArray[np.bool_]:
        """Which labels lie in some parts, (n_labels,)."""
        return np.isin(self.pairs.part, list(parts))

    def additions(self, bases: NDArray[np.float64], parts: Iterable[int]) -> NDArray[np.int64]:
        """Scores of ensembles with each model added to each of them, in one pass over the pairs.

        Parameters
        ----------
        bases : np.ndarray [shape=(n_bases, n_pairs)]
            Summed margins.
        parts : iterable of int

        Returns
        -------
        np.ndarray [shape=(n_bases, n_models)], int64
            Sums of precisions over the parts in fixed point: off by at most one unit of 1/FIXED a label.
        """
        pairs = self.pairs
        scores = np.zeros((len(bases), pairs.n_models), np.int64)
        _score_additions(
            np.ascontiguousarray(bases.T),
            self.by_pair,
            pairs.other_is_label,
            pairs.offsets,
            pairs.hits,
            pairs.rank,
            self.labels_of(parts),
            self.fixed,
            scores,
        )
        return scores

    def leaders(self, scores: NDArray[np.int64]) -> NDArray[np.int64]:
        """Positions in an array of fixed-point scores (flattened) that may hold the highest exact score."""
        flat = scores.reshape(-1)
        return np.flatnonzero(flat >= flat.max() - 2 * len(self.pairs.hits))


@njit(cache=True, nogil=True)
def _count_precisions(margin_sum, other_is_label, offsets, hits, rank, part, counts):  # type: ignore[no-untyped-def]
    """``counts[part, hits, rank] += 1`` for each label."""
    for i in range(hits.shape[0]):
        more_hits = 0
        more = 0
        for j in range(offsets[i], offsets[i + 1]):
            above = margin_sum[j] <= 0.0
            more += above
            more_hits += above & other_is_label[j]
        counts[part[i], hits[i] + more_hits, rank[i] + more] += 1


@njit(cache=True, nogil=True)
def _score_additions(bases, by_pair, other_is_label, offsets, hits, rank, wanted, fixed, scores):  # type: ignore[no-untyped-def]
    """``scores[b, m]``: sum of precisions when model m is added to base b."""
    n_bases, n_models = scores.shape
    above = np.empty((n_bases, n_models), np.int32)
    above_labels = np.empty((n_bases, n_models), np.int32)
    for i in range(hits.shape[0]):
        if not wanted[i]:
            continue
        above[:] = 0
        above_labels[:] = 0
        for j in range(offsets[i], offsets[i + 1]):
            margins = by_pair[j]
            # two loops without a branch inside, so that models are compared several at a time
            if other_is_label[j]:
                for b in range(n_bases):
                    limit = -bases[j, b]
                    for m in range(n_models):
                        above_labels[b, m] += margins[m] <= limit
            else:
                for b in range(n_bases):
                    limit = -bases[j, b]
                    for m in range(n_models):
                        above[b, m] += margins[m] <= limit
        for b in range(n_bases):
            for m in range(n_models):
                more = above_labels[b, m]
                scores[b, m] += fixed[hits[i] + more, rank[i] + more + above[b, m]]
