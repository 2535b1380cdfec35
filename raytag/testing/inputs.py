"""What every input keeps: shapes, repeatable draws, whole clips covered, a bank that is only read."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from raytag.batch import Batch, Drawn, Feed, PaddedFeed
from raytag.features.bank import Bank
from raytag.parts import Features, Input

#: Lengths of the clips that are tried, in samples of the input: a single frame, less than one, one, more.
LENGTHS = (0.0, 0.3, 1.0, 1.7, 4.2)
EPOCHS = 700  # of a training
_CLASSES = 3

Open = Callable[[Bank, Features], Feed]


def check_input(member: Input, features: Features, make: Open | None = None) -> None:
    """Hold an input to all that training and prediction rely on.

    Parameters
    ----------
    member : Input
        The input.
    features : Features
        A feature set that it reads.
    make : callable, optional
        Instead of ``member.open``, for test clips too.

    Raises
    ------
    AssertionError
        The first promise that is broken.
    """
    last = member.in_epoch(EPOCHS - 1, EPOCHS)
    make, make_for_test, make_last = make or member.open, make or member.for_test().open, make or last.open
    span, shape = member.span(features), member.shape(features)
    assert span >= 1, f"a sample covers {span} frames of the bank"
    assert shape, "a sample has no shape"
    frames = [max(1, round(length * span)) for length in LENGTHS]
    bank = _bank(features, frames)
    before = bank.buffer.copy()
    assert isinstance(make(bank, features), PaddedFeed) == member.pads, (
        f"pads is {member.pads}: where it is true, and only there, a feed is a raytag.batch.PaddedFeed"
    )
    _check_training(make(bank, features), shape, member.pads)
    _check_training(make_last(bank, features), shape, member.pads)
    _check_draws(make, bank, features)
    for opened in (make, make_for_test):
        _check_prediction(opened(bank, features), shape, np.array(frames), span)
    assert np.array_equal(bank.buffer, before), "the input writes into the bank"


def _bank(features: Features, lengths: list[int]) -> Bank:
    rng = np.random.default_rng(0)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return Bank(features.noise(int(offsets[-1]), rng), offsets, [f"clip{i}" for i in range(len(lengths))])


def drawn(n_clips: int = len(LENGTHS), unknown: bool = False) -> Drawn:
    """Every clip with every other, labels of zeros and ones; with evidence planes if some are unknown."""
    rng = np.random.default_rng(1)
    rows, partners = (a.ravel() for a in np.meshgrid(np.arange(n_clips), np.arange(n_clips)))
    labels = [(rng.random((len(rows), _CLASSES)) < 0.4).astype(np.float32) for _ in range(2)]
    known = [rng.random(label.shape) < (0.6 if unknown else 1.0) for label in labels]
    present = [label * k for label, k in zip(labels, known, strict=True)]
    absent = [(1 - label) * k for label, k in zip(labels, known, strict=True)] if unknown else [None, None]
    return Drawn(rows, partners, present[0], present[1], rng.random(len(rows)) < 0.5, absent[0], absent[1])


def _check_batch(
    batch: Batch, n: int, shape: tuple[int, ...], what: str, pads: bool = False, most: int | None = None
) -> None:
    """``most`` frames of a padded sample at most, where it is not the shape that says so."""
    assert isinstance(batch, Batch), f"{what}: {type(batch).__name__}, not raytag.batch.Batch"
    if pads:
        assert batch.lengths is not None, f"{what}: no lengths, and pads is true"
        assert batch.lengths.dtype == torch.int64, f"{what}: lengths are {batch.lengths.dtype}, not int64"
        longest, most = int(batch.lengths.max()), most or shape[-1]
        assert longest <= most, f"{what}: a sample has {longest} frames, more than {most}"
        shape = (*shape[:-1], longest)
        for row, length in zip(batch.x, batch.lengths, strict=True):
            assert not row[..., length:].any(), f"{what}: there is something behind a sample's length"
    assert batch.x.shape == (n, *shape), f"{what}: x is {tuple(batch.x.shape)}, not {(n, *shape)}"
    assert batch.x.dtype == torch.float32, f"{what}: x is {batch.x.dtype}, not float32"
    assert batch.x.isfinite().all(), f"{what}: x is not finite"
    if batch.lengths is not None:
        assert batch.lengths.shape == (n,), f"{what}: lengths are {tuple(batch.lengths.shape)}, not {(n,)}"
        inside = (batch.lengths >= 1) & (batch.lengths <= shape[-1])
        assert inside.all(), f"{what}: lengths must lie in [1, {shape[-1]}]"


def _sound(batch: Batch) -> list[Tensor]:
    """The samples without what they are padded with."""
    if batch.lengths is None:
        return list(batch.x)
    return [row[..., :length] for row, length in zip(batch.x, batch.lengths, strict=True)]


def _equal(some: list[Tensor], others: list[Tensor]) -> bool:
    return len(some) == len(others) and all(map(torch.equal, some, others))


def _check_training(feed: Feed, shape: tuple[int, ...], pads: bool) -> None:
    for unknown in (False, True):
        given = drawn(unknown=unknown)
        batch = feed.training(given, np.random.default_rng(2))
        what = "a training batch" + " with unknown labels" * unknown
        _check_batch(batch, len(given.rows), shape, what, pads)
        targets = batch.targets
        assert targets is not None, f"{what}: no targets"
        labels, weights = targets.labels(torch.float32)
        assert labels.shape == given.present.shape, f"{what}: targets are {tuple(labels.shape)}"
        assert ((labels >= 0) & (labels <= 1)).all(), f"{what}: labels lie outside [0, 1]"
        assert torch.equal(targets.noisy, torch.from_numpy(given.noisy)), f"{what}: other clips are noisy"
        assert (weights is not None) == unknown, (
            f"{what}: evidence against classes is {'lost' if unknown else 'new'}"
        )
        both = given.present + given.partner_present
        assert not labels[torch.from_numpy(both == 0)].any(), f"{what}: a class that neither clip has is present"
        if given.absent is not None and given.partner_absent is not None and weights is not None:
            nothing = both + given.absent + given.partner_absent == 0
            assert not weights[torch.from_numpy(nothing)].any(), f"{what}: what neither clip knows is known"


def _check_draws(make: Open, bank: Bank, features: Features) -> None:
    """The generator alone decides: neither what was made before nor torch's or numpy's own draws."""
    given = drawn()

    def once(feed: Feed, seed: int) -> NDArray[np.float32]:
        made: NDArray[np.float32] = feed.training(given, np.random.default_rng(seed)).x.numpy().copy()
        return made

    feed = make(bank, features)
    first = once(feed, 3)
    assert not np.array_equal(first, once(feed, 4)), "another generator draws the same batch"
    assert np.array_equal(first, once(feed, 3)), "the same generator draws another batch the second time"
    assert np.array_equal(first, once(make(bank, features), 3)), "the same generator draws another batch elsewhere"


def _check_prediction(feed: Feed, shape: tuple[int, ...], frames: NDArray[np.int64], span: int) -> None:
    rows = np.arange(len(LENGTHS))[::-1].copy()
    sizes, most = np.full(len(rows), span), None
    if isinstance(feed, PaddedFeed):
        sizes = feed.sample_frames(rows)
        most = int(sizes.max())
        assert most <= feed.batch_frames, f"of {feed.batch_frames} frames a batch holds no tile of {most}"
    _check_batch(feed.middles(rows), len(rows), shape, "middles of clips", most is not None, most)
    counts = feed.count_tiles(rows)
    batch, owner = feed.tiles(rows)
    assert counts.tolist() == np.bincount(owner, minlength=len(rows)).tolist(), "tiles are not as many as counted"
    assert (counts >= 1).all(), "a clip has no tile"
    assert (np.diff(owner) >= 0).all(), "tiles do not come clip after clip"
    assert (np.diff(counts) <= 0).all(), "a longer clip has fewer tiles"
    _check_batch(batch, len(owner), shape, "tiles", most is not None, most)
    first, of = feed.first_frames(rows)
    assert np.array_equal(of, owner), "first frames are of other clips than the tiles"
    for i, length in enumerate(frames[rows]):
        begin = first[owner == i]
        end = begin + sizes[i]
        assert (np.diff(begin) >= 0).all(), "tiles of a clip do not come left to right"
        covered = begin[0] <= 0 and end[-1] >= length and (begin[1:] <= end[:-1]).all()
        assert covered, f"tiles of a clip of {length} frames begin at {begin.tolist()}: some frames are in none"
    tiles, middles = _sound(batch), _sound(feed.middles(rows))
    for i, row in enumerate(rows):
        alone = _sound(feed.tiles(np.array([row]))[0])
        own = [tile for tile, of_clip in zip(tiles, owner, strict=True) if of_clip == i]
        assert _equal(alone, own), "the tiles of a clip depend on others"
        assert _equal(_sound(feed.middles(np.array([row]))), middles[i : i + 1]), (
            "the middle of a clip depends on others"
        )
    assert _equal(tiles, _sound(feed.tiles(rows)[0])), "tiles are others the second time"
    some, of = feed.tiles(rows, slice(1, 4))
    assert np.array_equal(of, owner[1:4]), f"of all tiles {len(of)} are made where 3 are asked for"
    assert _equal(_sound(some), tiles[1:4]), "some of the tiles are others than these of all"
