"""Exact search over all subsets of models.

Every subset of the given sizes is visited; `raytag.blends.kernel` bounds its score from above, and those whose
bound reaches the best exact scores so far are scored exactly (`raytag.blends.scorer`), highest bound first.
What is returned is the true best list, in a fixed order, however the work was cut.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from raytag.blends.kernel import upper_bounds
from raytag.blends.means import check_blend
from raytag.blends.means.base import blend_scores
from raytag.blends.pairs import Pairs, check_log_probabilities, reduce_pairs
from raytag.blends.scorer import Scorer
from raytag.blends.trees import Tree, check_sizes, plan_trees

#: Subsets of a tree: memory is 8 bytes a subset and part, and each tree is arranged anew.
TREE_LIMIT = 1 << 20


@dataclass(frozen=True)
class Objective:
    """Which parts (folds) a subset is chosen on, how many of the best are kept, and of which size (None: any)."""

    parts: tuple[int, ...]
    keep: int
    size: int | None = None

    def accepts(self, size: int) -> bool:
        """Whether subsets of that size are asked for."""
        return self.size is None or self.size == size


@dataclass(frozen=True)
class Found:
    """A subset with its exact sums of precisions per part, in units of 1/scale (`Scorer.sums`)."""

    members: tuple[int, ...]
    sums: tuple[int, ...]


@dataclass
class Board:
    """The best subsets for one objective, best first: higher score, then fewer members, then lower numbers."""

    objective: Objective
    _keys: list[tuple[int, int, tuple[int, ...]]] = field(default_factory=list)
    _found: list[Found] = field(default_factory=list)

    def __iter__(self) -> Iterator[Found]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    @property
    def full(self) -> bool:
        return len(self._keys) >= self.objective.keep

    @property
    def last_total(self) -> int:
        """Summed precisions of the last place over the objective's parts."""
        return -self._keys[-1][0]

    def offer(self, found: Found) -> None:
        key = (-sum(found.sums[k] for k in self.objective.parts), len(found.members), found.members)
        if self.full and key >= self._keys[-1]:
            return
        place = bisect.bisect(self._keys, key)
        if place and self._keys[place - 1] == key:  # it is there already
            return
        self._keys.insert(place, key)
        self._found.insert(place, found)
        del self._keys[self.objective.keep :], self._found[self.objective.keep :]


def search_subsets(
    log_probs: ArrayLike,
    targets: ArrayLike,
    sizes: int | Iterable[int],
    top: int = 100,
    blend: str = "geometric",
) -> pd.DataFrame:
    """The best subsets of models, blended with equal weights and scored by lwlrap.

    Exact: the list is what trying out every subset gives. One process; `raytag.ensemble.choose.subset_tasks`
    spreads the same search over a cluster.

    Parameters
    ----------
    log_probs : np.ndarray [shape=(n_models, n_clips, n_classes)]
        Natural logarithms of out-of-fold probabilities. They are clipped to [log 1.2e-38, 0], so -inf is allowed,
        and rounded to multiples of 2^-36 (see `raytag.blends.pairs`).
    targets : np.ndarray [shape=(n_clips, n_classes)], 0/1
    sizes : int or iterable of int
        Numbers of members, 1..n_models: ``7`` or ``range(1, 8)``.
    top : int
        How many of the best to return.
    blend : str
        ``"geometric"`` mean, ``"arithmetic"`` mean or mean ``"rank"`` within the clip. Each is a sum over
        members, so the reduction to disputed pairs holds, and is exact, for each. A pair is disputed when models
        order its two classes differently; all three blends keep each model's order, so they have the same
        disputed pairs but for ties, and cost the same. The latter two take one exponential a prediction more;
        pass them logarithms in float64, since those in float32 do not give the probabilities back.

    Returns
    -------
    pd.DataFrame
        ``members`` (tuple of model numbers, ascending) and ``score`` (lwlrap, correctly rounded), best first;
        equal scores are ordered by fewer members, then by lower numbers. At most ``top`` rows.

    Raises
    ------
    ValueError
        Wrong shapes, NaN, log-probabilities above 0, targets other than 0 and 1, no label, a size outside
        1..n_models, ``top`` below 1, an unknown blend.

    Examples
    --------
    >>> import numpy as np
    >>> p = np.array([[[0.6, 0.4]], [[0.2, 0.8]]])  # two models, one clip, two classes
    >>> search_subsets(np.log(p), [[1, 0]], sizes=[1, 2], top=1)
      members  score
    0    (0,)    1.0
    """
    if top < 1:
        raise ValueError(f"top must be at least 1, not {top}")
    scores = check_log_probabilities(log_probs)
    if check_blend(blend) != "geometric":
        # the logarithms' own rounding is a thousandth of float32's, so this gives predictions in float32 back
        scores = blend_scores(np.exp(scores, out=scores).astype(np.float32), blend)
    pairs = reduce_pairs(scores, targets)
    chosen = check_sizes(sizes, pairs.n_models)
    (board,) = search_trees(pairs, plan_trees(pairs.n_models, chosen, TREE_LIMIT), [Objective((0,), top)])
    scorer = Scorer(pairs)
    return pd.DataFrame({"members": [f.members for f in board], "score": [scorer.lwlrap(f.sums) for f in board]})


