"""Batch norm, ReLU and average pooling in one operation, for networks on a CPU.

Between two convolutions a network streams its activations through memory again and again: batch norm reads them
twice and writes them, ReLU and pooling read and write them once more, and the way back is longer. For small
networks on a CPU that costs as much as the convolutions. The kernels here make two passes forward and two
back, keep sums in registers, recompute the ReLU's mask instead of storing it, and never write what pooling is
about to average; prediction takes one pass. The numbers are those of the three separate operations up to
rounding, of which there is less: bfloat16 activations are rounded once instead of three times.

`batch_norm_relu` uses them where they apply and torch's own operations everywhere else (GPU, contiguous
layout, many threads). So does `PReLU`, whose way back is one pass: torch's writes the gradient of the slopes for
every pixel before it adds them up.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numba import njit, types
from numba.extending import overload
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

#: The kernels use one thread; with more than this many torch's own operations are faster.
MAX_THREADS = 2
#: Channels are tiled to about this many lanes, so that the inner loops fill vector registers.
_LANES = 256
#: Rows that are added up in float32 before the sum goes to float64.
_BLOCK = 64


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
    if _applies(x, norm, pool):
        if norm.training:
            return _BatchNormReLU.apply(x, norm.weight, norm.bias, norm, pool)
        if not torch.is_grad_enabled():
            return _affine_relu(x, *_running_affine(norm), pool)
    y = F.relu(norm(x), inplace=True)
    return F.avg_pool2d(y, pool) if pool > 1 else y


def _applies(x: Tensor, norm: nn.BatchNorm2d, pool: int) -> bool:
    return (
        x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.bfloat16)
        and norm.weight is not None
        and norm.running_mean is not None
        and norm.momentum is not None
        and x.permute(0, 2, 3, 1).is_contiguous()
        and (x.numel() > x.shape[1] or not norm.training)  # torch's message for a batch of one pixel
        and x.shape[2] % pool == x.shape[3] % pool == 0
        and torch.get_num_threads() <= MAX_THREADS
    )


def _running_affine(norm: nn.BatchNorm2d) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What a batch norm multiplies and adds in evaluation mode."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    mean, variance = (v.double().numpy() for v in (norm.running_mean, norm.running_var))
    scale = norm.weight.detach().double().numpy() / np.sqrt(variance + norm.eps)
    return scale, norm.bias.detach().double().numpy() - mean * scale


def _affine_relu(x: Tensor, scale: NDArray[np.float64], shift: NDArray[np.float64], pool: int) -> Tensor:
    b, c, f, t = x.shape
    y = torch.empty((b, c, f // pool, t // pool), dtype=x.dtype, memory_format=torch.channels_last)
    lanes = _lanes(c, b * f * t if pool == 1 else t)
    if pool == 1:
        _activate(_array(x), _tile(scale, lanes), _tile(shift, lanes), _array(y))
    else:
        _activate_and_halve(_array(x), _tile(scale, lanes), _tile(shift, lanes), c, _array(y))
    return y


class _BatchNormReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, norm: nn.BatchNorm2d, pool: int) -> Tensor:
        b, c, f, t = x.shape
        n = b * f * t
        images, lanes = _array(x), _lanes(c, n)
        # Sums of differences to the first pixel: no digits are lost where the mean is large.
        origin = x[0, :, 0, 0].detach().double().numpy()
        sums, squares = _fold(_moments(images, _tile(origin, lanes)), c)
        difference = sums / n
        mean, variance = origin + difference, np.maximum(squares / n - difference**2, 0)

        assert norm.running_mean is not None
        assert norm.running_var is not None
        assert norm.momentum is not None
        norm.running_mean.lerp_(torch.from_numpy(mean).to(norm.running_mean.dtype), norm.momentum)
        unbiased = torch.from_numpy(variance * n / (n - 1)).to(norm.running_var.dtype)
        norm.running_var.lerp_(unbiased, norm.momentum)
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked += 1

        inverse = 1 / np.sqrt(variance + norm.eps)
        scale = weight.detach().double().numpy() * inverse
        shift = bias.detach().double().numpy() - mean * scale
        y = _affine_relu(x, scale, shift, pool)
        ctx.save_for_backward(x, weight)
        ctx.values = mean, inverse, scale, shift, pool
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        x, weight = ctx.saved_tensors
        mean, inverse, scale, shift, pool = ctx.values
        b, c, f, t = x.shape
        n = b * f * t
        images, lanes = _array(x), _lanes(c, n)
        grad = grad.contiguous(memory_format=torch.channels_last)
        if pool > 1:
            spread = torch.empty_like(x, memory_format=torch.channels_last)
            _spread(_words(grad), _words(spread))
            grad = spread
        g, share = _array(grad), 1 / pool**2  # of the gradient of a mean that each of its terms gets
        tiled = [_tile(v, lanes) for v in (scale, shift, mean)]
        sums, products = (share * s for s in _fold(_gradient_sums(g, images, *tiled), c))
        grad_weight = products * inverse
        # dx = scale * (g - mean of g - normalised x * mean of (g * normalised x)), g masked by the ReLU
        slope = -scale * inverse * grad_weight / n
        offset = -scale * sums / n - slope * mean
        tiled = [_tile(v, lanes) for v in (scale, shift, scale * share, slope, offset)]
        out = torch.empty_like(x, memory_format=torch.channels_last)
        _gradient(g, images, *tiled, _array(out))
        parameters = (torch.from_numpy(v).to(weight.dtype) for v in (grad_weight, sums))
        return out, *parameters, None, None  # type: ignore[return-value]


class PReLU(nn.PReLU):
    """torch's, with a slope for each channel; the same numbers up to rounding."""

    def forward(self, x: Tensor) -> Tensor:
        fast = (
            torch.is_grad_enabled()
            and x.device.type == "cpu"
            and x.dtype in (torch.float32, torch.bfloat16)
            and x.ndim == 4
            and x.permute(0, 2, 3, 1).is_contiguous()
            and torch.get_num_threads() <= MAX_THREADS
        )
        return _PReLU.apply(x, self.weight) if fast else super().forward(x)


