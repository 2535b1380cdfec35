"""Exact scores of single ensembles.

Each label of an ensemble has a precision hits/rank with small whole numbers, so a sum of precisions is a whole
number of 1/scale, scale being the least common multiple of all possible ranks. Such sums are kept as Python
integers: two ensembles have equal scores exactly when they are equal, not when rounding makes them so.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numba import njit
from numpy.typing import NDArray

from raytag.ensemble.pairs import Pairs

_LIMB_BITS = 30


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
