"""Sets of subsets that are searched as one piece."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Tree:
    """All subsets that hold ``prefix`` and ``choose`` of the models ``start``..``n_models - 1``.

    They are numbered in lexicographic order.
    """

    prefix: tuple[int, ...]
    start: int
    choose: int
    n_models: int

    @property
    def size(self) -> int:
        """Number of subsets."""
        return math.comb(self.n_models - self.start, self.choose)

    def split(self) -> tuple[Tree, Tree]:
        """The subsets with model ``start``, and those without."""
        following = self.start + 1
        return (
            Tree((*self.prefix, self.start), following, self.choose - 1, self.n_models),
            Tree(self.prefix, following, self.choose, self.n_models),
        )

    def members(self, index: int) -> tuple[int, ...]:
        """The subset of that number."""
        members, choose = list(self.prefix), self.choose
        for model in range(self.start, self.n_models):
            if choose == 0:
                break
            with_model = math.comb(self.n_models - model - 1, choose - 1)
            if index < with_model:
                members.append(model)
                choose -= 1
            else:
                index -= with_model
        return tuple(members)


def check_sizes(sizes: int | Iterable[int], n_models: int) -> tuple[int, ...]:
    """Sizes of subsets, ascending and without repeats.

    Raises
    ------
    ValueError
        No size, or one outside 1..n_models.
    """
    chosen = tuple(sorted({int(s) for s in ([sizes] if isinstance(sizes, int) else sizes)}))
    if not chosen:
        raise ValueError("give at least one subset size")
    if chosen[0] < 1 or chosen[-1] > n_models:
        wrong = chosen[0] if chosen[0] < 1 else chosen[-1]
        raise ValueError(f"cannot choose {wrong} of {n_models} models: sizes go from 1 to {n_models}")
    return chosen


def count_subsets(n_models: int, sizes: Iterable[int]) -> int:
    return sum(math.comb(n_models, size) for size in sizes)


def tree_at(n_models: int, size: int, index: int, limit: int) -> Tree:
    """The tree of `plan_trees` that holds subset number ``index`` of a size; the others are not listed."""
    tree = Tree((), 0, size, n_models)
    while tree.size > limit:
        with_first, without = tree.split()
        if index < with_first.size:
            tree = with_first
        else:
            index -= with_first.size
            tree = without
    return tree


def plan_trees(n_models: int, sizes: Iterable[int], limit: int) -> list[Tree]:
    """Trees of at most ``limit`` subsets that together hold every subset of the given sizes once.

    Small subsets come first, then those with low members.
    """
    trees: list[Tree] = []
    pending = [Tree((), 0, size, n_models) for size in sorted(sizes, reverse=True)]
    while pending:
        tree = pending.pop()
        if tree.size <= limit:
            trees.append(tree)
        else:
            with_first, without = tree.split()
            pending += [without, with_first]
    return trees
