"""Attention over channels and positions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def pixels(x: Tensor) -> Tensor:
    """(B, C, F, T) -> (B, F * T, C), a view if the layout is channels last.

    Reductions and broadcasts over the three dimensions keep that layout in the backward pass as well, where
    their four-dimensional twins return contiguous gradients, which are slow to add to channels-last ones.
    """
    return x.permute(0, 2, 3, 1).flatten(1, 2)


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
        self.squeeze = nn.Conv2d(channels, hidden, 1, bias=False)
        self.excite = nn.Conv2d(hidden, channels, 1, bias=False)
        self.where = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False)

    def mlp(self, x: Tensor) -> Tensor:
        """The 1x1 convolutions on single pixels: (B, C) -> (B, C)."""
        return F.linear(F.relu(F.linear(x, self.squeeze.weight.flatten(1))), self.excite.weight.flatten(1))

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[2:]
        x = pixels(x)  # (B, P, C)
        gate = torch.sigmoid(self.mlp(x.mean(dim=1)) + self.mlp(x.max(dim=1).values))
        x = x * gate[:, None, :]
        maps = torch.cat([x.mean(dim=2, keepdim=True), x.max(dim=2, keepdim=True).values], dim=2)  # (B, P, 2)
        gate = torch.sigmoid(self.where(maps.unflatten(1, size).permute(0, 3, 1, 2)))  # (B, 1, F, T)
        x = x * gate.flatten(1)[:, :, None]
        return x.unflatten(1, size).permute(0, 3, 1, 2)
