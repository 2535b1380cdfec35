"""What stands between two convolutions in one operation: batch norm, activation, pooling; padding is left out.

Between two convolutions a network streams its activations through memory again and again: batch norm reads them
twice and writes them, a residual, ReLU and pooling read and write them once more each, and the way back is longer.
For small networks on a CPU that costs as much as the convolutions. `raytag.models.blocks.kernels` makes two passes
forward and two back, keeps sums in registers, recomputes the activation's mask instead of storing it, never writes
what average pooling is about to average, and reads no padding; prediction takes one pass. The numbers are those of
the separate operations up to rounding, of which there is less: bfloat16 activations are rounded once instead of
three times.

The operations here use it where it applies and torch's own everywhere else (GPU, contiguous layout, many threads).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from raytag.models.blocks import kernels
from raytag.models.blocks.padded import Sound, silenced

#: The kernels use one thread; with more than this many torch's own operations are faster.
MAX_THREADS = 2
#: Channels are tiled to about this many lanes, so that the inner loops fill vector registers.
_LANES = 256


def batch_norm_relu(x: Tensor, norm: nn.BatchNorm2d, pool: int = 1) -> Tensor:
    """``avg_pool2d(relu(norm(x)), pool)``.

    Parameters
    ----------
    x
        (B, C, F, T), float32 or bfloat16.
    norm
        Its running statistics are updated as usual when it is in training mode.
    pool
        1 (none) or 2.

    Returns
    -------
    Tensor
        (B, C, F // pool, T // pool), of the dtype of ``x``.
    """
    return _normalised(x, norm, None, 0.0, None, pool)


def batch_norm(
    x: Tensor,
    norm: nn.BatchNorm2d,
    sound: Sound | None,
    slopes: Tensor | float = 1.0,
    residual: Tensor | None = None,
) -> Tensor:
    """``prelu(norm(x) + residual, slopes)``, in training with the statistics of what is sound; zeros for padding.

    Parameters
    ----------
    x, norm
        As for `batch_norm_relu`.
    sound
        What of ``x`` it is; None: all. The rest is not read, and gets no gradient.
    slopes
        What negative values are multiplied by, (C,) or one number: 0 is a ReLU, 1 changes nothing.
    residual
        Of the shape of ``x``; None adds nothing.
    """
    return _normalised(x, norm, sound, slopes, residual, 1)


def _normalised(
    x: Tensor,
    norm: nn.BatchNorm2d,
    sound: Sound | None,
    slopes: Tensor | float,
    residual: Tensor | None,
    pool: int,
) -> Tensor:
    if _applies(x, norm, pool) and (residual is None or (residual.dtype == x.dtype and _fits(residual))):
        if norm.training:
            return _Normalised.apply(x, norm.weight, norm.bias, slopes, residual, norm, sound, pool)
        if not torch.is_grad_enabled():
            return _evaluated(x, norm, sound, slopes, residual, pool)
    y = norm(x) if sound is None or sound.lengths is None or not norm.training else _norm_of_sound(x, norm, sound)
    if residual is not None:
        y = y + residual
    if isinstance(slopes, Tensor):
        y = F.prelu(y, slopes.to(y.dtype))
    elif slopes != 1.0:
        y = F.relu(y, inplace=True) if slopes == 0.0 else F.leaky_relu(y, slopes)
    return silenced(F.avg_pool2d(y, pool) if pool > 1 else y, sound)


def _norm_of_sound(x: Tensor, norm: nn.BatchNorm2d, sound: Sound) -> Tensor:
    """Batch norm in training by torch's passes over the batch, several more than it makes itself."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.momentum is not None
    assert norm.num_batches_tracked is not None
    assert sound.lengths is not None
    n = sound.lengths.sum() * x.shape[2]
    wide = silenced(x.to(norm.weight.dtype), sound)
    mean = wide.sum(dim=(0, 2, 3), keepdim=True) / n
    difference = silenced(wide - mean, sound)
    variance = difference.square().sum(dim=(0, 2, 3), keepdim=True) / n
    with torch.no_grad():
        norm.running_mean.lerp_(mean.flatten(), norm.momentum)
        norm.running_var.lerp_(variance.flatten() * n / (n - 1).clamp_min(1), norm.momentum)
        norm.num_batches_tracked += 1
    scale = norm.weight[:, None, None] * (variance + norm.eps).rsqrt()
    return torch.addcmul(norm.bias[:, None, None], difference, scale).to(x.dtype)


def max_pool(x: Tensor, high: int, sound: Sound) -> Tensor:
    """Maximum pooling over ``high`` (1 or 2) bands and 2 frames: (B, C, F, T) -> (B, C, F // high, T // 2).

    Parameters
    ----------
    x, high
        What is pooled.
    sound
        What of the result it is. What is put out for the rest has no meaning.
    """
    return _MaxPool.apply(x, high, sound) if _fits(x) else F.max_pool2d(x, (high, 2))


def _fits(x: Tensor) -> bool:
    return (
        x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.bfloat16)
        and x.permute(0, 2, 3, 1).is_contiguous()
        and torch.get_num_threads() <= MAX_THREADS
    )


