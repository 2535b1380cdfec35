"""Skip-attention networks of argus-freesound, first place of Freesound Audio Tagging 2019.

Four convolutional blocks halve the image; the outputs of the first three, pooled to the size of the last, skip
ahead and are stacked beside it. Attention weighs the stack, a convolution merges it, a small classifier reads
its average. ``AuxSkipAttention`` also classifies each skip connection alone, in training and in prediction;
``RnnAuxSkipAttention`` lets a recurrent layer read the merged features before they are averaged.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from raytag.batch import Outputs
from raytag.models.blocks.attention import CBAM
from raytag.models.blocks.convolution import ConvBlock, SkipBlock, check_images
from raytag.models.blocks.heads import Head


class SkipAttention(nn.Module):
    """Skip connections, attention and one classifier.

    Parameters
    ----------
    num_classes
        Width of the logits.
    channels
        Of the images.
    base_size
        Channels *b* of the first block; the later ones have 2b, 4b and 8b.
    dropout
        Before the classifier's first layer; half of it before the second.
    ratio
        Reduction of the channel attention's hidden layer.
    kernel_size
        Of the spatial attention: 3 or 7.
    last_filters
        Channels of the merged features, in units of ``base_size``.
    last_fc
        Hidden units of a classifier, in units of ``base_size``.

    Notes
    -----
    Input (B, channels, bands, frames) float32, at least 16 each way; output logits (B, num_classes). Pooling
    ignores the rows and columns beyond the last multiple of 16.
    """

    def __init__(
        self,
        num_classes: int,
        channels: int,
        *,
        base_size: int,
        dropout: float,
        ratio: int,
        kernel_size: int,
        last_filters: int,
        last_fc: int,
    ) -> None:
        super().__init__()
        b, wide = base_size, 8 * base_size
        self.conv1 = ConvBlock(channels, b)
        self.skip1 = SkipBlock(b, wide, pool=8)
        self.conv2 = ConvBlock(b, 2 * b)
        self.skip2 = SkipBlock(2 * b, wide, pool=4)
        self.conv3 = ConvBlock(2 * b, 4 * b)
        self.skip3 = SkipBlock(4 * b, wide, pool=2)
        self.conv4 = ConvBlock(4 * b, wide)
        self.attention = CBAM(4 * wide, ratio, kernel_size)
        self.merge = SkipBlock(4 * wide, b * last_filters)
        self.head = Head(b * last_filters, b * last_fc, num_classes, dropout)

    def features(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Merged features (B, b * last_filters, F/16, T/16) and skip connections 1-3 (B, 8b, F/16, T/16)."""
        check_images(x, halvings=4)
        skips = []
        for conv, skip in ((self.conv1, self.skip1), (self.conv2, self.skip2), (self.conv3, self.skip3)):
            x = conv(x)  # (B, b, F/2, T/2), (B, 2b, F/4, T/4), (B, 4b, F/8, T/8)
            skips.append(skip(x))  # (B, 8b, F/16, T/16)
        x = torch.cat([self.conv4(x), *skips], dim=1)  # (B, 32b, F/16, T/16)
        return self.merge(self.attention(x)), skips

    def forward(self, x: Tensor) -> Outputs:
        merged, _ = self.features(x)
        return Outputs(self.head(merged))


class AuxSkipAttention(SkipAttention):
    """`SkipAttention` with a further classifier on each skip connection; parameters as there.

    Input (B, channels, bands, frames) float32; the auxiliary outputs are those on skip connections 3, 2 and 1, deep
    to shallow.
    """

    def __init__(
        self, num_classes: int, channels: int, *, base_size: int, dropout: float, last_fc: int, **fields: int
    ) -> None:
        super().__init__(num_classes, channels, base_size=base_size, dropout=dropout, last_fc=last_fc, **fields)
        self.aux1, self.aux2, self.aux3 = (
            Head(8 * base_size, base_size * last_fc, num_classes, dropout) for _ in range(3)
        )

    def forward(self, x: Tensor) -> Outputs:
        merged, (skip1, skip2, skip3) = self.features(x)
        return Outputs(self.head(merged), (self.aux3(skip3), self.aux2(skip2), self.aux1(skip1)))


class RnnAuxSkipAttention(AuxSkipAttention):
    """`AuxSkipAttention` whose main classifier hears the order of sounds; parameters as there.

    The merged features are averaged over frequency; a bidirectional LSTM reads them in time, with as many units a
    direction as there are channels, *m* = ``base_size * last_filters``; a linear layer maps each step back to m
    values, and the mean over time is classified. The auxiliary classifiers stay as they are.

    References
    ----------
    Hochreiter, Schmidhuber: Long short-term memory. Neural Computation 9(8), 1997.
    """

    def __init__(
        self, num_classes: int, channels: int, *, base_size: int, last_filters: int, **fields: Any
    ) -> None:
        super().__init__(num_classes, channels, base_size=base_size, last_filters=last_filters, **fields)
        merged = base_size * last_filters
        self.lstm = nn.LSTM(merged, merged, batch_first=True, bidirectional=True)
        self.back = nn.Linear(2 * merged, merged)

    def forward(self, x: Tensor) -> Outputs:
        merged, (skip1, skip2, skip3) = self.features(x)
        steps = merged.mean(dim=2).transpose(1, 2)  # (B, T/16, m)
        embedding = self.back(self.lstm(steps)[0]).mean(dim=1)  # (B, m)
        aux = self.aux3(skip3), self.aux2(skip2), self.aux1(skip1)
        return Outputs(self.head.layers(embedding), aux, embedding=embedding)
