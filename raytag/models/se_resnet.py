"""The fields of residual networks with squeeze-and-excitation (`raytag.models.nets.se_resnet`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raytag.models.resnet import Residual

if TYPE_CHECKING:
    from torch import nn


class SEResNet50(Residual):
    """A residual network of 50 layers whose blocks scale their channels."""

    def build(self, num_classes: int, channels: int) -> nn.Module:
        from raytag.models.nets import se_resnet

        return se_resnet.SEResNet(num_classes, channels, (3, 4, 6, 3), **self.fields())


class SEResNeXt50_32x4d(Residual):
    """The same with 3x3 convolutions in 32 groups, of 4 channels each in the first stage."""

    def build(self, num_classes: int, channels: int) -> nn.Module:
        from raytag.models.nets import se_resnet

        return se_resnet.SEResNet(num_classes, channels, (3, 4, 6, 3), groups=32, **self.fields())
