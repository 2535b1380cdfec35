"""What a subset search costs, predicted, and how it is cut into shards of about equal cost."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from raytag.ensemble.kernel import upper_bounds
from raytag.ensemble.pairs import Pairs
from raytag.ensemble.subsets import TREE_LIMIT
from raytag.ensemble.trees import Tree, count_subsets, plan

SHARD_SECONDS = 3.0  # predicted; a lost worker costs no more, and Ray's own cost per shard is a millisecond
SHARDS_PER_SLOT = 4  # so that no slot waits long for another's last shard


@dataclass(frozen=True)
class Speed:
    """What a search costs on one core."""

    per_tree: float  # s
    per_subset: float  # s

    def seconds(self, trees: Sequence[Tree]) -> float:
        return sum(self.per_tree + self.per_subset * tree.size for tree in trees)


def measure_speed(pairs: Pairs, sizes: Sequence[int]) -> Speed:
    """Time two small trees of the commonest size: a second or less, after compilation."""
    size = max(sizes, key=lambda s: count_subsets(pairs.n_models, [s]))
    small, large = (max(plan(pairs.n_models, [size], limit), key=lambda t: t.size) for limit in (1 << 11, 1 << 13))
    seconds = []
    for tree in (small, small, large):  # the first may compile
        started = time.perf_counter()
        if tree.size > 1:
            upper_bounds(pairs, tree)
        seconds.append(time.perf_counter() - started)
    per_subset = max(2e-7, (seconds[2] - seconds[1]) / max(1, large.size - small.size))
    return Speed(per_tree=max(1e-4, seconds[1] - per_subset * small.size), per_subset=per_subset)


def make_shards(n_models: int, sizes: Sequence[int], speed: Speed, slots: int) -> list[list[Tree]]:
    """Cut the search into shards of about equal predicted time, trees in lexicographic order.

    A long search is cut into shards of a few seconds, a short one into one or a few a slot.
    """
    total = count_subsets(n_models, sizes) * speed.per_subset
    per_slot = SHARDS_PER_SLOT if total > slots * SHARD_SECONDS / SHARDS_PER_SLOT else 1
    target = min(SHARD_SECONDS, total / (slots * per_slot))
    trees = plan(n_models, sizes, max(1, min(TREE_LIMIT, int(target / speed.per_subset))))
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
