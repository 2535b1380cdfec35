"""What each way of choosing a blend of first-level models chooses, with each set of folds left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rich.console import Console

from raytag.blends.cost import make_shards, measure_speed, score_bound, split_sizes
from raytag.blends.exchange import swap_search
from raytag.blends.means.base import blend_scores
from raytag.blends.pairs import Pairs, reduce_pairs
from raytag.blends.scorer import Scorer
from raytag.blends.subsets import Board, Found, Objective
from raytag.blends.trees import count_subsets
from raytag.blends.warmup import warm_up
from raytag.cluster.resources import count_cpus
from raytag.cluster.tasks import Worker, run_tasks
from raytag.ensemble.choose.left_out import (
    LeftOut,
    best_by_goal,
    best_found,
    goals,
    kept_parts,
    left_out_sets,
)
from raytag.ensemble.choose.subset_tasks import search
from raytag.ensemble.choose.ways import WAYS
from raytag.ensemble.predictions.oof import EnsembleError, OofMatrix


@dataclass(frozen=True)
class Chosen:
    """What each way chooses without the labels of some folds.

    Attributes
    ----------
    ways : dict of str to Found
        By the names of those of `raytag.ensemble.choose.ways.WAYS` that need no stackers.
    by_size : dict of int to Found
        The best subset of each size; empty with two folds left out, where it is not asked for.
    """

    ways: dict[str, Found]
    by_size: dict[int, Found]


@dataclass(frozen=True)
class Choices:
    """All choices on an OOF matrix.

    Attributes
    ----------
    scorer : Scorer
    board : Board
        The best subsets on all folds, of those that were searched exactly.
    without : dict of LeftOut to Choice
    exact_sizes, other_sizes : tuple of int
        Sizes of which every subset was searched, and those where members were exchanged instead.
    n_subsets : int
        Subsets searched exactly.
    bound : float
        No non-negative weights reach a higher lwlrap on all folds.
    workers : list of Worker
    seconds, predicted_seconds : float
        Of the exact search.
    """

    scorer: Scorer
    board: Board
    without: dict[LeftOut, Chosen]
    exact_sizes: tuple[int, ...]
    other_sizes: tuple[int, ...]
    n_subsets: int
    bound: float
    workers: list[Worker]
    seconds: float
    predicted_seconds: float

    @property
    def on_all(self) -> Chosen:
        """What is chosen with nothing left out."""
        return self.without[()]

    @property
    def outer(self) -> list[LeftOut]:
        """The single folds that are left out."""
        return [left_out for left_out in self.without if len(left_out) == 1]


@dataclass(frozen=True)
class _Job:
    left_out: LeftOut
    parts: tuple[int, ...]
    exact: tuple[tuple[int | None, Found], ...]


def choose(
    oof: OofMatrix,
    sizes: Sequence[int],
    top: int,
    blend: str,
    budget: float,
    seed: int,
    console: Console,
    between_ways: bool = True,
) -> Choices:
    """Choose in every way, with every set of folds left out.

    Parameters
    ----------
    oof : OofMatrix
    sizes : sequence of int
        Numbers of members of a subset.
    top : int
        Best subsets to keep.
    blend : str
        One of `raytag.blends.means.BLENDS`.
    budget : float
        Seconds that the exact search may take on this cluster, as predicted.
    seed : int
        Of the starts of the search by exchange.
    console : rich.console.Console
        For progress.
    between_ways : bool
        Whether the ways will be chosen between, for which two folds are left out as well.
    """
    pairs = reduce_pairs(blend_scores(oof.probabilities, blend), oof.targets, oof.fold)
    if pairs.n_parts < oof.n_folds:
        raise EnsembleError(f"fold {oof.n_folds - 1} has no usable clip: it cannot be left out")
    scorer = Scorer(pairs)
    left_outs = left_out_sets(scorer.labels, between_ways)
    speed = measure_speed(pairs, sizes)
    slots = count_cpus()
    exact, other = split_sizes(pairs.n_models, sizes, speed, slots, budget)
    shards = make_shards(pairs.n_models, exact, speed, slots)
    predicted = speed.seconds(tree for shard in shards for tree in shard)
    boards, workers, seconds = [Board(Objective(kept_parts(pairs.n_parts, ()), top))], [], 0.0
    if exact:
        wanted = goals(pairs.n_parts, left_outs, top, exact)
        boards, outcome = search(pairs, exact, wanted, console=console, speed=speed, shards=shards)
        workers, seconds = outcome.workers, outcome.seconds
    found = best_by_goal(boards, pairs.n_parts, left_outs)
    jobs = [
        _Job(left_out, kept_parts(pairs.n_parts, left_out), tuple(found[left_out].items()))
        for left_out in left_outs
    ]
    chosen = run_tasks(
        _choose_one,
        (pairs, other, seed),
        jobs,
        prepare=warm_up,
        label="greedy and weighted blends",
        weights=[1.0] * len(jobs),
        console=console,
    )
    without = dict(zip(left_outs, chosen.results, strict=True))
    for size in other:  # listed among the best, though not every subset of their size was tried
        boards[0].offer(without[()].by_size[size])
    return Choices(
        scorer=scorer,
        board=boards[0],
        without=without,
        exact_sizes=exact,
        other_sizes=other,
        n_subsets=count_subsets(pairs.n_models, exact),
        bound=score_bound(scorer, range(pairs.n_parts)),
        workers=[*workers, *chosen.workers],
        seconds=seconds,
        predicted_seconds=predicted / slots,
    )


def _choose_one(shared: tuple[Pairs, tuple[int, ...], int], job: _Job) -> Chosen:
    pairs, other_sizes, seed = shared
    scorer = Scorer(pairs)
    options: dict[int | None, Found] = dict(job.exact)
    for size in other_sizes:
        options[size] = swap_search(scorer, job.parts, size, seed=seed)
    subset = best_found(options.values(), job.parts)
    return Chosen(
        ways={way.name: way.choose(scorer, job.parts, subset) for way in WAYS.values() if not way.stackers},
        by_size={size: f for size, f in options.items() if size is not None} if len(job.left_out) < 2 else {},
    )


def names_of(found: Found, experiments: Sequence[str]) -> dict[str, int]:
    """Members by name with their integer weights, heaviest first."""
    counts = np.bincount(np.array(found.members), minlength=len(experiments))
    order = sorted(np.flatnonzero(counts).tolist(), key=lambda m: (-counts[m], m))
    return {experiments[m]: int(counts[m]) for m in order}
