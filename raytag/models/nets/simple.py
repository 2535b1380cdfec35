"""Networks of four convolutional blocks of argus-freesound, first place of Freesound Audio Tagging 2019."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from raytag.batch import Outputs
from raytag.models.blocks.attention import CBAM, pixels
from raytag.models.blocks.convolution import ConvBlock, check_images
from raytag.models.blocks.heads import Head


def _blocks(channels: int, base_size: int, bias: bool) -> nn.Sequential:
    """(B, channels, F, T) -> (B, 8b, F // 16, T // 16)."""
    widths = [channels, *(base_size * 2**i for i in range(4))]
    return nn.Sequential(*(ConvBlock(i, o, bias) for i, o in pairwise(widths)))


class SimpleKaggle(nn.Module):
    """Four blocks; the classifier reads the maximum over frequency of the mean over time.

    The network of a public kernel of the competition. Its convolutions have biases although the batch norms behind
    them take them away again: they are kept so that its weights fit.

    Parameters
    ----------
    num_classes
        Width of the logits.
    channels
        Of the images.
    base_size
        Channels *b* of the first block; the later ones have 2b, 4b and 8b. The classifier has 2b hidden units.
    dropout
        Before the classifier's first layer; half of it before the second.

    Notes
    -----
    Input (B, channels, bands, frames) float32, at least 16 each way; output logits (B, num_classes).
    """

    def __init__(self, num_classes: int, channels: int, *, base_size: int, dropout: float) -> None:
        super().__init__()
        self.blocks = _blocks(channels, base_size, bias=True)
        self.head = Head(8 * base_size, 2 * base_size, num_classes, dropout)

    def forward(self, x: Tensor) -> Outputs:
        check_images(x, halvings=len(self.blocks))
        embedding = self.blocks(x).mean(dim=3).amax(dim=2)  # (B, 8b)
        return Outputs(self.head.layers(embedding), embedding=embedding)


class SimpleAttention(nn.Module):
    """Four blocks and attention; the classifier reads the mean.

    Parameters
    ----------
    num_classes, channels, base_size, dropout
        As in `SimpleKaggle`.
    ratio
        Reduction of the channel attention's hidden layer.
    kernel_size
        Of the spatial attention: 3 or 7.

    Notes
    -----
    Input (B, channels, bands, frames) float32, at least 16 each way; output logits (B, num_classes).
    """

    def __init__(
        self, num_classes: int, channels: int, *, base_size: int, dropout: float, ratio: int, kernel_size: int
    ) -> None:
        super().__init__()
        self.blocks = _blocks(channels, base_size, bias=False)
        self.attention = CBAM(8 * base_size, ratio, kernel_size)
        self.head = Head(8 * base_size, 2 * base_size, num_classes, dropout)

    def forward(self, x: Tensor) -> Outputs:
        check_images(x, halvings=len(self.blocks))
        embedding = pixels(self.attention(self.blocks(x))).mean(dim=1)  # (B, 8b)
        return Outputs(self.head.layers(embedding), embedding=embedding)