def _applies(x: Tensor, norm: nn.BatchNorm2d, pool: int) -> bool:
    return (
        _fits(x)
        and norm.weight is not None
        and norm.running_mean is not None
        and norm.momentum is not None
        and (x.numel() > x.shape[1] or not norm.training)  # torch's message for a batch of one pixel
        and x.shape[2] % pool == x.shape[3] % pool == 0
    )


class _Rows:
    """How the kernels see images: a full batch as one row, of a padded one each band of each sample."""

    def __init__(self, x: Tensor, sound: Sound | None) -> None:
        b, c, f, t = x.shape
        if sound is None or sound.lengths is None:
            self.pixels = b * f * t
            self.counts, self.lanes = np.array([self.pixels * c]), _lanes(c, self.pixels)
        else:
            self.pixels = int(sound.lengths.sum()) * f
            self.counts, self.lanes = np.repeat(sound.lengths.numpy() * c, f), _lanes(c, _LANES)

    def of(self, x: Tensor) -> NDArray[Any]:
        return _array(x).reshape(len(self.counts), -1)

    def tiled(self, *values: NDArray[np.float64]) -> NDArray[np.float32]:
        return _tiled(self.lanes, *values)

    def slopes(self, slopes: Tensor | float, residual: Tensor | None) -> NDArray[np.float32] | None:
        """Tiled; None for a ReLU of a norm alone, which has kernels of its own."""
        if isinstance(slopes, Tensor):
            return self.tiled(slopes.detach().double().numpy())[0]
        return None if slopes == 0.0 and residual is None else np.full(self.lanes, slopes, np.float32)


