"""The fields of argus-freesound's smallest network (`raytag.models.nets.feature_extractor`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from raytag import parts
from raytag.space.distributions import Distribution, choice, uniform

if TYPE_CHECKING:
    from torch import nn


class FeatureExtractor(parts.Network):
    """Six 3x3 convolutions, each followed by maximum pooling, and a linear classifier."""

    worth_varying: ClassVar[Mapping[str, Distribution]] = {
        "dropout": uniform(0.05, 0.4),
        "base_size": choice([16, 32, 64]),
    }
    tried_on: ClassVar[tuple[tuple[int, ...], ...]] = ((64, 96), (64, 71), (128, 256))  # it halves six times

    base_size: int = Field(32, ge=1)  # channels of the first convolutions; the last have four times as many
    dropout: float = Field(0.25, ge=0, lt=1)  # of whole channels, after every second convolution

    def build(self, num_classes: int, channels: int) -> nn.Module:
        from raytag.models.nets import feature_extractor

        return feature_extractor.FeatureExtractor(num_classes, channels, **self.fields())
