"""A bank of log-mels as `LogMelImages` reads it."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from raytag.batch import ALL, Batch, Drawn, Pooling
from raytag.features.bank import Bank
from raytag.features.sets.logmels import LogMels
from raytag.inputs.logmel_images.augmenter import Augmenter
from raytag.inputs.logmel_images.draws import ADD, SIGMOID
from raytag.inputs.logmel_images.settings import LogMelImages
from raytag.inputs.logmel_images.tiles import center_crops, count_tiles, tiles
from raytag.inputs.mixing import mixed_targets
from raytag.inputs.tiling import first_frames


class LogMelFeed:
    """`raytag.batch.Feed` of images (B, 3, n_mels, crop_frames)."""

    pooling: Pooling = "mean"

    def __init__(self, bank: Bank, settings: LogMelImages, features: LogMels) -> None:
        self.bank = bank
        self.augmenter = Augmenter(settings, features.n_mels)
        self.width, self.step, self.shifts = settings.crop_frames, settings.tile_frames, settings.shifts

    def training(self, drawn: Drawn, rng: np.random.Generator) -> Batch:
        frames = self.bank.frames
        draws = self.augmenter.draw(frames[drawn.rows], frames[drawn.partners], rng)
        images = self.augmenter.images(self.bank, drawn.rows, drawn.partners, draws)
        targets = mixed_targets(drawn, draws.mixer == SIGMOID, draws.mixer == ADD, draws.alpha)
        return Batch(torch.from_numpy(images), targets)

    def middles(self, rows: NDArray[np.int64]) -> Batch:
        return Batch(torch.from_numpy(center_crops(self.bank, rows, self.width)))

    def count_tiles(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        return count_tiles(self.bank.frames[rows], self.width, self.step, self.shifts)

    def first_frames(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return first_frames(self.bank.frames[rows], self.width, self.step, self.shifts)

    def tiles(self, rows: NDArray[np.int64], which: slice = ALL) -> tuple[Batch, NDArray[np.int64]]:
        images, owner = tiles(self.bank, rows, self.width, self.step, which, self.shifts)
        return Batch(torch.from_numpy(images)), owner
