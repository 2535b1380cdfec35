"""Residual networks with squeeze-and-excitation of argus-freesound, first place of Freesound Audio Tagging 2019."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from raytag.batch import Outputs
from raytag.models.blocks.attention import pixels
from raytag.models.blocks.convolution import check_images
from raytag.models.blocks.residual import Bottleneck, Stem, stages, widened


class SEResNet(nn.Module):
    """A strided convolution, four stages of residual blocks that scale their channels, a linear classifier.

    The maximum pooling of the published network is left out: spectrograms are smaller than photographs.

    Parameters
    ----------
    num_classes
        Width of the logits.
    channels
        Of the images.
    depths
        Blocks of each stage.
    groups
        Of the 3x3 convolutions. With more than one, a group has 4 channels in the first stage and twice as many in
        each later one, and the 3x3 convolution has the stride, not the first.
    width
        Multiplier of all channels; with 1 the stages put out 256, 512, 1024 and 2048. The number of groups stays.

    Notes
    -----
    Input (B, channels, bands, frames) float32, at least 9 each way; output logits (B, num_classes).

    References
    ----------
    Hu, Shen, Sun: Squeeze-and-excitation networks. CVPR 2018.
    """

    def __init__(
        self, num_classes: int, channels: int, depths: Sequence[int], *, groups: int = 1, width: float
    ) -> None:
        super().__init__()

        def block(in_channels: int, planes: int, stride: int) -> Bottleneck:
            if groups == 1:
                return Bottleneck(in_channels, planes, stride, squeeze=True, early_stride=True)
            middle = groups * max(1, planes * 4 // 64)
            return Bottleneck(in_channels, planes, stride, middle=middle, groups=groups, squeeze=True)

        planes = [widened(n, width) for n in (64, 128, 256, 512)]
        self.stem = Stem(channels, planes[0])
        self.stages = stages(block, planes[0], planes, depths)
        self.classes = nn.Linear(4 * planes[-1], num_classes)

    def forward(self, x: Tensor) -> Outputs:
        check_images(x, halvings=4, rounds_up=True)
        embedding = pixels(self.stages(self.stem(x))).mean(dim=1)  # of (B, 2048, F/16, T/16)
        return Outputs(self.classes(embedding), embedding=embedding)
