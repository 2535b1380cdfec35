"""Upper bounds on the scores of all subsets of a tree, about a million subsets a second and core.

`upper_bounds` visits every subset and gives for each a number that its sum of precisions cannot exceed and
nearly always equals: int16 margins find, exact arithmetic (`raytag.blends.scorer`) decides among the few
subsets whose bound reaches the best exact score. How it goes:

1. **Reduction by size.** Within a tree every subset has the same size, so a pair is already settled when the
   smallest sum that so many models can give is positive, or the largest is not. For 7 of 20 models this halves the
   disputed pairs once more. It is exact.
2. **int16 with directed rounding.** The margins of a pair are scaled so that no partial sum leaves int16 (signs do
   not change under a positive factor) and rounded. The starting value absorbs the largest rounding error that a
   subset can collect, always in favour of the ensemble: a class that is no label counts as above only if it
   certainly is, a label unless it certainly is not. Precision grows with the former and falls with the
   latter, so the result is an upper bound. Precisions are added up in float32 within a block and in float64 across
   blocks, and the sum is raised by ``ROUNDING``, more than the relative error of the twenty float32 roundings on
   the way (one division, at most nine additions, five more across lanes; u = 2^-24 each).
3. **Lanes.** 32 labels with about as many disputed pairs each lie side by side; row r holds the r-th pair of each.
   A block of lanes small enough for the first-level cache stays there while all subsets pass.
4. **Depth first.** Subsets share their prefix's sums, so an inner node costs one subtraction a pair. A leaf costs
   one comparison and stores nothing: the last member's margin is compared with what the others leave, and two
   leaves share each load. Trees of more than half of the models are searched by what they leave out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit, types
from numpy.typing import NDArray

from raytag.blends.kernel_layout import LANES, Layout, arrange
from raytag.blends.pairs import Pairs
from raytag.blends.trees import Tree
from raytag.compiled.vectors import as_float32, count_at_most, store, sum_lanes, vector

#: Relative amount by which sums of precisions are raised: 20 u < 1.2e-6.
ROUNDING = 1.2e-6

_load_int16, _splat_int16 = vector(types.int16, LANES)
_load_float32, _splat_float32 = vector(types.float32, LANES)


def upper_bounds(pairs: Pairs, tree: Tree) -> tuple[NDArray[np.float64], bool]:
    """Upper bounds on sums of precisions.

    Parameters
    ----------
    pairs : Pairs
    tree : Tree
        At least one model must be left to choose, or to leave out.

    Returns
    -------
    bounds : np.ndarray [shape=(pairs.n_parts, tree.size)], float64
        In the order of the tree. Divided by the number of labels of a part: a bound on its lwlrap, seldom
        more than 1e-4 above it.
    all_equal : bool
        No pair is disputed within this tree, so all of its subsets have the same score.
    """
    layout = arrange(pairs, tree)
    bounds = np.zeros((pairs.n_parts, tree.size))
    walk_blocks(layout, range(len(layout.part)), bounds)
    bounds *= 1.0 + ROUNDING
    bounds += layout.settled[:, None] * (1.0 + ROUNDING)
    # complements in lexicographic order are the subsets in reverse order
    return (bounds[:, ::-1] if layout.excluding else bounds), len(layout.limits) == 0


def walk_blocks(layout: Layout, blocks: Sequence[int], bounds: NDArray[np.float64]) -> None:
    """Add what some blocks of labels contribute to ``bounds``, (n_parts, number of subsets walked over)."""
    _walk_blocks(
        layout.n_models,
        layout.choose,
        layout.steps,
        layout.limits,
        layout.hits,
        layout.rank,
        layout.row,
        layout.label_rows,
        layout.block,
        layout.part,
        np.array(blocks, np.int64),
        bounds,
    )


@njit(cache=True, nogil=True)
def _walk_blocks(  # type: ignore[no-untyped-def]
    n, choose, steps, limits, hits, rank, row, label_rows, block, part, blocks, bounds
):
    most = 0
    for b in range(part.shape[0]):
        most = max(most, row[block[b + 1]] - row[block[b]])
    buffer = np.empty((choose * most + 1) * LANES, np.int16)
    first = (-buffer.ctypes.data % 64) // 2
    stack = buffer[first:]
    for b in blocks:
        _walk(n, choose, steps, limits, hits, rank, row, label_rows, block[b], block[b + 1], stack, bounds[part[b]])


@njit(cache=True, nogil=True)
def _walk(  # type: ignore[no-untyped-def]
    n, choose, steps, limits, hits, rank, row, label_rows, first, last, stack, bounds
):
    """Add the precisions of one block of groups to the bounds of all subsets of ``choose`` of ``n`` models.

    ``stack[depth]`` holds, for each pair, minus the sum of the members chosen so far: a further member's margin
    at or below it puts the class above the label.
    """
    top = row[first]
    size = (row[last] - top) * LANES
    model = top * n * LANES  # steps of model 0; of model m: m * size further
    members = np.empty(choose, np.int64)
    for i in range(0, size, LANES):
        store(stack, i, _load_int16(limits, top * LANES + i))
    depth = subset = following = 0
    while depth >= 0:
        if depth == choose - 1:
            m = following
            while m + 1 < n:
                one, two = _two_leaves(
                    steps, model + m * size, size, stack, depth * size, hits, rank, row, label_rows, first, last
                )
                bounds[subset] += one
                bounds[subset + 1] += two
                subset += 2
                m += 2
            if m < n:
                bounds[subset] += _one_leaf(
                    steps, model + m * size, stack, depth * size, hits, rank, row, label_rows, first, last
                )
                subset += 1
        elif n - following >= choose - depth:
            above, here, step = depth * size, (depth + 1) * size, model + following * size
            for i in range(0, size, LANES):
                store(stack, here + i, _load_int16(stack, above + i) - _load_int16(steps, step + i))
            members[depth] = following
            depth += 1
            following += 1
            continue
        depth -= 1
        if depth >= 0:
            following = members[depth] + 1


@njit(cache=True, nogil=True)
def _one_leaf(  # type: ignore[no-untyped-def]
    steps, step, stack, above, hits, rank, row, label_rows, first, last
):
    total = _splat_float32(0)
    top = row[first]
    for g in range(first, last):
        begin = (row[g] - top) * LANES
        middle = begin + label_rows[g] * LANES
        end = (row[g + 1] - top) * LANES
        more_hits, misses = _splat_int16(0), _splat_int16(0)
        for i in range(begin, middle, LANES):
            more_hits = count_at_most(more_hits, _load_int16(steps, step + i), _load_int16(stack, above + i))
        for i in range(middle, end, LANES):
            misses = count_at_most(misses, _load_int16(steps, step + i), _load_int16(stack, above + i))
        total = _add_precisions(
            total, _load_float32(hits, g * LANES), _load_float32(rank, g * LANES), more_hits, misses
        )
    return sum_lanes(total)


@njit(cache=True, nogil=True)
def _two_leaves(  # type: ignore[no-untyped-def]
    steps, step, size, stack, above, hits, rank, row, label_rows, first, last
):
    """As `_one_leaf` for two models next to each other."""
    total_a, total_b = _splat_float32(0), _splat_float32(0)
    top = row[first]
    for g in range(first, last):
        begin = (row[g] - top) * LANES
        middle = begin + label_rows[g] * LANES
        end = (row[g + 1] - top) * LANES
        hits_a, hits_b, misses_a, misses_b = _splat_int16(0), _splat_int16(0), _splat_int16(0), _splat_int16(0)
        for i in range(begin, middle, LANES):
            limit = _load_int16(stack, above + i)
            hits_a = count_at_most(hits_a, _load_int16(steps, step + i), limit)
            hits_b = count_at_most(hits_b, _load_int16(steps, step + size + i), limit)
        for i in range(middle, end, LANES):
            limit = _load_int16(stack, above + i)
            misses_a = count_at_most(misses_a, _load_int16(steps, step + i), limit)
            misses_b = count_at_most(misses_b, _load_int16(steps, step + size + i), limit)
        sure, ranks = _load_float32(hits, g * LANES), _load_float32(rank, g * LANES)
        total_a = _add_precisions(total_a, sure, ranks, hits_a, misses_a)
        total_b = _add_precisions(total_b, sure, ranks, hits_b, misses_b)
    return sum_lanes(total_a), sum_lanes(total_b)


@njit(cache=True, nogil=True, inline="always")
def _add_precisions(total, hits, rank, more_hits, more_misses):  # type: ignore[no-untyped-def]
    """``total + (hits + more_hits) / (rank + more_hits + more_misses)``; counts are int16, the rest float32."""
    return total + (hits + as_float32(more_hits)) / (rank + as_float32(more_hits + more_misses))
