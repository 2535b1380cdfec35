"""argus-freesound's network without its attention, and without its skip connections: for ``_hallmarks.py``."""

import torch
from torch import Tensor, nn

from raytag.models.blocks.attention import CBAM
from raytag.models.blocks.convolution import SkipBlock, check_images
from raytag.models.nets import skip_attention
from raytag.models.skip_attention import AuxSkipAttention


class NoAttention(AuxSkipAttention):
    """The stacked features are merged as they are."""

    def build(self, num_classes: int, channels: int) -> nn.Module:
        network = super().build(num_classes, channels)
        network.attention = nn.Identity()
        return network


class NoSkips(AuxSkipAttention):
    """The main classifier reads the last block alone; the auxiliary ones read theirs as before."""

    def build(self, num_classes: int, channels: int) -> nn.Module:
        return _NoSkips(num_classes, channels, **self.fields())


class _NoSkips(skip_attention.AuxSkipAttention):
    def __init__(
        self, num_classes: int, channels: int, *, base_size: int, ratio: int, kernel_size: int, **fields: int
    ) -> None:
        super().__init__(num_classes, channels, base_size=base_size, ratio=ratio, kernel_size=kernel_size, **fields)
        self.attention = CBAM(8 * base_size, ratio, kernel_size)
        self.merge = SkipBlock(8 * base_size, base_size * fields["last_filters"])

    def features(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        check_images(x, halvings=4)
        skips: list[torch.Tensor] = []
        for conv, skip in ((self.conv1, self.skip1), (self.conv2, self.skip2), (self.conv3, self.skip3)):
            x = conv(x)
            skips.append(skip(x))
        return self.merge(self.attention(self.conv4(x))), skips
