"""From an OOF matrix to an ensemble with its honest score.

Everything that is chosen (subset, greedy bag, single model, stackers) is chosen once on all folds, to be used, and
once per fold on the other folds, to be scored on the fold left out. The second half never looks at the left-out
fold's labels before it is scored.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from raytag.ensemble import distributed
from raytag.ensemble.blend import geometric_mean
from raytag.ensemble.distributed import Worker
from raytag.ensemble.greedy import best_single, greedy_selection
from raytag.ensemble.nested import Nested, evaluate, objectives
from raytag.ensemble.oof import EnsembleError, OofMatrix
from raytag.ensemble.pairs import log_probabilities, reduce_pairs
from raytag.ensemble.scoring import Scorer
from raytag.ensemble.stackers import StackerConfig, StackerFold, draw_configs, select, train_stacker
from raytag.ensemble.subsets import Board, Found
from raytag.metrics import lwlrap

#: Stackers in a blend, as in argus-freesound's winning one.
BLENDED_STACKERS = 3


@dataclass(frozen=True)
class SubsetResult:
    """The subset search and its two baselines, each in-sample and nested."""

    scorer: Scorer
    board: Board  # the best subsets on all folds
    final: Found
    subset: Nested
    single: Nested
    single_member: int
    greedy: Nested
    greedy_members: tuple[int, ...]
    workers: list[Worker]
    seconds: float

    @property
    def left_out(self) -> tuple[tuple[int, ...], ...]:
        """Members chosen without each fold."""
        return self.subset.chosen


@dataclass(frozen=True)
class StackerResult:
    """The stackers and what blending them in is worth.

    Attributes
    ----------
    configs : list of StackerConfig
    inner : np.ndarray [shape=(n_stackers, n_folds)]
        Inner lwlrap of the stackers that read the final members: the final ones are selected by its mean.
    oof : np.ndarray [shape=(n_stackers, n_clips, n_classes)], float32
        Of the stackers that read the final members.
    test : np.ndarray [shape=(n_stackers, n_test, n_classes)], float32, or None
        Geometric mean over folds.
    selected : list of int
        Final stackers, best first.
    selected_without : list of list of int
        Stackers selected without each fold.
    nested_oof : np.ndarray [shape=(n_clips, n_classes)], float64
        For the clips of each fold, the blend that was chosen and trained without that fold.
    blend : Nested
        Subset and stackers together; ``chosen`` is empty.
    """

    configs: list[StackerConfig]
    inner: NDArray[np.float64]
    oof: NDArray[np.float32]
    test: NDArray[np.float32] | None
    selected: list[int]
    selected_without: list[list[int]]
    nested_oof: NDArray[np.float64]
    blend: Nested
    workers: list[Worker]
    seconds: float


def choose_subset(oof: OofMatrix, sizes: Sequence[int], top: int, console: Console) -> SubsetResult:
    """Search all subsets, in-sample and nested, and both baselines.

    Parameters
    ----------
    oof : OofMatrix
    sizes : sequence of int
    top : int
        Best subsets to keep.
    console : rich.console.Console
        For progress.
    """
    pairs = reduce_pairs(log_probabilities(oof.probabilities), oof.targets, oof.fold)
    if pairs.n_parts < oof.n_folds:
        raise EnsembleError(f"fold {oof.n_folds - 1} has no usable clip: it cannot be left out")
    boards, outcome = distributed.search(pairs, sizes, objectives(pairs.n_parts, top), console=console)
    board, *without = boards
    final = next(iter(board))
    scorer = Scorer(pairs)
    everything = list(range(pairs.n_parts))
    others = [[k for k in everything if k != out] for out in everything] if without else []
    single, greedy = best_single(scorer, everything), greedy_selection(scorer, everything)
    return SubsetResult(
        scorer=scorer,
        board=board,
        final=final,
        subset=evaluate(scorer, final, [next(iter(b)) for b in without]),
        single=evaluate(scorer, single, [best_single(scorer, parts) for parts in others]),
        single_member=single.members[0],
        greedy=evaluate(scorer, greedy, [greedy_selection(scorer, parts) for parts in others]),
        greedy_members=greedy.members,
        workers=outcome.workers,
        seconds=outcome.seconds,
    )


@dataclass(frozen=True)
class _Job:
    """One stacker to train: which point of the grid, without which fold, on whose predictions."""

    config: StackerConfig
    fold: int
    members: tuple[int, ...]
    with_test: bool


def train_stackers(
    oof: OofMatrix,
    final: tuple[int, ...],
    left_out: Sequence[tuple[int, ...]],
    n_stackers: int,
    seed: int,
    console: Console,
) -> StackerResult:
    """Train a grid of stackers and score their blend with the subset.

    Parameters
    ----------
    oof : OofMatrix
    final : tuple of int
        Members of the chosen subset: the inputs of the stackers that are used.
    left_out : sequence of tuple of int
        Members chosen without each fold: the inputs of the stackers that are scored on that fold.
    n_stackers : int
        Size of the grid.
    seed : int
    console : rich.console.Console
        For progress.
    """
    configs = draw_configs(n_stackers, seed)
    folds = range(oof.n_folds)
    jobs: list[_Job] = [_Job(config, k, final, True) for config in configs for k in folds]
    # where the choice without a fold is the final one, its stackers are the final ones
    jobs += [_Job(config, k, left_out[k], False) for config in configs for k in folds if left_out[k] != final]
    outcome = distributed.run_tasks(
        _train_job,
        (oof.probabilities, oof.targets, oof.fold, oof.group, oof.test, seed),
        jobs,
        label=f"stackers ({len(jobs)} trainings)",
        weights=[float(job.config.base_size + 500) for job in jobs],
        console=console,
    )
    trained = {
        (job.config.name, job.fold, job.members): result for job, result in zip(jobs, outcome.results, strict=True)
    }

    def fold_of(members: tuple[int, ...], k: int) -> list[StackerFold]:
        return [trained[config.name, k, members] for config in configs]

    inner = np.array([[s.inner_lwlrap for s in fold_of(final, k)] for k in folds]).T
    predictions = np.empty((n_stackers, *oof.targets.shape), np.float32)
    nested_oof = np.empty(oof.targets.shape)
    selected_without = []
    for k in folds:
        rows = oof.fold == k
        predictions[:, rows] = [s.oof for s in fold_of(final, k)]
        candidates = fold_of(left_out[k], k)
        chosen = select([s.inner_lwlrap for s in candidates], BLENDED_STACKERS)
        selected_without.append(chosen)
        nested_oof[rows] = geometric_mean(
            np.concatenate([oof.probabilities[list(left_out[k])][:, rows], [candidates[i].oof for i in chosen]])
        )
    selected = select(inner.mean(axis=1).tolist(), BLENDED_STACKERS)
    final_blend = geometric_mean(np.concatenate([oof.probabilities[list(final)], predictions[selected]]))
    test = None
    if oof.test is not None:
        test = np.stack(
            [
                geometric_mean(np.stack([trained[config.name, k, final].test for k in folds]))  # type: ignore[misc]
                for config in configs
            ]
        ).astype(np.float32)
    return StackerResult(
        configs=configs,
        inner=inner,
        oof=predictions,
        test=test,
        selected=selected,
        selected_without=selected_without,
        nested_oof=nested_oof,
        blend=Nested(lwlrap(oof.targets, final_blend), lwlrap(oof.targets, nested_oof), ()),
        workers=outcome.workers,
        seconds=outcome.seconds,
    )


def _train_job(shared: tuple[NDArray, NDArray, NDArray, NDArray, NDArray | None, int], job: _Job) -> StackerFold:
    probabilities, targets, fold, group, test, seed = shared
    torch.set_num_threads(1)  # the same sums on every machine of a kind, and one core a task
    members = list(job.members)
    return train_stacker(
        job.config,
        probabilities[members],
        targets,
        fold,
        group,
        job.fold,
        test[members] if test is not None and job.with_test else None,
        seed,
    )


@dataclass(frozen=True)
class Blend:
    """The final ensemble: the subset alone, or with stackers when those raise the nested score."""

    stackers: tuple[int, ...]
    in_sample: float
    nested: float
    oof: NDArray[np.float64]  # (n_clips, n_classes)
    test: NDArray[np.float64] | None  # (n_test, n_classes)


def final_blend(oof: OofMatrix, subset: SubsetResult, stackers: StackerResult | None) -> Blend:
    """Geometric mean, equal weights, of the chosen members, and of the stackers if they earn their place."""
    members = list(subset.final.members)
    chosen: list[int] = []
    scores = subset.subset
    if stackers is not None and stackers.blend.nested > subset.subset.nested:
        chosen, scores = stackers.selected, stackers.blend
    first, second = [oof.probabilities[members]], [oof.test[members]] if oof.test is not None else None
    if chosen and stackers is not None:
        first.append(stackers.oof[chosen])
        if second is not None and stackers.test is not None:
            second.append(stackers.test[chosen])
    return Blend(
        stackers=tuple(chosen),
        in_sample=scores.in_sample,
        nested=scores.nested,
        oof=geometric_mean(np.concatenate(first)),
        test=None if second is None else geometric_mean(np.concatenate(second)),
    )


def can_nest(result: SubsetResult) -> bool:
    """Whether there are folds to leave out."""
    return not math.isnan(result.subset.nested)
