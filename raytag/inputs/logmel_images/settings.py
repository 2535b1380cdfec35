"""The fields of this input."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from raytag.inputs.tiling import TiledInput, check_grids
from raytag.space.distributions import Distribution, choice, uniform


class LogMelImages(TiledInput):
    """Images of log-mel spectrograms, argus-freesound's.

    In training one is padded, cropped, stretched, masked (SpecAugment), and mixed with a second one of the same
    source: curated with curated, noisy with noisy.
    """

    reads: ClassVar[str] = "LogMels"
    feed: ClassVar[str] = "raytag.inputs.logmel_images.feed:LogMelFeed"
    sizes: ClassVar[tuple[str, ...]] = ("features.n_mels", "input.crop_frames")
    worth_varying: ClassVar[Mapping[str, Distribution]] = {
        "specaugment_prob": uniform(0.2, 0.9),
        "num_masks": choice([(1, 1), (1, 2), (1, 3)]),
        "freq_mask_fraction": uniform(0.05, 0.3),
        "time_mask_fraction": uniform(0.05, 0.35),
        "resized_crop_prob": uniform(0.0, 0.6),
        "mix_prob": uniform(0.2, 0.9),
        "sigmoid_share": uniform(0.2, 0.9),
        "add_max_alpha": uniform(0.2, 0.5),
    }

    crop_frames: int = Field(256, ge=16)  # frames; also the width of prediction tiles
    tile_step: int | None = Field(None, ge=1)  # frames between prediction tiles; None: half of crop_frames
    test_tile_step: int | None = Field(None, ge=1)  # frames between those of test clips; None: as tile_step
    wrap_pad_prob: float = Field(0.5, ge=0, le=1)  # short clips: repeat the clip, else pad with its minimum
    resized_crop_prob: float = Field(0.33, ge=0, le=1)
    resized_crop_scale: tuple[float, float] = (0.8, 1.0)  # share of the area kept
    resized_crop_ratio: tuple[float, float] = (1.7, 2.3)  # width/height, log-uniform
    specaugment_prob: float = Field(0.5, ge=0, le=1)
    num_masks: tuple[int, int] = (1, 2)  # rounds, inclusive; each masks one frequency and one time band
    freq_mask_fraction: float = Field(0.15, ge=0, lt=1)  # largest band, share of n_mels
    time_mask_fraction: float = Field(0.20, ge=0, lt=1)  # largest band, share of crop_frames
    mix_prob: float = Field(0.8, ge=0, le=1)  # of mixing at all
    sigmoid_share: float = Field(0.6, ge=0, le=1)  # of mixed samples that are concatenated; the rest are added
    sigmoid_radius: tuple[int, int] = (3, 12)  # inclusive; larger is a sharper border
    add_max_alpha: float = Field(0.5, ge=0, le=1)  # the other sample's weight is uniform in [0, this]
    add_beta: float | None = Field(None, gt=0)  # or it is Beta(this, this) distributed in [0, 1]; None: it is not

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in ("resized_crop_scale", "resized_crop_ratio", "num_masks"):
            low, high = getattr(self, name)
            if not 0 <= low <= high:
                raise ValueError(f"{name} must be (low, high) with 0 <= low <= high, not ({low}, {high})")
        if not 0 < self.resized_crop_scale[0] <= self.resized_crop_scale[1] <= 1:
            raise ValueError("resized_crop_scale must lie in (0, 1]")
        if self.resized_crop_ratio[0] <= 0:
            raise ValueError("resized_crop_ratio must be positive")
        low, high = self.sigmoid_radius
        if not 1 <= low <= high:
            raise ValueError(f"sigmoid_radius must be (low, high) with 1 <= low <= high, not ({low}, {high})")
        for name in ("tile_step", "test_tile_step"):
            if (getattr(self, name) or 1) > self.crop_frames:
                raise ValueError(
                    f"{name} {getattr(self, name)} is above crop_frames {self.crop_frames}: frames between "
                    "prediction tiles would be lost"
                )
        check_grids(self.crop_frames, self.for_test().tile_frames, self.test_shifts)
        return self

    @property
    def tile_frames(self) -> int:
        """Frames between the starts of prediction tiles."""
        step = self.test_tile_step if self._for_test else None
        return step or self.tile_step or self.crop_frames // 2

    def shape(self, features: Any) -> tuple[int, ...]:
        return 3, features.n_mels, self.crop_frames

    def span(self, features: Any) -> int:
        return self.crop_frames
