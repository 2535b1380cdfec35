"""The fields of argus-freesound's skip-attention networks (`raytag.models.nets.skip_attention`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from raytag import parts
from raytag.space.distributions import Distribution, uniform

if TYPE_CHECKING:
    from torch import nn


class SkipAttention(parts.Network):
    """Skip connections, attention and one classifier."""

    worth_varying: ClassVar[Mapping[str, Distribution]] = {"dropout": uniform(0.05, 0.5)}

    base_size: int = Field(64, ge=1)  # channels of the first block
    dropout: float = Field(0.4, ge=0, lt=1)  # before a classifier's first layer; half of it before the second
    ratio: int = Field(16, ge=1)  # channel attention: reduction
    kernel_size: Literal[3, 7] = 7  # spatial attention
    last_filters: int = Field(8, ge=1)  # merged channels, in units of base_size
    last_fc: int = Field(4, ge=1)  # hidden units of a classifier, in units of base_size

    def build(self, num_classes: int, channels: int) -> nn.Module:
        from raytag.models.nets import skip_attention

        return skip_attention.SkipAttention(num_classes, channels, **self.fields())


class AuxSkipAttention(SkipAttention):
    """The same with a further classifier on each skip connection."""

    def build(self, num_classes: int, channels: int) -> nn.Module:
        from raytag.models.nets import skip_attention

        return skip_attention.AuxSkipAttention(num_classes, channels, **self.fields())


class RnnAuxSkipAttention(AuxSkipAttention):
    """The same with a recurrent layer that reads the merged features in time, before the main classifier."""

    def build(self, num_classes: int, channels: int) -> nn.Module:
        from raytag.models.nets import skip_attention

        return skip_attention.RnnAuxSkipAttention(num_classes, channels, **self.fields())