class _PReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, slopes: Tensor) -> Tensor:
        ctx.save_for_backward(x, slopes)
        return F.prelu(x, slopes.to(x.dtype))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        x, slopes = ctx.saved_tensors
        b, c, f, t = x.shape
        grad = grad.to(x.dtype).contiguous(memory_format=torch.channels_last)
        out = torch.empty_like(x, memory_format=torch.channels_last)
        tiled = _tile(slopes.detach().double().numpy(), _lanes(c, b * f * t))
        (sums,) = _fold((_prelu_gradient(_array(grad), _array(x), tiled, _array(out)),), c)
        return out, torch.from_numpy(sums).to(slopes.dtype)


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


def _tile(values: NDArray[np.float64], lanes: int) -> NDArray[np.float32]:
    return np.tile(values.astype(np.float32), lanes // len(values))


def _fold(sums: tuple[NDArray[np.float64], ...], channels: int) -> list[NDArray[np.float64]]:
    return [s.reshape(-1, channels).sum(axis=0) for s in sums]


def _load(array, i):  # type: ignore[no-untyped-def]
    """Element of a float32 array, or of a uint16 array that holds bfloat16, as float32."""
    raise TypeError("only compiled code calls this: numba puts the overload below in its place")


def _store(array, i, value):  # type: ignore[no-untyped-def]
    """Set such an element; bfloat16 is rounded to nearest, ties to even."""
    raise TypeError("only compiled code calls this: numba puts the overload below in its place")


@overload(_load)
def _load_overload(array, i):  # type: ignore[no-untyped-def]
    if array.dtype == types.uint16:
        return lambda array, i: np.uint32(np.uint32(array[i]) << np.uint32(16)).view(np.float32)
    return lambda array, i: array[i]


@overload(_store)
def _store_overload(array, i, value):  # type: ignore[no-untyped-def]
    if array.dtype == types.uint16:

        def store(array, i, value):  # type: ignore[no-untyped-def]
            bits = np.float32(value).view(np.uint32)
            array[i] = np.uint16(
                (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
            )
    else:

        def store(array, i, value):  # type: ignore[no-untyped-def]
            array[i] = value

    return store


_jit: Any = njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "nsz"})


@_jit
def _moments(x, origin):  # type: ignore[no-untyped-def]
    """Per lane: sum of x - origin and of its square."""
    lanes = origin.shape[0]
    flat = x.reshape(-1)
    rows = flat.shape[0] // lanes
    sums, squares = np.zeros(lanes), np.zeros(lanes)
    part, part2 = np.empty(lanes, np.float32), np.empty(lanes, np.float32)
    for start in range(0, rows, _BLOCK):
        part[:] = 0
        part2[:] = 0
        for r in range(start, min(start + _BLOCK, rows)):
            row = flat[r * lanes : (r + 1) * lanes]
            for i in range(lanes):
                d = _load(row, i) - origin[i]
                part[i] += d
                part2[i] += d * d
        for i in range(lanes):
            sums[i] += part[i]
            squares[i] += part2[i]
    return sums, squares


@_jit
def _activate(x, scale, shift, y):  # type: ignore[no-untyped-def]
    """y = max(0, scale * x + shift)."""
    lanes = scale.shape[0]
    source, target = x.reshape(-1), y.reshape(-1)
    zero = np.float32(0)
    for start in range(0, source.shape[0], lanes):
        row, to = source[start : start + lanes], target[start : start + lanes]
        for i in range(lanes):
            v = _load(row, i) * scale[i] + shift[i]
            _store(to, i, max(v, zero))  # in this order NaN stays NaN


