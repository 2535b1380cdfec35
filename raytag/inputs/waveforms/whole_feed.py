"""A bank of waveforms as `WholeWaveforms` reads it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from raytag.batch import ALL, Batch, Drawn, Pooling, Targets
from raytag.features.bank import Bank
from raytag.features.sets.base import FULL_SCALE
from raytag.inputs.mixing import mixed_targets
from raytag.inputs.waveforms.effects.chain import Effects
from raytag.inputs.waveforms.effects.pieces import piece
from raytag.inputs.waveforms.whole import WholeWaveforms
from raytag.parts import Features

Samples = NDArray[np.float32]


class WholeFeed:
    """`raytag.batch.Feed` of clips of their own length; batches (B, longest) with lengths."""

    def __init__(self, bank: Bank, settings: WholeWaveforms, features: Features) -> None:
        self.bank, self.settings = bank, settings
        self.span = settings.span(features)
        self.whole = max(1, round(settings.whole_seconds * features.sample_rate))
        self.batch_frames = round(settings.batch_seconds * features.sample_rate)
        self.pooling: Pooling = settings.pooling
        self.effects = Effects(settings, features.sample_rate)

    def training(self, drawn: Drawn, rng: np.random.Generator) -> Batch:
        mixed = rng.random(len(drawn.rows)) < self.settings.mix_prob
        made = []
        for row, partner, two in zip(drawn.rows, drawn.partners, mixed, strict=True):
            samples = self.effects.before_mixing(self._crop(row, rng), rng)
            if two:
                replace = self.settings.overlap == "replace"
                samples = mix_waveforms(samples, self._crop(partner, rng), rng, replace)
            made.append(self.effects.after_mixing(samples, rng))
        nothing = np.zeros(len(mixed), bool)
        return padded(made, mixed_targets(drawn, mixed, nothing, nothing.astype(np.float32)))

    def middles(self, rows: NDArray[np.int64]) -> Batch:
        lengths = self.sample_frames(rows)
        return self._cut(rows, (self.bank.frames[rows] - lengths) // 2, lengths)

    def sample_frames(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.minimum(self.bank.frames[rows], self.whole)

    def count_tiles(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.maximum(1, -(-self.bank.frames[rows] // self.whole))

    def first_frames(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Tiles of a clip lie evenly from its beginning to its end."""
        counts = self.count_tiles(rows)
        owner = np.repeat(np.arange(len(rows)), counts)
        number = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
        room = (self.bank.frames[rows] - self.sample_frames(rows))[owner]
        return number * room // np.maximum(1, counts - 1)[owner], owner

    def tiles(self, rows: NDArray[np.int64], which: slice = ALL) -> tuple[Batch, NDArray[np.int64]]:
        first, owner = (every[which] for every in self.first_frames(rows))
        return self._cut(rows[owner], first, self.sample_frames(rows)[owner]), owner

    def _crop(self, row: int, rng: np.random.Generator) -> Samples:
        """``span`` samples of a clip from anywhere, all if it has fewer."""
        clip = self.bank.buffer[self.bank.offsets[row] : self.bank.offsets[row + 1], 0]
        return piece(clip, self.span, rng) * np.float32(1 / FULL_SCALE)

    def _cut(self, rows: NDArray[np.int64], first: NDArray[np.int64], lengths: NDArray[np.int64]) -> Batch:
        begin = self.bank.offsets[rows] + first
        return padded(
            [
                self.bank.buffer[b : b + n, 0] * np.float32(1 / FULL_SCALE)
                for b, n in zip(begin, lengths, strict=True)
            ]
        )


def padded(samples: Sequence[Samples], targets: Targets | None = None) -> Batch:
    """A batch (B, longest) of waveforms, zeros behind the shorter ones, with their lengths."""
    lengths = [len(one) for one in samples]
    x = np.zeros((len(samples), max(lengths, default=0)), np.float32)
    for row, one in zip(x, samples, strict=True):
        row[: len(one)] = one
    return Batch(torch.from_numpy(x), targets, torch.tensor(lengths, dtype=torch.int64))


def mix_waveforms(one: Samples, other: Samples, rng: np.random.Generator, replace: bool = False) -> Samples:
    """Two waveforms heard at once, float32 of the longer one's length; neither is written into.

    With a uniform in [0.4, 0.6], equally long ones are ``a one + (1 - a) other``. Else the shorter one times 1 - a
    is added to the longer one times a, at any of the places where it lies in it.

    Parameters
    ----------
    one, other : float32 (n,), (m,)
    rng : np.random.Generator
    replace : bool
        The shorter one takes the place of what it is put upon, and equally long ones are averaged.
    """
    a = np.float32(rng.uniform(0.4, 0.6))
    if len(one) == len(other):
        a = np.float32(0.5) if replace else a
        return a * one + (1 - a) * other
    longer, shorter = (one, other) if len(one) > len(other) else (other, one)
    start = int(rng.integers(len(longer) - len(shorter) + 1))
    mixed = a * longer
    part = mixed[start : start + len(shorter)]
    if replace:
        part[:] = 0
    part += (1 - a) * shorter
    return mixed
