"""A feed of crops of one length: what an input of any feature set begins with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from raytag.batch import ALL, Batch, Drawn, Pooling
from raytag.features.bank import Bank
from raytag.inputs.mixing import mixed_targets
from raytag.inputs.tiling import check_grids, count_tiles, first_frames
from raytag.parts import Features, Input


class CropFeed(ABC):
    """`raytag.batch.Feed` of crops of ``settings.span(features)`` frames; a class of it says what a network sees.

    In training a crop is anywhere in its clip, and nothing is mixed.

    Parameters
    ----------
    bank : Bank
    settings : Input
        If it has a method ``step``, that gives the frames between the starts of prediction tiles (else they lie
        side by side); if it has ``shifts``, there are so many grids of them (else one); if it has a field
        ``pooling``, the probabilities of a clip's tiles are pooled so (else averaged).
    features : Features
        The bank's.
    """

    repeats = True  # beyond the ends of a clip it begins again; else there are zeros

    def __init__(self, bank: Bank, settings: Input, features: Features) -> None:
        own: Any = settings
        self.bank, self.settings = bank, own
        self.span: int = own.span(features)
        self.step: int = own.step(features) if hasattr(own, "step") else self.span
        self.shifts: int = getattr(own, "shifts", 1)
        check_grids(self.span, self.step, self.shifts)
        self.pooling: Pooling = getattr(own, "pooling", "mean")

    @abstractmethod
    def samples(self, crops: NDArray[np.int16]) -> Tensor:
        """float32 (n, ...) of crops (n, span, width)."""

    def anywhere(self, rows: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """A first frame for a crop of each clip, such that it lies in the clip, or the clip in its middle."""
        room = self.bank.frames[rows] - self.span
        starts = rng.integers(0, np.maximum(room, 0) + 1)
        return np.where(room < 0, -(-room // 2), starts)

    def cut(self, rows: NDArray[np.int64], first: NDArray[np.int64]) -> NDArray[np.int16]:
        """Crops (n, span, width) of clips from their frames ``first`` on, which may lie before the clip."""
        crops = np.zeros((len(rows), self.span, self.bank.width), np.int16)
        for crop, row, start in zip(crops, rows, first, strict=True):
            clip = self.bank.buffer[self.bank.offsets[row] : self.bank.offsets[row + 1]]
            begin, end = max(start, 0), min(start + self.span, len(clip))
            if self.repeats and end - begin < self.span:
                crop[:] = clip.take(np.arange(start, start + self.span), axis=0, mode="wrap")
            else:
                crop[begin - start : end - start] = clip[begin:end]
        return crops

    def training(self, drawn: Drawn, rng: np.random.Generator) -> Batch:
        nothing = np.zeros(len(drawn.rows), bool)
        x = self.samples(self.cut(drawn.rows, self.anywhere(drawn.rows, rng)))
        return Batch(x, mixed_targets(drawn, nothing, nothing, nothing.astype(np.float32)))

    def middles(self, rows: NDArray[np.int64]) -> Batch:
        return Batch(self.samples(self.cut(rows, (self.bank.frames[rows] - self.span) // 2)))

    def count_tiles(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        return count_tiles(self.bank.frames[rows], self.span, self.step, self.shifts)

    def first_frames(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return first_frames(self.bank.frames[rows], self.span, self.step, self.shifts)

    def tiles(self, rows: NDArray[np.int64], which: slice = ALL) -> tuple[Batch, NDArray[np.int64]]:
        first, owner = (every[which] for every in self.first_frames(rows))
        return Batch(self.samples(self.cut(rows[owner], first))), owner
