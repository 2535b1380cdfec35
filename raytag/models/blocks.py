"""Building blocks of the convolutional taggers.

Shapes are written (B, C, F, T): batch, channels, frequency, time. All blocks are free of parameters that depend
on F or T, so a network takes images of any size that survives its pooling.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ConvBlock(nn.Sequential):
    """Twice (3x3 convolution, batch norm, ReLU), then 2x2 average pooling.

    (B, in_channels, F, T) -> (B, out_channels, F // 2, T // 2). Convolutions have no bias and start from
    He's normal initialisation (fan-in, gain sqrt 2).
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
            nn.AvgPool2d(2),
        )
        for module in self:
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)


class SkipBlock(nn.Sequential):
    """Average pooling by ``pool`` (1: none), then a 3x3 convolution without bias, batch norm, ReLU.

    (B, in_channels, F, T) -> (B, out_channels, F // pool, T // pool).
    """

    def __init__(self, in_channels: int, out_channels: int, pool: int = 1) -> None:
        super().__init__(
            nn.AvgPool2d(pool) if pool > 1 else nn.Identity(),
            nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )


class CBAM(nn.Module):
    """Convolutional block attention: which channels matter, then where. (B, C, F, T) -> the same shape.

    Each channel is scaled by ``sigmoid(mlp(mean over F, T) + mlp(maximum over F, T))``, where the two-layer
    ``mlp`` is shared and has ``max(1, C // ratio)`` hidden units; then each position by the sigmoid of a
    ``kernel_size`` x ``kernel_size`` convolution over the mean and the maximum of its channels.

    References
    ----------
    Woo, Park, Lee, Kweon: CBAM: Convolutional block attention module. ECCV 2018.
    """

    def __init__(self, channels: int, ratio: int = 16, kernel_size: int = 7) -> None:
        super().__init__()
        if kernel_size % 2 != 1:
            raise ValueError(f"kernel_size must be odd to keep the image's size, not {kernel_size}")
        hidden = max(1, channels // ratio)
        self.mlp = nn.Sequential(
            nn.Conv2d(channels, hidden, 1, bias=False),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, channels, 1, bias=False),
        )
        self.where = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.mlp(F.adaptive_avg_pool2d(x, 1)) + self.mlp(F.adaptive_max_pool2d(x, 1))
        x = x * torch.sigmoid(pooled)
        maps = torch.cat([x.mean(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)], dim=1)
        return x * torch.sigmoid(self.where(maps))


class Head(nn.Sequential):
    """Global average pooling and a two-layer classifier. (B, in_channels, F, T) -> logits (B, num_classes)."""

    def __init__(self, in_channels: int, hidden: int, num_classes: int, dropout: float) -> None:
        super().__init__(
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(in_channels, hidden),
            nn.PReLU(),
            nn.BatchNorm1d(hidden),
            nn.Dropout(dropout / 2),
            nn.Linear(hidden, num_classes),
        )
