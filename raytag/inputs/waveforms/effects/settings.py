"""The fields of effects on waveforms, for any input of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from raytag import parts
from raytag.space.distributions import Distribution, uniform


class WithEffects(parts.Input):
    """An input that changes waveforms in training; ``…_prob`` are the probabilities, each drawn for a sample.

    Nothing but what is asked for is done: all of them are 0. `raytag.inputs.waveforms.effects` explains the rest.
    """

    worth_varying: ClassVar[Mapping[str, Distribution]] = {"effects_prob": uniform(0.3, 0.9)}

    # reverb, pitch, overdrive, speed: together, in this order (ex4sperans: 0.75)
    effects_prob: float = Field(0.0, ge=0, le=1)
    reverb_most: int | None = Field(49, ge=0, le=100)
    # %: reverberance and room scale are whole numbers uniform in [0, this]; None: no reverb
    pitch_cents: float = Field(300.0, ge=0, le=2400)  # up or down by up to this; 0: no shift
    overdrive_db: tuple[int, int] | None = (2, 9)  # the gain, a whole number between these; None: no overdrive
    speed_share: float = Field(0.1, ge=0, le=0.5)  # the rate is uniform in 1 ± this; 0: as it is
    speed_by: Literal["speed", "tempo"] = "speed"  # as a tape (pitch and length), or the length alone

    # each by itself; the first four before another sample is mixed in, the others after the four effects
    segment_prob: float = Field(0.0, ge=0, le=1)  # only a part is kept
    segment_shares: tuple[float, float] = (0.3, 0.9)  # of its length, between these
    reverse_prob: float = Field(0.0, ge=0, le=1)  # backwards
    chunks_prob: float = Field(0.0, ge=0, le=1)  # pieces in another order (ex4sperans: 0.5)
    chunk_seconds: float = Field(0.5, gt=0)  # s, about so long
    silence_prob: float = Field(0.0, ge=0, le=1)  # a part is replaced by silence
    silence_share: float = Field(0.25, gt=0, lt=1)  # of its length
    shift_prob: float = Field(0.0, ge=0, le=1)  # later by any time, what leaves at the end begins it
    envelope_prob: float = Field(0.0, ge=0, le=1)  # louder here, quieter there
    envelope_db: float = Field(6.0, gt=0, le=60)  # dB, by up to this
    noise_prob: float = Field(0.0, ge=0, le=1)  # white noise is added
    noise_db: tuple[float, float] = (10.0, 40.0)  # the signal-to-noise ratio, between these

    @model_validator(mode="after")
    def _check_ranges(self) -> Self:
        limits = {"overdrive_db": (0, 60), "segment_shares": (0.0, 1.0), "noise_db": (-60.0, 120.0)}
        for name, (least, most) in limits.items():
            low, high = getattr(self, name) or (least, most)
            if not least <= low <= high <= most:
                raise ValueError(f"{name} must be two numbers of [{least:g}, {most:g}], the lower one first")
        return self

    def most_frames(self, frames: int) -> int:
        """Samples that so many may become."""
        return math.ceil(frames / (1 - self.speed_share)) if self.effects_prob > 0 else frames

    def without_effects(self) -> Self:
        """A copy whose samples are clips and crops of them as they are."""
        return self.model_copy(update={name: 0.0 for name in type(self).model_fields if name.endswith("_prob")})
