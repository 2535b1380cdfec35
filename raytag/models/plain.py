"""The fields of a plain convolutional network (`raytag.models.nets.plain`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from raytag import parts
from raytag.space.distributions import Distribution, choice, uniform

if TYPE_CHECKING:
    from torch import nn


class PlainConv(parts.Network):
    """Convolutional blocks that halve the image, one after the other, and one classifier."""

    worth_varying: ClassVar[Mapping[str, Distribution]] = {
        "dropout": uniform(0.05, 0.5),
        "blocks": choice([3, 4, 5]),
    }

    base_size: int = Field(32, ge=1)  # channels of the first block; each later one has twice as many
    blocks: int = Field(4, ge=1, le=8)
    dropout: float = Field(0.3, ge=0, lt=1)  # before the classifier's first layer; half of it before the second
    hidden: int = Field(128, ge=1)  # units of the classifier

    def build(self, num_classes: int, channels: int) -> nn.Module:
        from raytag.models.nets import plain

        return plain.PlainConv(num_classes, channels, **self.fields())
