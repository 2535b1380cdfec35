"""The fields of residual networks (`raytag.models.nets.resnet`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from raytag import parts
from raytag.space.distributions import Distribution, choice

if TYPE_CHECKING:
    from torch import nn


class Residual(parts.Network):
    """What all residual networks have."""

    worth_varying: ClassVar[Mapping[str, Distribution]] = {"width": choice([0.5, 0.75, 1.0])}

    width: float = Field(1.0, gt=0)  # multiplier of all channels; 1 is the published network


class ResNet18(Residual):
    """A residual network of 18 layers: 2, 2, 2 and 2 blocks of two convolutions."""

    def build(self, num_classes: int, channels: int) -> nn.Module:
        from raytag.models.nets import resnet

        return resnet.ResNet(num_classes, channels, (2, 2, 2, 2), **self.fields())


class ResNet34(Residual):
    """A residual network of 34 layers: 3, 4, 6 and 3 blocks of two convolutions."""

    def build(self, num_classes: int, channels: int) -> nn.Module:
        from raytag.models.nets import resnet

        return resnet.ResNet(num_classes, channels, (3, 4, 6, 3), **self.fields())


class ResNet50(Residual):
    """A residual network of 50 layers: 3, 4, 6 and 3 blocks of three convolutions."""

    def build(self, num_classes: int, channels: int) -> nn.Module:
        from raytag.models.nets import resnet

        return resnet.ResNet(num_classes, channels, (3, 4, 6, 3), bottleneck=True, **self.fields())


class CNNBackbone(Residual):
    """ex4sperans's: the layers of ResNet18 or 34, global maximum pooling and a two-layer classifier."""

    takes_lengths: ClassVar[bool] = True

    backbone: Literal["resnet18", "resnet34"] = "resnet18"
    dropout: float = Field(0.5, ge=0, lt=1)  # before the classifier's last layer

    def build(self, num_classes: int, channels: int) -> nn.Module:
        from raytag.models.nets import resnet

        depths = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3)}[self.backbone]
        return resnet.CNNBackbone(num_classes, channels, depths, width=self.width, dropout=self.dropout)
