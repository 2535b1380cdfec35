"""What a fold trains on: three sources of clips, drawn with probabilities or passed over one by one.

The sources are ``curated`` (the other folds), ``noisy`` (clips of the noisy subset,
`raytag.experiment.Sampling.noisy_pool` and ``noisy_share`` say which; their loss is bootstrapped) and
``corrected_noisy`` (noisy clips whose labels a corrections file replaced, treated as curated). Noisy clips are
never validated on. An epoch is either of two things:

    draws    each sample first picks a source, then a uniformly random clip of it (and, for the mixers, a second
             clip of the same source)
    pass     all clips of all sources once, in an order that each epoch shuffles anew; what is left after the last
             whole batch is dropped. The mixers' second clip is any of them, uniformly

Where the features have variants, each sample takes one copy of its clip, which keeps the clip's fold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from raytag.batch import Drawn
from raytag.datasets.corrections import corrected_rows
from raytag.datasets.table import ClipTable
from raytag.experiment import Sampling
from raytag.features.bank import Bank
from raytag.seeding import generator


@dataclass(frozen=True)
class Source:
    """One source of training clips.

    Attributes
    ----------
    name : str
    rows : int64 array (n,)
        Rows of the clip table, which are rows of the bank.
    targets : float32 array (n, n_classes)
    noisy : bool
        Whether the loss treats these labels as noisy.
    prob : float
        Share of the draws; 1 in a pass.
    """

    name: str
    rows: np.ndarray
    targets: np.ndarray
    noisy: bool
    prob: float


@dataclass(frozen=True)
class Split:
    """A fold's training sources and its validation clips.

    ``validation`` (with ``validation_targets``, corrected where corrections are given) drives schedules and
    early stopping; ``oof`` are all clips of the fold, scored on their original labels.
    """

    sources: tuple[Source, ...]
    validation: np.ndarray
    validation_targets: np.ndarray
    oof: np.ndarray

    @property
    def trained(self) -> np.ndarray:
        """Rows of the clips that are trained on, ascending, int64: all that any source may draw."""
        return np.unique(np.concatenate([source.rows for source in self.sources if source.prob > 0]))


def split(table: ClipTable, sampling: Sampling, fold: int, blind: Sequence[int] = (), seed: int = 0) -> Split:
    """The sources of ``fold``, which is validated on; ``blind`` are further folds that are not trained on.

    ``seed`` decides which part of the noisy subset is the fold's (`part_of_fold`).

    Raises
    ------
    ValueError
        A source with a share of the draws has no clips, or the fold has none.
    """
    curated = table.rows("curated")
    targets = table.targets()
    removed = np.zeros(len(table.clips), dtype=bool)
    if sampling.curated_corrections is not None:
        correction = corrected_rows(table, sampling.curated_corrections, "curated")
        targets[correction.relabelled] = correction.targets
        removed[correction.removed] = True
    folds = table.clips["fold"].to_numpy()[curated]
    oof = curated[folds == fold]
    train = curated[~np.isin(folds, [fold, *blind]) & (folds >= 0)]
    train, validation = train[~removed[train]], oof[~removed[oof]]
    if not len(train) or not len(validation):
        raise ValueError(f"fold {fold} has {len(train)} training and {len(validation)} validation clips")

    own = table.rows("noisy")
    if sampling.noisy_share == "fold":
        own = part_of_fold(own, fold, table.n_folds, seed)
    noisy, corrected, pool = own, np.zeros(0, dtype=np.int64), sampling.pool
    noisy_targets = targets[noisy]  # as given
    if sampling.noisy_corrections is not None:
        correction = corrected_rows(table, sampling.noisy_corrections, "noisy")
        targets[correction.relabelled] = correction.targets
        corrected = correction.relabelled[np.isin(correction.relabelled, own)]
        if pool != "original":
            gone = [correction.removed, corrected] if pool == "rest" else [correction.removed]
            noisy = corrected if pool == "listed" else np.setdiff1d(noisy, np.concatenate(gone))
            noisy_targets = targets[noisy]
    shares = sampling.noisy_prob, sampling.corrected_noisy_prob
    rest = 1.0 if sampling.epoch == "pass" else 1.0 - shares[0] - shares[1]
    sources = (
        Source("curated", train, targets[train], False, rest),
        Source("noisy", noisy, noisy_targets, True, shares[0]),
        Source("corrected_noisy", corrected, targets[corrected], False, shares[1]),
    )
    for source in sources:
        if source.prob > 0 and not len(source.rows):
            left = f" left by sampling.noisy_pool={pool}" if source.name == "noisy" and pool != "all" else ""
            left += " in this fold's part (sampling.noisy_share=fold)" if sampling.noisy_share == "fold" else ""
            raise ValueError(
                f"sampling.{source.name}_prob is {source.prob:g}, but the dataset has no {source.name} clips{left}"
            )
    # curated clips always, also where none is drawn: an epoch is as long as there are curated clips
    drawn = tuple(source for source in sources if source.prob > 0 or source.name == "curated")
    return Split(drawn, validation, targets[validation], oof)


def part_of_fold(noisy: np.ndarray, fold: int, n_folds: int, seed: int) -> np.ndarray:
    """Rows of the noisy subset that are a fold's own: the parts are of equal size, up to one clip, and disjoint.

    They are a function of the training's seed and of how many clips there are, so that trainings of one seed have
    the same parts, whatever their corrections say.
    """
    part = generator(seed, 0, 0, 0, 4).permutation(len(noisy)) % n_folds
    return noisy[part == fold]


def steps_per_epoch(sampling: Sampling, batch_size: int, sources: Sequence[Source]) -> int:
    """Whole batches in a pass, or in ``samples_per_epoch`` draws (by default as many as curated training clips)."""
    of_pass = sum(len(source.rows) for source in sources)
    curated = next(len(source.rows) for source in sources if source.name == "curated")
    clips = of_pass if sampling.epoch == "pass" else sampling.samples_per_epoch or curated
    return max(1, clips // batch_size)


def batch_of(sampling: Sampling, sources: Sequence[Source], batch_size: int, *keys: int) -> Drawn:
    """The batch of a step; a pure function of the integers ``keys`` (seed, fold, epoch, step)."""
    return (pass_rows if sampling.epoch == "pass" else draw_rows)(sources, batch_size, *keys)


def draw_rows(sources: Sequence[Source], batch_size: int, *keys: int) -> Drawn:
    """Draw a batch of sources by their shares, and partners of the same sources."""
    rng = generator(*keys, 0)
    edges = np.cumsum([source.prob for source in sources])
    which = np.minimum(np.searchsorted(edges, rng.random(batch_size), side="right"), len(sources) - 1)
    sizes = np.array([len(source.rows) for source in sources])[which]
    first = (rng.random(batch_size) * sizes).astype(np.int64)
    second = (rng.random(batch_size) * sizes).astype(np.int64)
    return _drawn(sources, (which, first), (which, second))


def pass_rows(sources: Sequence[Source], batch_size: int, *keys: int) -> Drawn:
    """The clips that a pass over all sources has at a step, and partners of any source.

    Where there are fewer clips than a batch takes, it has all of them.
    """
    ends = np.cumsum([len(source.rows) for source in sources])
    seed, fold, epoch, step = keys
    order = generator(seed, fold, epoch, 0, 3).permutation(ends[-1])
    first = order[step * batch_size : (step + 1) * batch_size]
    second = (generator(*keys, 0).random(len(first)) * ends[-1]).astype(np.int64)

    def place(of_all: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        which = np.searchsorted(ends, of_all, side="right")
        return which, of_all - np.append(0, ends)[which]

    return _drawn(sources, place(first), place(second))


def _drawn(
    sources: Sequence[Source], first: tuple[np.ndarray, np.ndarray], second: tuple[np.ndarray, np.ndarray]
) -> Drawn:
    """Clips and their partners, given each as sources and places in them."""
    one = [(sources[s], i) for s, i in zip(*first, strict=True)]
    other = [(sources[s], i) for s, i in zip(*second, strict=True)]
    return Drawn(
        rows=np.array([s.rows[i] for s, i in one]),
        partners=np.array([s.rows[i] for s, i in other]),
        present=np.stack([s.targets[i] for s, i in one]),
        partner_present=np.stack([s.targets[i] for s, i in other]),
        noisy=np.array([s.noisy for s, _ in one]),
    )


def draw_copies(drawn: Drawn, bank: Bank, *keys: int) -> Drawn:
    """The batch with one copy of each clip and of each partner, the recording or a variant, all equally likely.

    A pure function of the integers ``keys``, those of `draw_rows`; what that one draws does not change.
    """
    if bank.copies == 1:
        return drawn
    u = generator(*keys, 2).random((2, len(drawn.rows)))
    return replace(drawn, rows=bank.copy_of(drawn.rows, u[0]), partners=bank.copy_of(drawn.partners, u[1]))
