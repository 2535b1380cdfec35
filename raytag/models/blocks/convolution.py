"""Convolutions with batch norm, ReLU and pooling."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from raytag.models.blocks.fused import batch_norm_relu


def check_images(x: Tensor, halvings: int, rounds_up: bool = False) -> None:
    """Refuse what a network cannot take that halves its images so often; ``ValueError`` says what it needs.

    Strided convolutions with padding make (n + 1) // 2 of n where pooling makes n // 2 (``rounds_up``). They would
    take any size; but of what is one pixel before it is halved last, later layers would see padding only.
    """
    if x.ndim != 4:
        raise ValueError(
            "this network takes images, and gets waveforms: set front_end.name=Mel or STFT, which make some of them"
        )
    smallest = 2 ** (halvings - 1) + 1 if rounds_up else 2**halvings
    if min(x.shape[-2:]) < smallest:
        raise ValueError(
            f"images are {x.shape[-2]} bands x {x.shape[-1]} frames; this network halves them {halvings} times and "
            f"needs at least {smallest} of each"
        )


class ConvBlock(nn.Module):
    """Twice (3x3 convolution, batch norm, ReLU), then 2x2 average pooling.

    (B, in_channels, F, T) -> (B, out_channels, F // 2, T // 2). Convolutions start from He's normal initialisation
    (fan-in, gain sqrt 2), and have no bias unless ``bias`` asks for one, which starts at 0.
    """

    def __init__(self, in_channels: int, out_channels: int, bias: bool = False) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=bias)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=bias)
        self.norm2 = nn.BatchNorm2d(out_channels)
        for conv in (self.conv1, self.conv2):
            nn.init.kaiming_normal_(conv.weight)
            if conv.bias is not None:
                nn.init.zeros_(conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = batch_norm_relu(self.conv1(x), self.norm1)
        return batch_norm_relu(self.conv2(x), self.norm2, pool=2)


class Pixelwise(nn.Conv2d):
    """A 1x1 convolution: (B, in_channels, F, T) -> (B, out_channels, F, T).

    On a CPU a matrix product of all pixels, where torch's convolution copies small batches to another layout.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        pixels = x.permute(0, 2, 3, 1)
        if x.device.type != "cpu" or not pixels.is_contiguous():
            return super().forward(x)
        return F.linear(pixels, self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)


class SkipBlock(nn.Module):
    """Average pooling by ``pool`` (1: none), then a 3x3 convolution without bias, batch norm, ReLU.

    (B, in_channels, F, T) -> (B, out_channels, F // pool, T // pool).
    """

    def __init__(self, in_channels: int, out_channels: int, pool: int = 1) -> None:
        super().__init__()
        self.pool = pool
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        if self.pool > 1:
            x = F.avg_pool2d(x, self.pool)
        return batch_norm_relu(self.conv(x), self.norm)