def search_trees(pairs: Pairs, trees: Sequence[Tree], objectives: Sequence[Objective]) -> list[Board]:
    """The best subsets of some trees for each objective.

    One walk serves all objectives: precisions are summed per part, and an objective adds up its parts.
    """
    scorer = Scorer(pairs)
    boards = [Board(objective) for objective in objectives]
    for tree in trees:
        search_tree(scorer, tree, boards)
    return boards


def search_tree(scorer: Scorer, tree: Tree, boards: Sequence[Board]) -> None:
    """Enter the subsets of a tree that deserve it into the boards that ask for their size."""
    boards = [board for board in boards if board.objective.accepts(len(tree.prefix) + tree.choose)]
    if not boards:
        return
    exact: dict[int, Found] = {}

    def found(index: int) -> Found:
        if index not in exact:
            members = tree.members(index)
            exact[index] = Found(members, tuple(scorer.sums(members)))
        return exact[index]

    if tree.size == 1:
        for board in boards:
            board.offer(found(0))
        return
    bounds, all_equal = upper_bounds(scorer.pairs, tree)
    if all_equal:  # the first of them come first
        bounds = bounds[:, : max(board.objective.keep for board in boards)]
    for parts in dict.fromkeys(board.objective.parts for board in boards):
        bound = _sum_parts(bounds, parts)
        for board in boards:
            if board.objective.parts == parts:
                _enter(board, bound, found, scorer.scale)


def _sum_parts(bounds: NDArray[np.float64], parts: Sequence[int]) -> NDArray[np.float64]:
    total = np.zeros(bounds.shape[1])
    for part in parts:
        total += bounds[part]
    return total


def _enter(board: Board, bound: NDArray[np.float64], found: Callable[[int], Found], scale: int) -> None:
    """Offer a board every subset whose bound reaches its last place, highest bounds first."""
    keep = board.objective.keep
    if not board.full and len(bound) > keep:
        # fill the board first: sorting a million bounds to find a few takes longer than finding them
        for index in np.argpartition(-bound, keep - 1)[:keep].tolist():
            board.offer(found(index))
    enough = board.last_total / scale if board.full else -np.inf
    candidates = np.flatnonzero(bound >= enough)
    candidates = candidates[np.argsort(-bound[candidates], kind="stable")]
    for index in candidates.tolist():
        if board.full and bound[index] < board.last_total / scale:
            break
        board.offer(found(index))


def merge(boards: Iterable[Sequence[Board]]) -> list[Board]:
    """One board for each objective out of those that shards of the search returned."""
    merged: list[Board] = []
    for shard in boards:
        if not merged:
            merged = [Board(board.objective) for board in shard]
        for into, board in zip(merged, shard, strict=True):
            for found in board:
                into.offer(found)
    return merged
