"""The fields of this input."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from raytag.batch import Pooling
from raytag.inputs.tiling import TiledInput
from raytag.space.distributions import Distribution, uniform


class WaveformCrops(TiledInput):
    """Crops of waveforms, as (samples,): a front end or the network makes something of them.

    In training a random crop, as loud as it is or less; a second one of the same source may be added.
    """

    reads: ClassVar[str] = "Waveforms"
    feed: ClassVar[str] = "raytag.inputs.waveforms.feed:WaveformFeed"
    sizes: ClassVar[tuple[str, ...]] = ("input.crop_seconds",)
    worth_varying: ClassVar[Mapping[str, Distribution]] = {
        "mix_prob": uniform(0.2, 0.9),
        "add_max_alpha": uniform(0.2, 0.5),
        "quieter_db": uniform(0.0, 12.0),
    }

    crop_seconds: float = Field(2.0, gt=0)  # s; also the length of prediction tiles
    tile_seconds: float | None = Field(None, gt=0)  # s between prediction tiles; None: half of crop_seconds
    test_tile_seconds: float | None = Field(None, gt=0)  # s between those of test clips; None: as tile_seconds
    wrap_pad_prob: float = Field(0.5, ge=0, le=1)  # short clips: repeat the clip, else pad with silence
    quieter_db: float = Field(6.0, ge=0)  # a training sample is made quieter by up to this, uniform in dB
    mix_prob: float = Field(0.5, ge=0, le=1)  # of adding another sample
    add_max_alpha: float = Field(0.5, ge=0, le=1)  # the other sample's weight is uniform in [0, this]
    pooling: Pooling = "mean"  # of the probabilities of a clip's tiles

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in ("tile_seconds", "test_tile_seconds"):
            if (getattr(self, name) or 0) > self.crop_seconds:
                raise ValueError(
                    f"{name} {getattr(self, name):g} is above crop_seconds {self.crop_seconds:g}: sound between "
                    "prediction tiles would be lost"
                )
        return self

    def span(self, features: Any) -> int:
        return max(1, round(self.crop_seconds * features.sample_rate))

    def shape(self, features: Any) -> tuple[int, ...]:
        return (self.span(features),)

    def step(self, features: Any) -> int:
        """Samples between the starts of prediction tiles."""
        seconds = self.test_tile_seconds if self._for_test else None
        seconds = seconds or self.tile_seconds or self.crop_seconds / 2
        return max(1, min(round(seconds * features.sample_rate), self.span(features)))
