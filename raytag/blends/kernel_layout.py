"""The disputed pairs of a tree of subsets, reduced, rounded to int16 and laid out in lanes for the kernel.

See `raytag.blends.kernel` for what the layout is for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from raytag.blends.pairs import ALWAYS, DISPUTED, GRID, NEVER, Pairs
from raytag.blends.trees import Tree

#: Labels side by side, a vector of the kernel.
LANES = 32
#: Largest partial sum in int16 units; the rest of the range is for collected rounding errors.
RANGE = 30000.0
#: Bytes of one block's margins and partial sums, to stay near the first-level cache, and its most groups.
BLOCK_BYTES = 1 << 16
BLOCK_GROUPS = 8


@dataclass(frozen=True)
class Layout:
    """Disputed pairs of a tree in lanes.

    A group is 32 labels. Its first ``label_rows`` rows hold pairs with other labels, the rest pairs with
    classes that are none. Unused places hold margin 0 and limit -1: never above.
    """

    steps: NDArray[np.int16]  # block, model, row of the block, lane
    limits: NDArray[np.int16]  # row, lane: minus the starting sum
    hits: NDArray[np.float32]  # group, lane; 0 in unused lanes
    rank: NDArray[np.float32]  # group, lane; 1 in unused lanes
    row: NDArray[np.int64]  # first row of each group, and the number of rows
    label_rows: NDArray[np.int64]  # per group
    block: NDArray[np.int64]  # first group of each block, and the number of groups
    part: NDArray[np.int64]  # per block
    settled: NDArray[np.float64]  # per part: summed precisions of labels without disputed pairs
    n_models: int  # models to choose from
    choose: int  # members chosen, or left out
    excluding: bool  # whether the models walked over are those left out


def arrange(pairs: Pairs, tree: Tree) -> Layout:
    """Reduce and lay out the pairs of a tree that has more than one subset."""
    rest = np.arange(tree.start, tree.n_models)
    choose, sign = tree.choose, 1.0
    base = np.zeros(pairs.margins.shape[1])
    for member in tree.prefix:
        base += pairs.margins[member]
    if 2 * choose > len(rest):  # leave out the fewer
        choose, sign = len(rest) - choose, -1.0
        for member in range(tree.start, tree.n_models):
            base += pairs.margins[member]
    if choose == 0:
        raise ValueError(f"{tree} has a single subset: score it exactly")
    n_labels = len(pairs.hits)
    kind = np.empty(len(base), np.uint8)
    _settle(pairs.margins, base, rest, sign, choose, kind)
    counts = np.zeros((4, n_labels), np.int32)
    _count_kinds(kind, pairs.other_is_label, pairs.offsets, counts)
    hits, rank = pairs.hits + counts[0], pairs.rank + counts[0] + counts[1]
    with_labels, others = counts[2], counts[3]
    active = with_labels + others > 0
    settled = np.zeros(pairs.n_parts)
    np.add.at(settled, pairs.part[~active], (hits / rank)[~active])

    # labels with about as many pairs side by side; groups do not cross parts
    lane_of = np.full(n_labels, -1, np.int64)
    rows: list[int] = []
    label_rows: list[int] = []
    group_part: list[int] = []
    for part in range(pairs.n_parts):
        mine = np.flatnonzero(active & (pairs.part == part))
        mine = mine[np.lexsort((-others[mine], -with_labels[mine]))]
        for first in range(0, len(mine), LANES):
            members = mine[first : first + LANES]
            lane_of[members] = len(rows) * LANES + np.arange(len(members))
            label_rows.append(int(with_labels[members].max()))
            rows.append(label_rows[-1] + int(others[members].max()))
            group_part.append(part)
    row = np.concatenate(([0], np.cumsum(rows))).astype(np.int64)
    block, part_of_block = _blocks(rows, group_part, len(rest) + choose)

    group_hits = np.zeros(len(rows) * LANES, np.float32)
    group_rank = np.ones(len(rows) * LANES, np.float32)
    group_hits[lane_of[active]] = hits[active]
    group_rank[lane_of[active]] = rank[active]
    steps = _aligned(int(row[-1]) * len(rest) * LANES)
    limits = _aligned(int(row[-1]) * LANES)
    limits[:] = -1
    first_row_of_block = row[block[:-1]]
    block_of_group = np.repeat(np.arange(len(part_of_block)), np.diff(block))
    _fill(
        pairs.margins,
        base,
        rest,
        sign,
        choose,
        kind,
        pairs.other_is_label,
        pairs.offsets,
        lane_of,
        row,
        np.array(label_rows, np.int64),
        first_row_of_block,
        np.diff(row[block]),
        block_of_group,
        steps,
        limits,
    )
    return Layout(
        steps=steps,
        limits=limits,
        hits=group_hits,
        rank=group_rank,
        row=row,
        label_rows=np.array(label_rows, np.int64),
        block=block,
        part=part_of_block,
        settled=settled,
        n_models=len(rest),
        choose=choose,
        excluding=sign < 0,
    )


def settled_pairs(pairs: Pairs, size: int) -> NDArray[np.uint8]:
    """For each pair whether no, every or some ensemble of ``size`` distinct models ranks the class above:
    ``NEVER``, ``ALWAYS`` or ``DISPUTED``, (n_pairs,)."""
    kind = np.empty(pairs.margins.shape[1], np.uint8)
    _settle(pairs.margins, np.zeros(len(kind)), np.arange(pairs.n_models), 1.0, size, kind)
    return kind


def _blocks(rows: list[int], group_part: list[int], vectors: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First group of each block, and each block's part: as many groups as fit the first-level cache."""
    most_rows = max(1, BLOCK_BYTES // (2 * LANES * vectors))
    block, parts, held = [0], [], 0
    for g, n in enumerate(rows):
        new_part = g > 0 and group_part[g] != group_part[g - 1]
        full = held + n > most_rows or g - block[-1] == BLOCK_GROUPS
        if g > block[-1] and (new_part or full):
            block.append(g)
            held = 0
        if g == block[-1]:
            parts.append(group_part[g])
        held += n
    if rows:
        block.append(len(rows))
    return np.array(block, np.int64), np.array(parts, np.int64)


def _aligned(size: int) -> NDArray[np.int16]:
    """Zeros that start on a cache line, so that no vector lies across two."""
    buffer = np.zeros(size + 32, np.int16)
    first = (-buffer.ctypes.data % 64) // 2
    return buffer[first : first + size]


@njit(cache=True, nogil=True)
def _insert(values, n, value):  # type: ignore[no-untyped-def]
    """Insert into the ``n`` largest values, which stand in descending order."""
    if value <= values[n - 1]:
        return
    i = n - 1
    while i > 0 and values[i - 1] < value:
        values[i] = values[i - 1]
        i -= 1
    values[i] = value


@njit(cache=True, nogil=True)
def _settle(margins, base, rest, sign, choose, kind):  # type: ignore[no-untyped-def]
    """Which pairs no subset of ``choose`` models can change."""
    largest, smallest = np.empty(choose), np.empty(choose)
    for j in range(base.shape[0]):
        largest[:] = -np.inf
        smallest[:] = -np.inf
        for m in rest:
            step = sign * margins[m, j]
            _insert(largest, choose, step)
            _insert(smallest, choose, -step)
        if base[j] - smallest.sum() > 0.0:
            kind[j] = NEVER
        elif base[j] + largest.sum() <= 0.0:
            kind[j] = ALWAYS
        else:
            kind[j] = DISPUTED


@njit(cache=True, nogil=True)
def _count_kinds(kind, other_is_label, offsets, counts):  # type: ignore[no-untyped-def]
    """Per label: pairs always above (labels, other classes) and disputed ones (labels, other classes)."""
    for i in range(counts.shape[1]):
        for j in range(offsets[i], offsets[i + 1]):
            if kind[j] == ALWAYS:
                counts[0 if other_is_label[j] else 1, i] += 1
            elif kind[j] == DISPUTED:
                counts[2 if other_is_label[j] else 3, i] += 1


@njit(cache=True, nogil=True)
def _fill(  # type: ignore[no-untyped-def]
    margins,
    base,
    rest,
    sign,
    choose,
    kind,
    other_is_label,
    offsets,
    lane_of,
    row,
    label_rows,
    first_row_of_block,
    rows_of_block,
    block_of_group,
    steps,
    limits,
):
    """Write each disputed pair's int16 margins and limit into its place."""
    n = rest.shape[0]
    exact = np.empty(n)
    extreme, errors = np.empty(choose), np.empty(choose)
    for i in range(lane_of.shape[0]):
        if lane_of[i] < 0:
            continue
        group, lane = lane_of[i] // LANES, lane_of[i] % LANES
        b = block_of_group[group]
        at_label, at_other = row[group], row[group] + label_rows[group]
        for j in range(offsets[i], offsets[i + 1]):
            if kind[j] != DISPUTED:
                continue
            for k in range(n):
                exact[k] = sign * margins[rest[k], j]
            _clip_decisive(exact, base[j], choose, extreme)
            # no partial sum exceeds this
            reach = abs(base[j])
            for direction in (1.0, -1.0):
                extreme[:] = 0.0
                for k in range(n):
                    _insert(extreme, choose, direction * exact[k])
                    reach = max(reach, abs(exact[k]))
                reach = max(reach, abs(base[j] + direction * extreme.sum()))
            scale = RANGE / reach
            # in favour of the ensemble: sums too large for other classes, too small for labels
            favour = -1.0 if other_is_label[j] else 1.0
            if other_is_label[j]:
                r = at_label
                at_label += 1
            else:
                r = at_other
                at_other += 1
            first = first_row_of_block[b] * n * LANES + (r - first_row_of_block[b]) * LANES + lane
            errors[:] = 0.0
            for k in range(n):
                scaled = exact[k] * scale
                rounded = np.rint(scaled)
                _insert(errors, choose, favour * (scaled - rounded))
                steps[first + k * rows_of_block[b] * LANES] = np.int16(rounded)
            # 1e-6: float64 errors of the scaling
            start = favour * np.ceil(favour * base[j] * scale + errors.sum() + 1e-6)
            limits[r * LANES + lane] = np.int16(-start)


@njit(cache=True, nogil=True)
def _clip_decisive(steps, base, choose, extreme):  # type: ignore[no-untyped-def]
    """Shrink margins that settle the pair whatever the other members say: the sign stays, the scale gains.

    A step above ``-base - (the most that choose - 1 others can take away)`` makes every sum positive, one that
    much above it no less; likewise below. Clipping stops at zero, so that the other bounds stay valid.
    """
    for direction in (1.0, -1.0):
        extreme[:] = 0.0
        against = 0.0
        if choose > 1:
            for k in range(steps.shape[0]):
                _insert(extreme, choose - 1, -direction * steps[k])
            against = extreme[: choose - 1].sum()
        # sums of zero count as not positive: the positive side must stay above, the other may touch
        cap = max(against - direction * base, 0.0) + (GRID if direction > 0 else 0.0)
        for k in range(steps.shape[0]):
            if direction * steps[k] > cap:
                steps[k] = direction * cap
