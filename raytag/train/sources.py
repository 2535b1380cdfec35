"""What a fold trains on: three sources of clips, drawn with probabilities.

Each training sample first picks a source, then a uniformly random clip of it (and, for the mixers, a
second clip of the same source): ``curated`` (the other folds), ``noisy`` (clips of the noisy subset,
`raytag.experiment.Sampling.noisy_pool` says which; their loss is bootstrapped) and ``corrected_noisy`` (noisy clips
whose labels a corrections file replaced, treated as curated). Noisy clips serve every fold alike and are never
validated on. Where the features have variants, each draw takes one copy of its clip, which keeps the clip's fold.
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
        Share of the draws.
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


def split(table: ClipTable, sampling: Sampling, fold: int, blind: Sequence[int] = ()) -> Split:
    """The sources of ``fold``, which is validated on; ``blind`` are further folds that are not trained on.

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

    noisy, corrected, pool = table.rows("noisy"), np.zeros(0, dtype=np.int64), sampling.pool
    noisy_targets = targets[noisy]  # as given
    if sampling.noisy_corrections is not None:
        correction = corrected_rows(table, sampling.noisy_corrections, "noisy")
        corrected = correction.relabelled
        targets[corrected] = correction.targets
        if pool != "original":
            gone = [correction.removed, corrected] if pool == "rest" else [correction.removed]
            noisy = corrected if pool == "listed" else np.setdiff1d(noisy, np.concatenate(gone))
            noisy_targets = targets[noisy]
    sources = (
        Source("curated", train, targets[train], False, 1.0 - sampling.noisy_prob - sampling.corrected_noisy_prob),
        Source("noisy", noisy, noisy_targets, True, sampling.noisy_prob),
        Source("corrected_noisy", corrected, targets[corrected], False, sampling.corrected_noisy_prob),
    )
    for source in sources:
        if source.prob > 0 and not len(source.rows):
            left = f" left by sampling.noisy_pool={pool}" if source.name == "noisy" and pool != "all" else ""
            raise ValueError(
                f"sampling.{source.name}_prob is {source.prob:g}, but the dataset has no {source.name} clips{left}"
            )
    # curated clips always, also where none is drawn: an epoch is as long as there are curated clips
    drawn = tuple(source for source in sources if source.prob > 0 or source.name == "curated")
    return Split(drawn, validation, targets[validation], oof)


def steps_per_epoch(sampling: Sampling, batch_size: int, n_curated: int) -> int:
    """Whole batches in ``samples_per_epoch`` draws (by default as many as curated training clips)."""
    return max(1, (sampling.samples_per_epoch or n_curated) // batch_size)


def draw_rows(sources: Sequence[Source], batch_size: int, *keys: int) -> Drawn:
    """Draw a batch; a pure function of the integers ``keys`` (seed, fold, epoch, step)."""
    rng = generator(*keys, 0)
    edges = np.cumsum([source.prob for source in sources])
    which = np.minimum(np.searchsorted(edges, rng.random(batch_size), side="right"), len(sources) - 1)
    sizes = np.array([len(source.rows) for source in sources])[which]
    first = (rng.random(batch_size) * sizes).astype(np.int64)
    second = (rng.random(batch_size) * sizes).astype(np.int64)
    picked = [(sources[s], a, b) for s, a, b in zip(which, first, second, strict=True)]
    return Drawn(
        rows=np.array([s.rows[a] for s, a, _ in picked]),
        partners=np.array([s.rows[b] for s, _, b in picked]),
        present=np.stack([s.targets[a] for s, a, _ in picked]),
        partner_present=np.stack([s.targets[b] for s, _, b in picked]),
        noisy=np.array([s.noisy for s, _, _ in picked]),
    )


def draw_copies(drawn: Drawn, bank: Bank, *keys: int) -> Drawn:
    """The batch with one copy of each clip and of each partner, the recording or a variant, all equally likely.

    A pure function of the integers ``keys``, those of `draw_rows`; what that one draws does not change.
    """
    if bank.copies == 1:
        return drawn
    u = generator(*keys, 2).random((2, len(drawn.rows)))
    return replace(drawn, rows=bank.copy_of(drawn.rows, u[0]), partners=bank.copy_of(drawn.partners, u[1]))