def _evaluated(
    x: Tensor, norm: nn.BatchNorm2d, sound: Sound | None, slopes: Tensor | float, residual: Tensor | None, pool: int
) -> Tensor:
    """In evaluation mode."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    mean, variance = (v.double().numpy() for v in (norm.running_mean, norm.running_var))
    scale = norm.weight.detach().double().numpy() / np.sqrt(variance + norm.eps)
    shift = norm.bias.detach().double().numpy() - mean * scale
    rows = _Rows(x, sound)
    return _activated(x, rows, rows.tiled(scale, shift), rows.slopes(slopes, residual), residual, pool)


def _activated(
    x: Tensor,
    rows: _Rows,
    affine: NDArray[np.float32],
    slopes: NDArray[np.float32] | None,
    residual: Tensor | None,
    pool: int,
) -> Tensor:
    b, c, f, t = x.shape
    y = torch.empty((b, c, f // pool, t // pool), dtype=x.dtype, memory_format=torch.channels_last)
    if pool == 1:
        added = None if residual is None else rows.of(residual)
        kernels.activate(rows.of(x), added, rows.counts, *affine, slopes, rows.of(y))
    else:
        kernels.activate_and_halve(_array(x), *_tiled(_lanes(c, t), *affine[:, :c]), c, _array(y))
    return y


class _Normalised(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        slopes: Tensor | float,
        residual: Tensor | None,
        norm: nn.BatchNorm2d,
        sound: Sound | None,
        pool: int,
    ) -> Tensor:
        rows = _Rows(x, sound)
        n = rows.pixels
        # Sums of differences to the first pixel: no digits are lost where the mean is large.
        origin = x[0, :, 0, 0].detach().double().numpy()
        sums, squares = _fold(kernels.moments(rows.of(x), rows.counts, *rows.tiled(origin)), len(origin))
        difference = sums / n
        mean, variance = origin + difference, np.maximum(squares / n - difference**2, 0)

        assert norm.running_mean is not None
        assert norm.running_var is not None
        assert norm.momentum is not None
        norm.running_mean.lerp_(torch.from_numpy(mean).to(norm.running_mean.dtype), norm.momentum)
        unbiased = torch.from_numpy(variance * n / max(n - 1, 1)).to(norm.running_var.dtype)
        norm.running_var.lerp_(unbiased, norm.momentum)
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked += 1

        inverse = 1 / np.sqrt(variance + norm.eps)
        scale = weight.detach().double().numpy() * inverse
        affine = rows.tiled(scale, bias.detach().double().numpy() - mean * scale)
        tiled = rows.slopes(slopes, residual)
        ctx.save_for_backward(x, residual)
        ctx.learned, ctx.dtype = isinstance(slopes, Tensor), weight.dtype
        ctx.values = rows, mean, inverse, scale, affine, tiled, pool
        return _activated(x, rows, affine, tiled, residual, pool)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, residual = ctx.saved_tensors
        rows, mean, inverse, scale, affine, slopes, pool = ctx.values
        n, images = rows.pixels, rows.of(x)
        grad = grad.contiguous(memory_format=torch.channels_last)
        if pool > 1:
            spread = torch.empty_like(x, memory_format=torch.channels_last)
            kernels.spread(_words(grad), _words(spread))
            grad = spread
        share = 1 / pool**2  # of the gradient of a mean that each of its terms gets
        g, added, sent, to_residual = rows.of(grad), None, None, None
        if residual is not None:
            to_residual = torch.empty_like(x, memory_format=torch.channels_last)
            added, sent = rows.of(residual), rows.of(to_residual)
        found = kernels.gradient_sums(g, images, added, rows.counts, *affine, slopes, *rows.tiled(mean), sent)
        sums, products, negatives = (share * s for s in _fold(found, len(mean)))
        if residual is not None:
            g, slopes = sent, np.ones(rows.lanes, np.float32)
        grad_weight = products * inverse
        # dx = scale * (g - mean of g - normalised x * mean of (g * normalised x)), g masked by the activation
        slope = -scale * inverse * grad_weight / n
        offset = -scale * sums / n - slope * mean
        out = None
        if ctx.needs_input_grad[0]:
            out = torch.empty_like(x, memory_format=torch.channels_last)
            line = rows.tiled(scale * share, slope, offset)
            kernels.input_gradient(g, images, rows.counts, *affine, slopes, *line, rows.of(out))
        parameters = [torch.from_numpy(v).to(ctx.dtype) for v in (grad_weight, sums, negatives)]
        return out, *parameters[:2], parameters[2] if ctx.learned else None, to_residual, None, None, None


class _MaxPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, high: int, sound: Sound) -> Tensor:
        b, c, f, t = x.shape
        y = torch.empty((b, c, f // high, t // 2), dtype=x.dtype, memory_format=torch.channels_last)
        counts = np.full(b, t // 2) if sound.lengths is None else sound.lengths.numpy()
        places = np.empty((b, f // high, t // 2, c), np.uint8)
        kernels.maximum(_array(x), counts, high, _array(y), places)
        ctx.shape, ctx.values = x.shape, (places, counts, high)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        out = torch.empty(ctx.shape, dtype=grad.dtype, memory_format=torch.channels_last)
        grad = grad.contiguous(memory_format=torch.channels_last)
        kernels.maximum_gradient(_array(grad), *ctx.values, _array(out))
        return out, None, None


def _array(x: Tensor) -> NDArray[Any]:
    """(B, F, T, C) view of a channels-last tensor; bfloat16 as its bits in uint16."""
    x = x.detach().permute(0, 2, 3, 1)
    return (x.view(torch.uint16) if x.dtype == torch.bfloat16 else x).numpy()


def _words(x: Tensor) -> NDArray[Any]:
    """(B * F, T, words) view of a channels-last tensor: the pixels as few, wide integers."""
    pixels = x.detach().permute(0, 2, 3, 1).flatten(0, 1).view(torch.uint8).numpy()
    width = next(w for w in (8, 4, 2) if pixels.shape[2] % w == 0)
    return pixels.view(f"u{width}")


def _lanes(channels: int, pixels: int) -> int:
    """A multiple of the channels, about `_LANES`, into which that many pixels can be cut without a rest."""
    tiled = 1
    while channels * tiled < _LANES and pixels % (2 * tiled) == 0:
        tiled *= 2
    return channels * tiled


def _tiled(lanes: int, *values: NDArray[Any]) -> NDArray[np.float32]:
    """(values, lanes)"""
    return np.tile(np.array(values, np.float32), lanes // len(values[0]))


def _fold(sums: tuple[NDArray[np.float64], ...], channels: int) -> list[NDArray[np.float64]]:
    return [s.reshape(-1, channels).sum(axis=0) for s in sums]
