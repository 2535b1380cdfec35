"""Residual networks, as argus-freesound offers them, and ex4sperans, whose classifier is another.

First and third place of Freesound Audio Tagging 2019.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from raytag.batch import Outputs
from raytag.models.blocks.attention import pixels
from raytag.models.blocks.convolution import check_images
from raytag.models.blocks.fused import batch_norm
from raytag.models.blocks.heads import NormalisedHead
from raytag.models.blocks.padded import heard, loudest, silenced
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


class CNNBackbone(nn.Module):
    """Batch norm, the layers of `ResNet` with two convolutions a block, the maximum of all, a two-layer classifier.

    Parameters
    ----------
    num_classes, channels, depths, width
        As in `ResNet`.
    dropout
        Before the classifier's last layer.

    Notes
    -----
    Input (B, channels, bands, frames) float32, at least 17 bands, and how many of its frames are sound, int64 (B,);
    output logits (B, num_classes). A clip of fewer than 17 frames is repeated until it has as many. With lengths a
    clip has the logits that it has alone; in training the statistics of batch norms are those of the sound.
    """

    def __init__(
        self, num_classes: int, channels: int, depths: Sequence[int], *, width: float, dropout: float
    ) -> None:
        super().__init__()
        planes = [widened(n, width) for n in (64, 128, 256, 512)]
        self.norm = nn.BatchNorm2d(channels)
        self.stem = Stem(channels, planes[0])
        self.stages = stages(BasicBlock, planes[0], planes, depths)
        self.head = NormalisedHead(planes[-1], num_classes, dropout)
        start_by_fan_out(self)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Outputs:
        check_images(x, halvings=0)  # waveforms are none, and clips of any length are taken
        x, sound = heard(x, lengths, 17)
        check_images(x, halvings=5, rounds_up=True)
        x, sound = batch_norm(x, self.norm, sound), sound.halved(rounds_up=True)
        x = F.max_pool2d(self.stem(x, sound), 3, 2, padding=1)  # behind a ReLU a zero is as good as no pixel
        sound = sound.halved(rounds_up=True)
        x = silenced(x, sound)  # the first pixel of padding has seen the last one of sound
        for i, stage in enumerate(self.stages):
            sound = sound.halved(rounds_up=True) if i > 0 else sound
            for block in stage.children():
                x = block(x, sound)
        embedding = loudest(x, sound)
        return Outputs(self.head(embedding), embedding=embedding)
