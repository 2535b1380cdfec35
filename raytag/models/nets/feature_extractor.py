"""The smallest network of argus-freesound, first place of Freesound Audio Tagging 2019."""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from raytag.batch import Outputs
from raytag.models.blocks.attention import pixels
from raytag.models.blocks.convolution import SkipBlock, check_images
from raytag.models.blocks.fused import batch_norm_relu


class FeatureExtractor(nn.Module):
    """A 1x1 convolution, six 3x3 convolutions that are each followed by maximum pooling, a linear classifier.

    Parameters
    ----------
    num_classes
        Width of the logits.
    channels
        Of the images.
    base_size
        Channels *b* of the first two 3x3 convolutions; the next two have 2b, the last two 4b.
    dropout
        Of whole channels, after every second 3x3 convolution.

    Notes
    -----
    Input (B, channels, bands, frames) float32, at least 64 each way; output logits (B, num_classes).
    """

    def __init__(self, num_classes: int, channels: int, *, base_size: int, dropout: float) -> None:
        super().__init__()
        b = base_size
        self.mix = nn.Conv2d(channels, b, 1, bias=False)
        self.norm = nn.BatchNorm2d(b)
        widths = (b, b, b, 2 * b, 2 * b, 4 * b, 4 * b)
        self.blocks = nn.ModuleList(SkipBlock(i, o) for i, o in pairwise(widths))
        self.dropout = nn.Dropout2d(dropout)
        self.classes = nn.Linear(4 * b, num_classes)

    def forward(self, x: Tensor) -> Outputs:
        check_images(x, halvings=len(self.blocks))
        x = batch_norm_relu(self.mix(x), self.norm)  # (B, b, F, T)
        for i, block in enumerate(self.blocks):
            x = F.max_pool2d(block(x), 2)
            if i % 2 == 1:
                x = self.dropout(x)  # (B, b, F/4, T/4), (B, 2b, F/16, T/16), (B, 4b, F/64, T/64)
        embedding = pixels(x).mean(dim=1)
        return Outputs(self.classes(embedding), embedding=embedding)
