"""A plain convolutional network: the least that tags sound well, and what others are compared to."""

from __future__ import annotations

from torch import Tensor, nn

from raytag.batch import Outputs
from raytag.models.blocks.attention import pixels
from raytag.models.blocks.convolution import ConvBlock, check_images
from raytag.models.blocks.heads import Head


class PlainConv(nn.Module):
    """Blocks of two convolutions that halve the image; a classifier reads the average of what is left.

    Parameters
    ----------
    num_classes
        Width of the logits.
    channels
        Of the images.
    base_size
        Channels *b* of the first block; the later ones have 2b, 4b, …
    blocks
        Their number.
    dropout
        Before the classifier's first layer; half of it before the second.
    hidden
        Units of the classifier.

    Notes
    -----
    Input (B, channels, bands, frames) float32, at least 2^blocks each way; output logits (B, num_classes).
    """

    def __init__(
        self, num_classes: int, channels: int, *, base_size: int, blocks: int, dropout: float, hidden: int
    ) -> None:
        super().__init__()
        widths = [channels, *(base_size * 2**i for i in range(blocks))]
        self.blocks = nn.Sequential(*map(ConvBlock, widths, widths[1:]))
        self.head = Head(widths[-1], hidden, num_classes, dropout)

    def forward(self, x: Tensor) -> Outputs:
        check_images(x, halvings=len(self.blocks))
        features = self.blocks(x)  # (B, wide, bands / 2^blocks, frames / 2^blocks)
        embedding = pixels(features).mean(dim=1)
        return Outputs(self.head.layers(embedding), embedding=embedding)
