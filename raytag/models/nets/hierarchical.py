"""Networks of ex4sperans, third place of Freesound Audio Tagging 2019, that classify the features of all blocks."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from raytag.batch import Outputs
from raytag.models.blocks.convolution import Pixelwise, check_images
from raytag.models.blocks.fused import batch_norm, max_pool
from raytag.models.blocks.heads import NormalisedHead
from raytag.models.blocks.padded import Sound, heard, loudest

#: Units of a recurrent layer, in each direction.
UNITS = 128


class Activation(nn.Module):
    """Batch norm, then a PReLU with a slope for each channel: (B, C, F, T) -> the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm, self.slopes = nn.BatchNorm2d(channels), nn.PReLU(channels)

    def forward(self, x: Tensor, sound: Sound) -> Tensor:
        return batch_norm(x, self.norm, sound, self.slopes.weight)


class ResidualBlock(nn.Module):
    """1x1, ``kernel`` and 1x1 convolutions, added to their input; all as wide as it. (B, C, F, T) -> the same."""

    def __init__(self, channels: int, kernel: tuple[int, int]) -> None:
        super().__init__()
        self.conv1, self.act1 = Pixelwise(channels, channels), Activation(channels)
        self.conv2 = nn.Conv2d(channels, channels, kernel, padding=(kernel[0] // 2, 1))
        self.act2 = Activation(channels)
        self.conv3, self.norm3 = Pixelwise(channels, channels), nn.BatchNorm2d(channels)
        self.slopes = nn.PReLU(channels)

    def forward(self, x: Tensor, sound: Sound) -> Tensor:
        y = self.act1(self.conv1(x), sound)
        y = self.act2(self.conv2(y), sound)
        return batch_norm(self.conv3(y), self.norm3, sound, self.slopes.weight, residual=x)


class Block(nn.Module):
    """Batch norm, convolution and maximum pooling, then a residual block.

    (B, in_channels, F, T) -> (B, channels, F // 2, T // 2); where ``kernel`` is one band high, F stays.
    """

    def __init__(self, in_channels: int, channels: int, kernel: tuple[int, int]) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(in_channels)
        self.conv = nn.Conv2d(in_channels, channels, kernel, padding=(kernel[0] // 2, 1))
        self.high = 2 if kernel[0] > 1 else 1
        self.act = Activation(channels)
        self.residual = ResidualBlock(channels, kernel)

    def forward(self, x: Tensor, sound: Sound) -> tuple[Tensor, Sound]:
        x, sound = self.conv(batch_norm(x, self.norm, sound)), sound.halved()
        x = max_pool(x, self.high, sound)  # of an odd number of frames the last is left out
        return self.residual(self.act(x, sound), sound), sound


class Recurrent(nn.Module):
    """What a bidirectional GRU knows at the ends of a clip: (B, C, F, T) -> (B, 2 * `UNITS`).

    It reads means over frequency, which layer norm has made alike.

    References
    ----------
    Cho et al.: Learning phrase representations using RNN encoder-decoder. EMNLP 2014.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.gru = nn.GRU(channels, UNITS, batch_first=True, bidirectional=True)

    def forward(self, x: Tensor, sound: Sound) -> Tensor:
        steps = self.norm(x.mean(dim=2).transpose(1, 2))  # (B, T, C)
        if sound.lengths is not None:
            steps = pack_padded_sequence(steps, sound.lengths.cpu(), batch_first=True, enforce_sorted=False)
        last: Tensor = self.gru(steps)[1]  # (2, B, units)
        return last.transpose(0, 1).flatten(1)


class HierarchicalCNN(nn.Module):
    """Blocks that halve what they get; a classifier reads the features of several of them.

    Parameters
    ----------
    num_classes
        Width of the logits.
    channels
        Of the images; where the network is flat, times their bands.
    flat
        Whether it hears in one dimension: it convolves and pools in time alone, and each band is a channel.
    blocks
        Their number.
    base_size, growth
        Block k, counted from 0, has ``int(base_size * growth**k)`` channels.
    first_read
        Number of the first block whose features are classified.
    aggregation
        How these are read: ``"max"``, global maximum pooling; ``"rnn"``, `Recurrent`.
    dropout
        Before the classifier's last layer.

    Notes
    -----
    Input (B, channels, bands, frames) float32, of at least 2^blocks bands where the network is not flat, and how
    many of its frames are sound, int64 (B,); output logits (B, num_classes). A clip of fewer than 2^blocks frames
    is repeated until it has as many. With lengths a clip has the logits that it has alone; in training the
    statistics of batch norms are those of the sound.
    """

    def __init__(
        self,
        num_classes: int,
        channels: int,
        *,
        flat: bool,
        blocks: int,
        base_size: int,
        growth: float,
        first_read: int,
        aggregation: str,
        dropout: float,
    ) -> None:
        super().__init__()
        self.channels, self.flat, self.first_read = channels, flat, first_read
        kernel = (1, 3) if flat else (3, 3)
        widths = [channels, *(int(base_size * growth**k) for k in range(blocks))]
        self.blocks = nn.ModuleList(Block(i, o, kernel) for i, o in pairwise(widths))
        read = widths[1 + first_read :]
        self.recurrent = nn.ModuleList(map(Recurrent, read)) if aggregation == "rnn" else None
        self.head = NormalisedHead(
            sum(read) if self.recurrent is None else 2 * UNITS * len(read), num_classes, dropout
        )

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Outputs:
        check_images(x, halvings=0)  # waveforms are none, and clips of any length are taken
        if self.flat:
            x = self._flattened(x)
        x, sound = heard(x, lengths, 2 ** len(self.blocks))
        if not self.flat:
            check_images(x, halvings=len(self.blocks))
        found = []
        for k, block in enumerate(self.blocks):
            x, sound = block(x, sound)  # (B, wide, F / 2^(k + 1), T / 2^(k + 1))
            if k >= self.first_read:
                reader = loudest if self.recurrent is None else self.recurrent[k - self.first_read]
                found.append(reader(x, sound))
        embedding = torch.cat(found, dim=1)
        return Outputs(self.head(embedding), embedding=embedding)

    def _flattened(self, x: Tensor) -> Tensor:
        """(B, channels, bands, frames) -> (B, channels * bands, 1, frames)."""
        found = x.flatten(1, 2)[:, :, None]
        if found.shape[1] != self.channels:
            raise ValueError(
                f"images have {x.shape[1]} x {x.shape[2]} bands, and this network is for {self.channels}"
            )
        return found.contiguous(memory_format=torch.channels_last)
