"""The fields of the input of whole waveforms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from raytag.batch import Pooling
from raytag.inputs.waveforms.effects.settings import WithEffects
from raytag.space.distributions import Distribution, uniform


class WholeWaveforms(WithEffects):
    """Whole clips as (samples,), padded with zeros to the longest of their batch, with their lengths.

    In training a clip of more than ``max_seconds`` is cropped to that; another one of the same source may be mixed
    in, whose labels the sample then carries too. Predicted are whole clips.

    What a network makes of a clip may depend on the other clips of its batch, in the last bits. Clips of similar
    length share one, in an order that is a function of the clips alone (`raytag.predict`): the same clips in the
    same order always get the same bits, others beside them may not.
    """

    reads: ClassVar[str] = "Waveforms"
    feed: ClassVar[str] = "raytag.inputs.waveforms.whole_feed:WholeFeed"
    sizes: ClassVar[tuple[str, ...]] = ("input.max_seconds",)
    pads: ClassVar[bool] = True
    worth_varying: ClassVar[Mapping[str, Distribution]] = {
        **WithEffects.worth_varying,
        "mix_prob": uniform(0.2, 0.8),
        "max_seconds": uniform(8.0, 15.0),
    }

    max_seconds: float = Field(15.0, gt=0)  # s; of training samples, before they are slowed down
    mix_prob: float = Field(0.0, ge=0, le=1)  # of mixing another clip in
    overlap: Literal["add", "replace"] = "add"
    # what a shorter clip does where it meets a longer one. replace: it takes that place, and clips of equal length
    # are averaged (ex4sperans' fault, kept for fidelity)
    plain_share: float = Field(0.0, ge=0, lt=1)  # of the epochs, the last ones: crops alone, nothing else is done
    whole_seconds: float = Field(30.0, gt=0)
    # s; clips up to this are predicted in one piece, longer ones in tiles of this, whose probabilities are pooled
    batch_seconds: float = Field(300.0, gt=0)  # s, padding included: of a prediction batch, but for a single tile
    pooling: Pooling = "mean"  # of the probabilities of a clip's tiles

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.batch_seconds < self.whole_seconds:
            raise ValueError(
                f"batch_seconds {self.batch_seconds:g} is below whole_seconds {self.whole_seconds:g}: a prediction "
                "batch has to hold a tile"
            )
        return self

    def span(self, features: Any) -> int:
        return max(1, round(self.max_seconds * features.sample_rate))

    def shape(self, features: Any) -> tuple[int, ...]:
        return (self.most_frames(self.span(features)),)

    @property
    def open_ended(self) -> bool:
        return self.plain_share == 0

    def in_epoch(self, epoch: int, epochs: int) -> Self:
        plain = epoch >= round(epochs * (1 - self.plain_share))
        return self.without_effects() if plain else self
