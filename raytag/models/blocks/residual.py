"""Residual blocks, with and without squeeze-and-excitation, and the stages that are made of them.

`stages` stacks blocks as all these networks do; what stands before them and what reads them differs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raytag.models.blocks.attention import pixels
from raytag.models.blocks.fused import batch_norm, batch_norm_relu
from raytag.models.blocks.padded import Sound

#: Of fewer input channels than a processor's vector holds, torch's strided 1x1 convolution on a CPU writes beyond
#: its buffers in the backward pass: gradients are wrong, or the process dies (uxlfoundation/oneDNN, issue 6035).
_VECTOR = 16


class SqueezeExcitation(nn.Module):
    """Each channel is scaled by what a two-layer network makes of the means of all. (B, C, F, T) -> the same shape.

    The hidden layer has ``max(1, C // ratio)`` units; both layers have biases.

    References
    ----------
    Hu, Shen, Sun: Squeeze-and-excitation networks. CVPR 2018.
    """

    def __init__(self, channels: int, ratio: int = 16) -> None:
        super().__init__()
        hidden = max(1, channels // ratio)
        # 1x1 convolutions, as published weights have them; on single pixels they are linear layers
        self.squeeze = nn.Conv2d(channels, hidden, 1)
        self.excite = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[2:]
        x = pixels(x)  # (B, P, C)
        hidden = F.relu(F.linear(x.mean(dim=1), self.squeeze.weight.flatten(1), self.squeeze.bias))
        gate = torch.sigmoid(F.linear(hidden, self.excite.weight.flatten(1), self.excite.bias))  # (B, C)
        return (x * gate[:, None, :]).unflatten(1, size).permute(0, 3, 1, 2)


class Pointwise(nn.Conv2d):
    """A 1x1 convolution without bias: (B, in_channels, F, T) -> (B, channels, F/s, T/s)."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__(in_channels, channels, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.in_channels >= _VECTOR:
            return super().forward(x)
        return F.conv2d(x[:, :, :: self.stride[0], :: self.stride[1]], self.weight)


class Shortcut(nn.Module):
    """A strided 1x1 convolution without bias and batch norm: (B, in_channels, F, T) -> (B, channels, F/s, T/s)."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv = Pointwise(in_channels, channels, stride)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor, sound: Sound | None = None) -> Tensor:
        x = self.conv(x)
        return self.norm(x) if sound is None else batch_norm(x, self.norm, sound)


def _shortcut(in_channels: int, channels: int, stride: int) -> nn.Module:
    """What makes a block's input as large as its output; nothing where it is."""
    return nn.Identity() if (in_channels, stride) == (channels, 1) else Shortcut(in_channels, channels, stride)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions whose result is added to their input. (B, in_channels, F, T) -> (B, planes, F/s, T/s).

    Of a padded batch it takes which of the frames that it puts out are sound, and puts out zeros for the others.

    References
    ----------
    He, Zhang, Ren, Sun: Deep residual learning for image recognition. CVPR 2016.
    """

    def __init__(self, in_channels: int, planes: int, stride: int = 1) -> None:
        super().__init__()
        self.channels = planes
        self.conv1 = nn.Conv2d(in_channels, planes, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(planes)
        self.shortcut = _shortcut(in_channels, planes, stride)

    def forward(self, x: Tensor, sound: Sound | None = None) -> Tensor:
        skipped = self.shortcut(x, sound) if isinstance(self.shortcut, Shortcut) else x
        y = self.conv2(batch_norm(self.conv1(x), self.norm1, sound, slopes=0.0))
        if sound is None:
            return F.relu(self.norm2(y) + skipped)
        return batch_norm(y, self.norm2, sound, slopes=0.0, residual=skipped)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions, added to their input. (B, in_channels, F, T) -> (B, 4 planes, F/s, T/s).

    Parameters
    ----------
    in_channels
        Of the input.
    planes
        A quarter of the output's channels.
    stride
        *s*, of the 3x3 convolution.
    middle
        Channels of the 3x3 convolution; None is ``planes``.
    groups
        Into which the channels of the 3x3 convolution are divided; with more than one this is a block of ResNeXt.
    squeeze
        Whether squeeze-and-excitation scales the channels before the sum.
    early_stride
        The first convolution has the stride, not the second: so it was published, and so squeeze-and-excitation
        networks without groups have kept it.

    References
    ----------
    He, Zhang, Ren, Sun: Deep residual learning for image recognition. CVPR 2016. Xie, Girshick, Dollár, Tu, He:
    Aggregated residual transformations for deep neural networks. CVPR 2017.
    """

    def __init__(
        self,
        in_channels: int,
        planes: int,
        stride: int = 1,
        *,
        middle: int | None = None,
        groups: int = 1,
        squeeze: bool = False,
        early_stride: bool = False,
    ) -> None:
        super().__init__()
        self.channels = 4 * planes
        middle = planes if middle is None else middle
        first, second = (stride, 1) if early_stride else (1, stride)
        self.conv1 = Pointwise(in_channels, middle, first)
        self.norm1 = nn.BatchNorm2d(middle)
        self.conv2 = nn.Conv2d(middle, middle, 3, second, padding=1, groups=groups, bias=False)
        self.norm2 = nn.BatchNorm2d(middle)
        self.conv3 = nn.Conv2d(middle, self.channels, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(self.channels)
        self.squeeze = SqueezeExcitation(self.channels) if squeeze else nn.Identity()
        self.shortcut = _shortcut(in_channels, self.channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = batch_norm_relu(self.conv1(x), self.norm1)
        y = batch_norm_relu(self.conv2(y), self.norm2)
        return F.relu(self.squeeze(self.norm3(self.conv3(y))) + self.shortcut(x))


class Stem(nn.Module):
    """A 7x7 convolution of stride 2 without bias, batch norm, ReLU.

    (B, in_channels, F, T) -> (B, channels, F/2, T/2); ``sound`` as in `BasicBlock`.
    """

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, 7, 2, padding=3, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor, sound: Sound | None = None) -> Tensor:
        return batch_norm(self.conv(x), self.norm, sound, slopes=0.0)


def widened(channels: int, width: float) -> int:
    """A published number of channels times a multiplier, at least 1."""
    return max(1, round(channels * width))


def stages(
    block: Callable[[int, int, int], BasicBlock | Bottleneck],
    in_channels: int,
    planes: Sequence[int],
    depths: Sequence[int],
) -> nn.Sequential:
    """Stages of blocks, one with each of ``planes``; all but the first halve the image, rounding up.

    Parameters
    ----------
    block
        (channels of the input, planes, stride) -> a block, which says how many channels it makes (``channels``).
    in_channels
        Of the input.
    planes, depths
        Of each stage: what its blocks are told, and their number.
    """
    found = []
    for i, (wide, depth) in enumerate(zip(planes, depths, strict=True)):
        blocks = []
        for j in range(depth):
            blocks.append(block(in_channels, wide, 2 if i > 0 and j == 0 else 1))
            in_channels = blocks[-1].channels
        found.append(nn.Sequential(*blocks))
    return nn.Sequential(*found)


def start_by_fan_out(net: nn.Module) -> None:
    """He's normal initialisation (fan-out, gain sqrt 2) of all convolutions."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
