"""What a subset search costs, predicted, how it is cut into shards of about equal cost, and what can be promised
where it costs too much."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from raytag.blends.kernel import walk_blocks
from raytag.blends.kernel_layout import arrange, settled_pairs
from raytag.blends.pairs import ALWAYS, NEVER, Pairs
from raytag.blends.scorer import Scorer
from raytag.blends.subsets import TREE_LIMIT
from raytag.blends.trees import Tree, check_sizes, count_subsets, plan_trees, tree_at

SHARD_SECONDS = 3.0  # predicted; a lost worker costs no more, and Ray's own cost per shard is a millisecond
SHARDS_PER_SLOT = 4  # so that no slot waits long for another's last shard

#: Sizes that are timed at most, spread evenly over those asked for; the others lie in between.
TIMED_SIZES = 5
#: Trees of each, and seconds of walking that a tree is timed for.
TIMED_TREES, TIMED_SECONDS = 2, 0.06
#: Subsets of a tree that are scored exactly, about: a hundred or more to fill a board, few afterwards.
EXACT = 60
#: Seconds a subset and part for adding up and comparing bounds, beside the walk.
DECIDE = 6e-9


@dataclass(frozen=True)
class Speed:
    """What a search costs on one core.

    Attributes
    ----------
    per_tree : float
        Seconds to arrange a tree's pairs, and to score its best subsets exactly.
    per_subset : float
        Seconds to bound a subset's score.
    by_size : mapping of int to (float, float)
        Both again for the sizes that were timed; other sizes lie in between. Empty: every size costs the same.
    """

    per_tree: float
    per_subset: float
    by_size: Mapping[int, tuple[float, float]] = field(default_factory=dict)

    def of_size(self, size: int) -> tuple[float, float]:
        """Seconds a tree and seconds a subset for subsets of some size."""
        if not self.by_size:
            return self.per_tree, self.per_subset
        if size in self.by_size:
            return self.by_size[size]
        known = sorted(self.by_size)
        per_tree, per_subset = (np.interp(size, known, [self.by_size[s][i] for s in known]) for i in (0, 1))
        return float(per_tree), float(per_subset)

    def seconds(self, trees: Iterable[Tree]) -> float:
        """Predicted time for some trees on one core of its own."""
        total = 0.0
        for tree in trees:
            per_tree, per_subset = self.of_size(len(tree.prefix) + tree.choose)
            total += per_tree + per_subset * tree.size
        return total


def measure_speed(pairs: Pairs, sizes: Iterable[int]) -> Speed:
    """Time parts of the very search: a second or two for the sizes that matter, much less for few pairs.

    A tree's pairs are arranged as they will be, and all of its subsets walked over for some of the blocks of
    labels, spread evenly; a block is small enough for the cache whichever it is, so the others cost as much a row.
    Time is this thread's own: what else the machine does now does not count.

    Parameters
    ----------
    pairs : Pairs
    sizes : iterable of int
    """
    chosen = check_sizes(sizes, pairs.n_models)
    commonest = max(chosen, key=lambda s: count_subsets(pairs.n_models, [s]))
    spread = np.linspace(0, len(chosen) - 1, TIMED_SIZES).round().astype(int).tolist()
    scorer = Scorer(pairs)
    _time_tree(scorer, Tree((), 0, 1, pairs.n_models))  # compiles, or loads what was compiled
    by_size: dict[int, tuple[float, float]] = {}
    for size in sorted({commonest, *(chosen[i] for i in spread)}):
        n = count_subsets(pairs.n_models, [size])
        places = [n * (2 * i + 1) // (2 * TIMED_TREES) for i in range(TIMED_TREES)]
        trees = dict.fromkeys(tree_at(pairs.n_models, size, place, TREE_LIMIT) for place in places)
        per_tree, per_subset = np.mean([_time_tree(scorer, tree) for tree in trees], axis=0).tolist()
        by_size[size] = max(1e-5, per_tree), max(1e-8, per_subset) + DECIDE * pairs.n_parts
    return Speed(*by_size[commonest], by_size)


def _time_tree(scorer: Scorer, tree: Tree) -> tuple[float, float]:
    """Seconds to arrange a tree's pairs and score its best, and seconds a subset to walk over them."""
    started = time.thread_time()
    scorer.sums(tree.members(0))
    once = (time.thread_time() - started) * min(EXACT, tree.size)
    if tree.size == 1:
        return once, 0.0
    started = time.thread_time()
    layout = arrange(scorer.pairs, tree)
    bounds = np.zeros((scorer.pairs.n_parts, tree.size))
    bounds.fill(0.0)  # the system hands out memory when it is touched: not in the first block's time
    once += time.thread_time() - started
    rows = np.diff(layout.row[layout.block])
    walked = spent = 0.0
    for b in _spread(len(rows)):
        started = time.thread_time()
        walk_blocks(layout, [b], bounds)
        spent += time.thread_time() - started
        walked += float(rows[b])
        if spent > TIMED_SECONDS:
            break
    return once, spent / max(walked, 1.0) * float(rows.sum()) / tree.size


