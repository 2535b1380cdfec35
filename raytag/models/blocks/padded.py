"""Padded batches: what keeps the padding of a clip away from its logits.

A convolution takes zeros for what lies beyond an image. In a padded batch something else lies there as soon as a
batch norm has added a constant, and each convolution carries it further into the sound: so padding is set to zero
again before each.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from raytag.models.blocks.fused import batch_norm_relu


class Sound:
    """Which frames of a padded batch are sound.

    Parameters
    ----------
    lengths : int64 (B,)
        Frames of each sample, at least 1.
    frames : int
        Of the batch.

    Attributes
    ----------
    padding : bool (B, 1, 1, frames)
    kept : float32 (B, 1, 1, frames)
        1 where a frame is sound, else 0. To multiply takes one pass there and one back, where to fill takes two.
    """

    def __init__(self, lengths: Tensor, frames: int) -> None:
        self.lengths, self.frames = lengths, frames
        self.padding = (torch.arange(frames, device=lengths.device) >= lengths[:, None])[:, None, None]
        self.kept = (~self.padding).float()

    def halved(self, rounds_up: bool = False) -> Sound:
        """The same behind what halves the frames: pooling, or (``rounds_up``) strided convolutions with padding."""
        return Sound((self.lengths + rounds_up) // 2, (self.frames + rounds_up) // 2)


def heard(x: Tensor, lengths: Tensor | None, least: int) -> tuple[Tensor, Sound | None]:
    """Samples of at least ``least`` frames, and which of these are sound; None: all are.

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
        return (x if frames >= least else x[..., torch.arange(least, device=x.device) % frames]), None
    lengths = lengths.clamp_min(1)
    if int(lengths.min()) < least:
        places = torch.arange(max(frames, least), device=x.device).expand(len(x), -1)
        short = (lengths < least)[:, None]
        places = torch.where(short, places % lengths[:, None], places.clamp_max(frames - 1))
        x = x.gather(3, places[:, None, None].expand(-1, *x.shape[1:3], -1))
    return x, Sound(lengths.clamp_min(least), x.shape[3])


def silenced(x: Tensor, sound: Sound | None) -> Tensor:
    """(B, C, F, T) with zeros for padding, which must be finite."""
    return x if sound is None else x * sound.kept.to(x.dtype)


def loudest(x: Tensor, sound: Sound | None) -> Tensor:
    """Global maximum pooling: (B, C, F, T) -> (B, C)."""
    if x.shape[2] > 1:
        x = F.max_pool2d(x, (x.shape[2], 1))  # its way back is faster than that of amax
    return (x if sound is None else x.masked_fill(sound.padding, -torch.inf)).amax(dim=(2, 3))


def batch_norm(x: Tensor, norm: nn.BatchNorm2d, sound: Sound | None) -> Tensor:
    """``norm(x)``, in training with the statistics of what is sound.

    What is put out for padding has no meaning, and no gradient may come from there.
    """
    if sound is None or not norm.training:
        return norm(x)
    found: Tensor = _NormOfSound.apply(x, norm.weight, norm.bias, norm, sound)
    return found


def batch_norm_relu_silenced(x: Tensor, norm: nn.BatchNorm2d, sound: Sound | None) -> Tensor:
    """``silenced(relu(batch_norm(x)))``."""
    if sound is None or not norm.training:
        return silenced(batch_norm_relu(x, norm), sound)
    return silenced(F.relu(batch_norm(x, norm, sound)), sound)


class _NormOfSound(torch.autograd.Function):
    """torch's own passes over the batch, told which statistics to use: one or two more than a batch norm makes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, norm: nn.BatchNorm2d, sound: Sound) -> Tensor:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        assert norm.momentum is not None
        assert norm.num_batches_tracked is not None
        count = sound.lengths.sum() * x.shape[2]
        share = x.numel() / x.shape[1] / count  # how many numbers there are for one that is sound
        # running statistics, of no use here, say in what precision a batch's are given
        none = torch.zeros_like(norm.running_mean), torch.zeros_like(norm.running_var)
        mean, variance = torch.batch_norm_update_stats(silenced(x, sound), *none, 0.0)
        mean, square = mean * share, (variance + mean.square()) * share
        variance = (square - mean.square()).clamp_min(0.0)
        norm.running_mean.lerp_(mean, norm.momentum)
        norm.running_var.lerp_(variance * count / (count - 1).clamp_min(1), norm.momentum)
        norm.num_batches_tracked += 1
        ctx.save_for_backward(x, weight, mean, variance, count)
        ctx.eps, ctx.kept = norm.eps, sound.kept.to(x.dtype)
        return F.batch_norm(x, mean, variance, weight, bias, training=False, eps=norm.eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        x, weight, mean, variance, count = ctx.saved_tensors
        # as if the statistics were constants; then what the sound gets through them, a line in x
        found, grad_weight, grad_bias = torch.ops.aten.native_batch_norm_backward(
            grad, x, weight, mean, variance, None, None, False, ctx.eps, [True, True, True]
        )
        inverse = (variance + ctx.eps).rsqrt()
        slope = -weight * inverse.square() * grad_weight / count
        offset = -weight * inverse * grad_bias / count - slope * mean
        line = torch.addcmul(offset[:, None, None], x, slope[:, None, None])
        return found.add_(line).mul_(ctx.kept), grad_weight, grad_bias, None, None
