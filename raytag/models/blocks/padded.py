"""Padded batches: what keeps the padding of a clip away from its logits.

A convolution takes zeros for what lies beyond an image. In a padded batch something else lies there as soon as a
batch norm has added a constant, and each convolution carries it further into the sound: so padding is set to zero
again before each.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


class Sound:
    """Which frames of a batch are sound.

    Parameters
    ----------
    lengths : int64 (B,), optional
        Frames of each sample, at least 1. None: all are sound.
    frames : int
        Of the batch.

    Attributes
    ----------
    padding : bool (B, 1, 1, frames), optional
    kept : float32 (B, 1, 1, frames), optional
        1 where a frame is sound, else 0. To multiply takes one pass there and one back, where to fill takes two.
    """

    def __init__(self, lengths: Tensor | None, frames: int) -> None:
        self.lengths, self.frames = lengths, frames
        self.padding, self.kept = None, None
        if lengths is not None:
            self.padding = (torch.arange(frames, device=lengths.device) >= lengths[:, None])[:, None, None]
            self.kept = (~self.padding).float()

    def halved(self, rounds_up: bool = False) -> Sound:
        """The same behind what halves the frames: pooling, or (``rounds_up``) strided convolutions with padding."""
        lengths = None if self.lengths is None else (self.lengths + rounds_up) // 2
        return Sound(lengths, (self.frames + rounds_up) // 2)


def heard(x: Tensor, lengths: Tensor | None, least: int) -> tuple[Tensor, Sound]:
    """Samples of at least ``least`` frames, and which of these are sound.

    A sample of fewer frames is repeated from its beginning until it has as many. So it has the same logits alone
    and in any batch.

    Parameters
    ----------
    x : (B, C, F, T)
    lengths : int64 (B,), optional
        Frames of each sample.
    least : int
    """
    frames = x.shape[3]
    if lengths is None or int(lengths.min()) >= frames:
        x = x if frames >= least else x[..., torch.arange(least, device=x.device) % frames]
        return x, Sound(None, x.shape[3])
    lengths = lengths.clamp(1, frames)
    if int(lengths.min()) < least:
        places = torch.arange(max(frames, least), device=x.device).expand(len(x), -1)
        short = (lengths < least)[:, None]
        places = torch.where(short, places % lengths[:, None], places.clamp_max(frames - 1))
        x = x.gather(3, places[:, None, None].expand(-1, *x.shape[1:3], -1))
    return x, Sound(lengths.clamp_min(least), x.shape[3])


def silenced(x: Tensor, sound: Sound | None) -> Tensor:
    """(B, C, F, T) with zeros for padding, which must be finite."""
    return x if sound is None or sound.kept is None else x * sound.kept.to(x.dtype)


def loudest(x: Tensor, sound: Sound) -> Tensor:
    """Global maximum pooling: (B, C, F, T) -> (B, C)."""
    if x.shape[2] > 1:
        x = F.max_pool2d(x, (x.shape[2], 1))  # its way back is faster than that of amax
    return (x if sound.padding is None else x.masked_fill(sound.padding, -torch.inf)).amax(dim=(2, 3))
