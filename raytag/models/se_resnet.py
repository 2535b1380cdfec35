"""The fields of residual networks with squeeze-and-excitation (`raytag.models.nets.se_resnet`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from raytag import parts
from raytag.space.distributions import Distribution, choice

if TYPE_CHECKING:
    from torch import nn


class SEResNet50(parts.Network):
    """A residual network of 50 layers whose blocks scale their channels."""

    worth_varying: ClassVar[Mapping[str, Distribution]] = {"width": choice([0.5, 0.75, 1.0])}

    width: float = Field(1.0, gt=0)  # multiplier of all channels; 1 is the published network

    def build(self, num_classes: int, channels: int) -> nn.Module:
        from raytag.models.nets import se_resnet

        return se_resnet.SEResNet(num_classes, channels, (3, 4, 6, 3), **self.fields())


class SEResNeXt50_32x4d(SEResNet50):
    """The same with 3x3 convolutions in 32 groups, of 4 channels each in the first stage."""

    def build(self, num_classes: int, channels: int) -> nn.Module:
        from raytag.models.nets import se_resnet

        return se_resnet.SEResNet(num_classes, channels, (3, 4, 6, 3), groups=32, **self.fields())
