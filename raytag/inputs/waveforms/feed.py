"""A bank of waveforms as `WaveformCrops` reads it."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from raytag.batch import Batch, Drawn
from raytag.features.sets.base import FULL_SCALE
from raytag.inputs.crops import CropFeed
from raytag.inputs.mixing import mixed_targets


class WaveformFeed(CropFeed):
    """`raytag.batch.Feed` of crops (B, samples)."""

    repeats = False

    def samples(self, crops: NDArray[np.int16]) -> Tensor:
        return torch.from_numpy(crops[:, :, 0] * np.float32(1 / FULL_SCALE))

    def training(self, drawn: Drawn, rng: np.random.Generator) -> Batch:
        settings, n = self.settings, len(drawn.rows)
        rows = np.stack([drawn.rows, drawn.partners], axis=1)
        first = self.anywhere(rows, rng)
        wrap = rng.random((n, 2)) < settings.wrap_pad_prob
        gain = 10 ** (-rng.uniform(0.0, settings.quieter_db, (n, 2)) / 20) / FULL_SCALE
        added = rng.random(n) < settings.mix_prob
        alpha = np.where(added, rng.uniform(0.0, settings.add_max_alpha, n), 0.0).astype(np.float32)
        share = np.stack([1 - alpha, alpha], axis=1)
        x = np.zeros((n, self.span), np.float32)
        for i in range(n):
            for image in range(1 + added[i]):
                self._add(x[i], rows[i, image], first[i, image], wrap[i, image], gain[i, image] * share[i, image])
        return Batch(torch.from_numpy(x), mixed_targets(drawn, np.zeros(n, bool), added, alpha))

    def _add(self, crop: NDArray[np.float32], row: int, first: int, wrap: bool, gain: float) -> None:
        """Add a clip from its sample ``first`` on; beyond its ends are zeros, or the clip again."""
        clip = self.bank.buffer[self.bank.offsets[row] : self.bank.offsets[row + 1], 0]
        if wrap and len(clip) < len(crop):
            crop += np.resize(np.roll(clip, -first), len(crop)) * np.float32(gain)
            return
        start, end = max(first, 0), min(first + len(crop), len(clip))
        crop[start - first : end - first] += clip[start:end] * np.float32(gain)
