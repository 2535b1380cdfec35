"""The fields of argus-freesound's networks of four blocks (`raytag.models.nets.simple`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from raytag import parts
from raytag.space.distributions import Distribution, choice, uniform

if TYPE_CHECKING:
    from torch import nn


class SimpleKaggle(parts.Network):
    """Four blocks and one classifier on the loudest band of each channel's mean in time."""

    worth_varying: ClassVar[Mapping[str, Distribution]] = {
        "dropout": uniform(0.05, 0.5),
        "base_size": choice([32, 48, 64]),
    }

    base_size: int = Field(64, ge=1)  # channels of the first block; each later one has twice as many
    dropout: float = Field(0.2, ge=0, lt=1)  # before the classifier's first layer; half of it before the second

    def build(self, num_classes: int, channels: int) -> nn.Module:
        from raytag.models.nets import simple

        return simple.SimpleKaggle(num_classes, channels, **self.fields())


class SimpleAttention(SimpleKaggle):
    """Four blocks, attention and one classifier on the mean."""

    ratio: int = Field(16, ge=1)  # channel attention: reduction
    kernel_size: Literal[3, 7] = 7  # spatial attention

    def build(self, num_classes: int, channels: int) -> nn.Module:
        from raytag.models.nets import simple

        return simple.SimpleAttention(num_classes, channels, **self.fields())