@_jit
def _activate_and_halve(x, scale, shift, channels, y):  # type: ignore[no-untyped-def]
    """y = mean over 2 x 2 of max(0, scale * x + shift)."""
    lanes = scale.shape[0]
    width = x.shape[2] * channels
    source, target = x.reshape(-1, width), y.reshape(-1, y.shape[2] * channels)
    line = np.empty(width, np.float32)
    zero, quarter = np.float32(0), np.float32(0.25)
    for r in range(target.shape[0]):
        for start in range(0, width, lanes):
            upper, lower = source[2 * r, start : start + lanes], source[2 * r + 1, start : start + lanes]
            to = line[start : start + lanes]
            for i in range(lanes):
                u = _load(upper, i) * scale[i] + shift[i]
                v = _load(lower, i) * scale[i] + shift[i]
                to[i] = max(u, zero) + max(v, zero)
        for t in range(y.shape[2]):
            left, right = line[2 * t * channels :], line[(2 * t + 1) * channels :]
            to = target[r, t * channels : (t + 1) * channels]
            for i in range(channels):
                _store(to, i, (left[i] + right[i]) * quarter)


@_jit
def _spread(halved, out):  # type: ignore[no-untyped-def]
    """Copy every pixel of halved (rows, pixels, words) to the 2 x 2 pixels of out that were averaged into it."""
    words = halved.shape[2]
    for r in range(halved.shape[0]):
        upper, lower = out[2 * r], out[2 * r + 1]
        for t in range(halved.shape[1]):
            for i in range(words):
                upper[2 * t, i] = halved[r, t, i]
                upper[2 * t + 1, i] = halved[r, t, i]
        lower[:] = upper


@_jit
def _gradient_sums(gradient, x, scale, shift, mean):  # type: ignore[no-untyped-def]
    """Per lane: sum of the masked gradient, and of its product with x - mean."""
    lanes = scale.shape[0]
    flat_x, flat_g = x.reshape(-1), gradient.reshape(-1)
    rows = flat_x.shape[0] // lanes
    zero = np.float32(0)
    sums, products = np.zeros(lanes), np.zeros(lanes)
    part, part2 = np.empty(lanes, np.float32), np.empty(lanes, np.float32)
    for start in range(0, rows, _BLOCK):
        part[:] = 0
        part2[:] = 0
        for r in range(start, min(start + _BLOCK, rows)):
            row, g = flat_x[r * lanes : (r + 1) * lanes], flat_g[r * lanes : (r + 1) * lanes]
            for i in range(lanes):
                v = _load(row, i)
                # times 0 or 1: with a branch the loop would not be vectorised
                masked = _load(g, i) * np.float32(v * scale[i] + shift[i] > zero)
                part[i] += masked
                part2[i] += masked * (v - mean[i])
        for i in range(lanes):
            sums[i] += part[i]
            products[i] += part2[i]
    return sums, products


@_jit
def _gradient(gradient, x, scale, shift, gain, slope, offset, out):  # type: ignore[no-untyped-def]
    """out = gain * masked gradient + slope * x + offset."""
    lanes = scale.shape[0]
    flat_x, flat_g, flat_out = x.reshape(-1), gradient.reshape(-1), out.reshape(-1)
    zero = np.float32(0)
    for start in range(0, flat_x.shape[0], lanes):
        row, g = flat_x[start : start + lanes], flat_g[start : start + lanes]
        to = flat_out[start : start + lanes]
        for i in range(lanes):
            v = _load(row, i)
            masked = _load(g, i) * np.float32(v * scale[i] + shift[i] > zero)
            _store(to, i, gain[i] * masked + slope[i] * v + offset[i])


@_jit
def _prelu_gradient(gradient, x, slopes, out):  # type: ignore[no-untyped-def]
    """out = the gradient, where x is negative times the slope; returns per lane the sum of gradient * min(x, 0)."""
    lanes = slopes.shape[0]
    flat_x, flat_g, flat_out = x.reshape(-1), gradient.reshape(-1), out.reshape(-1)
    rows = flat_x.shape[0] // lanes
    one, zero = np.float32(1), np.float32(0)
    sums, part = np.zeros(lanes), np.empty(lanes, np.float32)
    for start in range(0, rows, _BLOCK):
        part[:] = 0
        for r in range(start, min(start + _BLOCK, rows)):
            row, g = flat_x[r * lanes : (r + 1) * lanes], flat_g[r * lanes : (r + 1) * lanes]
            to = flat_out[r * lanes : (r + 1) * lanes]
            for i in range(lanes):
                v, d = _load(row, i), _load(g, i)
                positive = np.float32(v > zero)
                _store(to, i, d * (positive + (one - positive) * slopes[i]))
                part[i] += d * min(v, zero)
        for i in range(lanes):
            sums[i] += part[i]
    return sums
