"""A bank of waveforms as `WaveformCrops` reads it."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from raytag.batch import Batch, Drawn
from raytag.features.bank import Bank
from raytag.features.sets.base import FULL_SCALE
from raytag.features.sets.waveforms import Waveforms
from raytag.inputs.mixing import mixed_targets
from raytag.inputs.tiling import count_tiles, first_frames
from raytag.inputs.waveforms.settings import WaveformCrops


class WaveformFeed:
    """`raytag.batch.Feed` of crops (B, samples)."""

    def __init__(self, bank: Bank, settings: WaveformCrops, features: Waveforms) -> None:
        self.bank, self.settings, self.pooling = bank, settings, settings.pooling
        self.samples, self.step = settings.span(features), settings.step(features)

    def training(self, drawn: Drawn, rng: np.random.Generator) -> Batch:
        settings, n = self.settings, len(drawn.rows)
        rows = np.stack([drawn.rows, drawn.partners], axis=1)
        missing = self.samples - self.bank.frames[rows]
        starts = rng.integers(0, np.maximum(-missing, 0) + 1)
        first = np.where(missing > 0, -(missing // 2), starts)
        wrap = rng.random((n, 2)) < settings.wrap_pad_prob
        gain = 10 ** (-rng.uniform(0.0, settings.quieter_db, (n, 2)) / 20) / FULL_SCALE
        added = rng.random(n) < settings.mix_prob
        alpha = np.where(added, rng.uniform(0.0, settings.add_max_alpha, n), 0.0).astype(np.float32)
        share = np.stack([1 - alpha, alpha], axis=1)
        x = np.zeros((n, self.samples), np.float32)
        for i in range(n):
            for image in range(1 + added[i]):
                self._add(x[i], rows[i, image], first[i, image], wrap[i, image], gain[i, image] * share[i, image])
        return Batch(torch.from_numpy(x), mixed_targets(drawn, np.zeros(n, bool), added, alpha))

    def middles(self, rows: NDArray[np.int64]) -> Batch:
        return self._crops(rows, (self.bank.frames[rows] - self.samples) // 2)

    def count_tiles(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        return count_tiles(self.bank.frames[rows], self.samples, self.step)

    def tiles(self, rows: NDArray[np.int64]) -> tuple[Batch, NDArray[np.int64]]:
        first, owner = first_frames(self.bank.frames[rows], self.samples, self.step)
        return self._crops(rows[owner], first), owner

    def _crops(self, rows: NDArray[np.int64], first: NDArray[np.int64]) -> Batch:
        x = np.zeros((len(rows), self.samples), np.float32)
        for crop, row, start in zip(x, rows, first, strict=True):
            self._add(crop, row, start, False, 1 / FULL_SCALE)
        return Batch(torch.from_numpy(x))

    def _add(self, crop: NDArray[np.float32], row: int, first: int, wrap: bool, gain: float) -> None:
        """Add a clip from its sample ``first`` on; beyond its ends are zeros, or the clip again."""
        clip = self.bank.buffer[self.bank.offsets[row] : self.bank.offsets[row + 1], 0]
        if wrap and len(clip) < len(crop):
            crop += np.resize(np.roll(clip, -first), len(crop)) * np.float32(gain)
            return
        start, end = max(first, 0), min(first + len(crop), len(clip))
        crop[start - first : end - first] += clip[start:end] * np.float32(gain)