def _spread(n: int) -> list[int]:
    """0..n-1 in an order of which every beginning is spread evenly (multiples of the golden section)."""
    places = np.arange(n) * 0.6180339887498949 % 1.0
    return np.argsort(np.argsort(places, kind="stable"), kind="stable").tolist()


def make_shards(n_models: int, sizes: Sequence[int], speed: Speed, slots: int) -> list[list[Tree]]:
    """Cut the search into shards of about equal predicted time, trees in lexicographic order.

    A long search is cut into shards of a few seconds, a short one into one or a few a slot. No sizes: no shards.
    """
    if not sizes:
        return []
    total = sum(count_subsets(n_models, [size]) * speed.of_size(size)[1] for size in sizes)
    per_slot = SHARDS_PER_SLOT if total > slots * SHARD_SECONDS / SHARDS_PER_SLOT else 1
    target = min(SHARD_SECONDS, total / (slots * per_slot))
    trees = [
        tree
        for size in sorted(sizes)
        for tree in plan_trees(n_models, [size], max(1, min(TREE_LIMIT, int(target / speed.of_size(size)[1]))))
    ]
    target = max(target, speed.seconds(trees) / (slots * per_slot)) if per_slot == 1 else target
    shards: list[list[Tree]] = [[]]
    spent = 0.0
    for tree in trees:
        cost = speed.seconds([tree])
        # a tree goes where most of it fits
        if shards[-1] and spent + cost / 2 > target:
            shards.append([])
            spent = 0.0
        shards[-1].append(tree)
        spent += cost
    return shards


def split_sizes(
    n_models: int, sizes: Iterable[int], speed: Speed, slots: int, budget: float
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The sizes of which every subset can be visited in the time granted, and the others.

    Parameters
    ----------
    n_models : int
    sizes : iterable of int
    speed : Speed
    slots : int
        Cores that work at a time.
    budget : float
        Seconds.

    Returns
    -------
    exact : tuple of int
        The cheapest sizes whose predicted time together fits, ascending.
    other : tuple of int
        The rest, ascending: for `raytag.blends.exchange.swap_search`.

    Raises
    ------
    ValueError
        No size, one outside 1..n_models, a negative budget, or no slot.
    """
    chosen = check_sizes(sizes, n_models)
    if not budget >= 0 or slots < 1:
        raise ValueError(f"budget must be at least 0 s and slots at least 1, not {budget} and {slots}")
    left = budget * slots
    exact: list[int] = []
    for cost, size in sorted((_size_seconds(n_models, size, speed, left), size) for size in chosen):
        if cost > left:
            break
        left -= cost
        exact.append(size)
    return tuple(sorted(exact)), tuple(size for size in chosen if size not in exact)


def _size_seconds(n_models: int, size: int, speed: Speed, enough: float) -> float:
    """Seconds of one core for all subsets of a size; trees are only counted when they could take no more than
    ``enough``."""
    subsets = count_subsets(n_models, [size]) * speed.of_size(size)[1]
    return subsets if subsets > enough else speed.seconds(plan_trees(n_models, [size], TREE_LIMIT))


def score_bound(scorer: Scorer, parts: Iterable[int], size: int | None = None) -> float:
    """An lwlrap that no blend of these models exceeds, whatever its non-negative weights.

    Each label by itself: all disputed labels of its clip above it, all disputed other classes below. No blend need
    do that for all labels at once, so the bound is loose, but it is certain.

    Parameters
    ----------
    scorer : Scorer
    parts : iterable of int
    size : int, optional
        Only blends of so many distinct models with equal weights: more pairs are settled, and the bound is lower.

    Returns
    -------
    float
        Correctly rounded; NaN where the parts have no label.
    """
    pairs = scorer.pairs
    best_case = np.where(pairs.other_is_label, -1.0, 1.0)
    if size is not None:
        check_sizes(size, pairs.n_models)
        kind = settled_pairs(pairs, size)
        best_case[kind == ALWAYS] = -1.0
        best_case[kind == NEVER] = 1.0
    return scorer.lwlrap(scorer.sums_of(best_case), parts)
