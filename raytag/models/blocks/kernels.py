"""Compiled passes over the activations of networks on a CPU, for `raytag.models.blocks.fused`.

Activations are rows, (rows, any number), of which each counts up to ``counts`` of it and is zero from there: of
channels-last memory (B, F, T, C) either a full batch is one row, or each of the B * F is, and ends with the sound.
What is given for each channel is tiled to lanes, so that the inner loops fill vector registers: number i of a row
has lane i modulo their number.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import overload

#: Chunks of lanes that are added up in float32 before the sum goes to float64.
_BLOCK = 64


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
def _flush(part, sums):  # type: ignore[no-untyped-def]
    """Move sums of float32 to those of float64."""
    for i in range(sums.shape[0]):
        sums[i] += part[i]
        part[i] = 0


@_jit
def moments(x, counts, origin):  # type: ignore[no-untyped-def]
    """Per lane: sum of x - origin and of its square."""
    lanes = origin.shape[0]
    sums, squares = np.zeros(lanes), np.zeros(lanes)
    part, part2 = np.zeros(lanes, np.float32), np.zeros(lanes, np.float32)
    chunks = 0
    for r in range(x.shape[0]):
        for start in range(0, counts[r], lanes):
            row = x[r, start : min(start + lanes, counts[r])]
            for i in range(row.shape[0]):
                d = _load(row, i) - origin[i]
                part[i] += d
                part2[i] += d * d
            chunks += 1
            if chunks % _BLOCK == 0:
                _flush(part, sums)
                _flush(part2, squares)
    _flush(part, sums)
    _flush(part2, squares)
    return sums, squares


@_jit
def activate(x, residual, counts, scale, shift, slopes, y):  # type: ignore[no-untyped-def]
    """y = v where v = scale * x + shift (+ residual) is positive, else slopes * v."""
    lanes = scale.shape[0]
    zero = np.float32(0)
    for r in range(x.shape[0]):
        n = counts[r]
        for start in range(0, n, lanes):
            row, to = x[r, start : min(start + lanes, n)], y[r, start:]
            if residual is not None:
                added = residual[r, start:]
            for i in range(row.shape[0]):
                v = _load(row, i) * scale[i] + shift[i]
                if residual is not None:
                    v += _load(added, i)
                found = max(v, zero)  # in this order NaN stays NaN
                if slopes is not None:
                    found += slopes[i] * min(v, zero)
                _store(to, i, found)
        y[r, n:] = 0


@_jit
def activate_and_halve(x, scale, shift, channels, y):  # type: ignore[no-untyped-def]
    """y = mean over 2 x 2 of max(0, scale * x + shift); images (B, F, T, channels)."""
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
def spread(halved, out):  # type: ignore[no-untyped-def]
    """Copy every pixel of halved (rows, pixels, words) to the 2 x 2 pixels of out that were averaged into it."""
    for r in range(halved.shape[0]):
        upper, lower = out[2 * r], out[2 * r + 1]
        for t in range(halved.shape[1]):
            for i in range(halved.shape[2]):
                upper[2 * t, i] = halved[r, t, i]
                upper[2 * t + 1, i] = halved[r, t, i]
                lower[2 * t, i] = halved[r, t, i]
                lower[2 * t + 1, i] = halved[r, t, i]


@_jit
def gradient_sums(gradient, x, residual, counts, scale, shift, slopes, mean, out):  # type: ignore[no-untyped-def]
    """Sums per lane: of what `activate` sends back, of its product with x - mean, and of gradient * min(v, 0).

    Where there is a residual, ``out`` becomes its gradient, which is what is sent back.
    """
    lanes = scale.shape[0]
    one, zero = np.float32(1), np.float32(0)
    sums, products, negatives = np.zeros(lanes), np.zeros(lanes), np.zeros(lanes)
    part, part2, part3 = np.zeros(lanes, np.float32), np.zeros(lanes, np.float32), np.zeros(lanes, np.float32)
    chunks = 0
    for r in range(x.shape[0]):
        n = counts[r]
        for start in range(0, n, lanes):
            row, g = x[r, start : min(start + lanes, n)], gradient[r, start:]
            if residual is not None:
                added, to = residual[r, start:], out[r, start:]
            for i in range(row.shape[0]):
                v, d = _load(row, i), _load(g, i)
                z = v * scale[i] + shift[i]
                if residual is not None:
                    z += _load(added, i)
                factor = np.float32(z > zero)  # a number: with a branch the loop would not be vectorised
                if slopes is not None:
                    factor += (one - factor) * slopes[i]
                    part3[i] += d * min(z, zero)
                sent = d * factor
                part[i] += sent
                part2[i] += sent * (v - mean[i])
                if residual is not None:
                    _store(to, i, sent)
            chunks += 1
            if chunks % _BLOCK == 0:
                _flush(part, sums)
                _flush(part2, products)
                _flush(part3, negatives)
        if residual is not None:
            out[r, n:] = 0
    _flush(part, sums)
    _flush(part2, products)
    _flush(part3, negatives)
    return sums, products, negatives


@_jit
def input_gradient(gradient, x, counts, scale, shift, slopes, gain, line, offset, out):  # type: ignore[no-untyped-def]
    """out = gain * what is sent back + line * x + offset."""
    lanes = scale.shape[0]
    one, zero = np.float32(1), np.float32(0)
    for r in range(x.shape[0]):
        n = counts[r]
        for start in range(0, n, lanes):
            row, g, to = x[r, start : min(start + lanes, n)], gradient[r, start:], out[r, start:]
            for i in range(row.shape[0]):
                v = _load(row, i)
                factor = np.float32(v * scale[i] + shift[i] > zero)
                if slopes is not None:
                    factor += (one - factor) * slopes[i]
                _store(to, i, gain[i] * (_load(g, i) * factor) + line[i] * v + offset[i])
        out[r, n:] = 0


@_jit
def _larger(first, second):  # type: ignore[no-untyped-def]
    return first if (first >= second) | (first != first) else second  # NaN stays NaN


@_jit
def maximum(x, counts, high, y, places):  # type: ignore[no-untyped-def]
    """y (B, F, T, C) = maximum over ``high`` (1 or 2) x 2 pixels of x; from ``counts`` (B,) frames on it is zero.

    ``places`` becomes which of the pixels it was, row by row from 0; of equal ones the first.
    """
    for b in range(y.shape[0]):
        for f in range(y.shape[1]):
            upper, lower = x[b, high * f], x[b, high * f + high - 1]
            for t in range(counts[b]):
                p, q, r, s = upper[2 * t], upper[2 * t + 1], lower[2 * t], lower[2 * t + 1]
                to, place = y[b, f, t], places[b, f, t]
                for i in range(to.shape[0]):
                    v = _larger(_larger(_load(p, i), _load(q, i)), _larger(_load(r, i), _load(s, i)))
                    _store(to, i, v)
                    # a product: with branches the loop would not be vectorised
                    place[i] = (_load(p, i) != v) * (1 + (_load(q, i) != v) * (1 + (_load(r, i) != v)))
            y[b, f, counts[b] :] = 0


@_jit
def maximum_gradient(gradient, places, counts, high, out):  # type: ignore[no-untyped-def]
    """out = the gradient of `maximum`, each number where ``places`` says."""
    for b in range(gradient.shape[0]):
        for row in range(out.shape[1]):
            line, f = out[b, row], row // high
            end = counts[b] if f < gradient.shape[1] else 0
            for t in range(end):
                g, place = gradient[b, f, t], places[b, f, t]
                for side in range(2):
                    to, here = line[2 * t + side], np.uint8(2 * (row % high) + side)
                    for i in range(to.shape[0]):
                        _store(to, i, _load(g, i) * np.float32(place[i] == here))
            line[2 * end :] = 0
