"""Residual networks, as argus-freesound (first place of Freesound Audio Tagging 2019) offers them."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from raytag.batch import Outputs
from raytag.models.blocks.attention import pixels
from raytag.models.blocks.convolution import check_images
from raytag.models.blocks.residual import BasicBlock, Bottleneck, Stem, stages, start_by_fan_out, widened


class ResNet(nn.Module):
    """A strided convolution and maximum pooling, four stages of residual blocks, a linear classifier.

    Parameters
    ----------
    num_classes
        Width of the logits.
    channels
        Of the images.
    depths
        Blocks of each stage.
    bottleneck
        Whether blocks have three convolutions, with the stride on the 3x3 one, not two.
    width
        Multiplier of all channels; with 1 the stages have 64, 128, 256 and 512, and bottlenecks put out four times
        as many.

    Notes
    -----
    Input (B, channels, bands, frames) float32, at least 17 each way; output logits (B, num_classes).

    References
    ----------
    He, Zhang, Ren, Sun: Deep residual learning for image recognition. CVPR 2016.
    """

    def __init__(
        self, num_classes: int, channels: int, depths: Sequence[int], *, bottleneck: bool = False, width: float
    ) -> None:
        super().__init__()
        planes = [widened(n, width) for n in (64, 128, 256, 512)]
        self.stem = Stem(channels, planes[0])
        self.stages = stages(Bottleneck if bottleneck else BasicBlock, planes[0], planes, depths)
        self.classes = nn.Linear((4 if bottleneck else 1) * planes[-1], num_classes)
        start_by_fan_out(self)

    def forward(self, x: Tensor) -> Outputs:
        check_images(x, halvings=5, rounds_up=True)
        x = F.max_pool2d(self.stem(x), 3, 2, padding=1)  # (B, 64, F/4, T/4)
        embedding = pixels(self.stages(x)).mean(dim=1)  # of (B, 512 or 2048, F/32, T/32)
        return Outputs(self.classes(embedding), embedding=embedding)
