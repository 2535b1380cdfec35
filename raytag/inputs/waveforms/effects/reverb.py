"""Reverberation of a room."""

from __future__ import annotations

import math

import numpy as np
from numba import njit, types
from numpy.typing import NDArray

from raytag.compiled.vectors import store, vector

#: Delays on the left at 44.1 kHz, samples, of eight combs side by side and of four all-passes in a row.
_COMBS = np.array([1116, 1188, 1277, 1356, 1422, 1491, 1557, 1617])
_ALL_PASSES = np.array([225, 341, 441, 556])
_APART = 12  # samples by which those on the right are longer, shorter, longer, …: at a stereo depth of 100 %
_GAIN = 0.015  # of what goes into the combs
_TINY = np.float32(1.5 * 2**-37)  # added and taken away it leaves multiples of 2^-60: denormal numbers are slow

_WIDTH = 8  # samples at a time; no delay is shorter
load, splat = vector(types.float32, _WIDTH, fused=True)


def reverberated(
    samples: NDArray[np.float32],
    rate: int,
    reverberance: float,
    room_scale: float,
    damping: float = 50.0,
    pre_delay: float = 0.02,
    stereo_depth: float = 25.0,
) -> NDArray[np.float32]:
    """The samples and what a room makes of them, float32 (n,): the tail ends with the samples.

    Schroeder's and Moorer's reverberator as Freeverb sets it up: eight feedback combs with a low-pass in the loop,
    then four all-passes, on the left and on the right, whose mean is heard. [1]_ With f the feedback and d the
    damping of a comb of D samples,
    ``y[t] = l[t - D]``, ``l[t] = x[t] + f s[t]``, ``s[t] = (1 - d) y[t] + d s[t - 1]``.

    Parameters
    ----------
    samples : float32 (n,)
    rate : int
        Hz.
    reverberance : float
        %; f is ``1 - 0.7 (0.02 / 0.7)^(reverberance / 100)``: 0.3 at 0 and 0.98 at 100.
    room_scale : float
        %; the combs' delays are 0.1 of Freeverb's at 0 and all of them at 100.
    damping : float
        % of high frequencies; d is ``0.2 + 0.3 damping / 100``.
    pre_delay : float
        Seconds before the room answers; at least 8 samples.
    stereo_depth : float
        %; how much the delays on the left and on the right differ. Their mean is as loud as either at low
        frequencies and up to 3 dB quieter at high ones.

    References
    ----------
    .. [1] J. O. Smith: Physical Audio Signal Processing, "Freeverb". W3K Publishing, 2010. The scales of percent
       are those of SoX, by which ex4sperans made its training samples with stereo depths of 0 to 49 %.
    """
    scale, apart = rate / 44100, _APART * stereo_depth / 100 * np.outer((0, 1), (1, -1) * 4)
    delays = np.hstack([(_COMBS + apart) * (0.1 + 0.9 * room_scale / 100), _ALL_PASSES + apart[:, :4]]) * scale
    delays = np.maximum(_WIDTH, np.rint(delays))
    size = 2 ** math.ceil(math.log2(delays.max() + 2 * _WIDTH))
    made = np.zeros(len(samples) + _WIDTH, np.float32)
    made[: len(samples)] = samples
    _add_room(
        np.ascontiguousarray(samples),
        delays.astype(np.int64),
        np.float32(1 - 0.7 * (0.02 / 0.7) ** (reverberance / 100)),
        np.float32(0.2 + 0.3 * damping / 100),
        max(_WIDTH, round(pre_delay * rate)),
        np.zeros((delays.size, size + 2 * _WIDTH), np.float32),
        made,
    )
    return made[: len(samples)]


@njit(cache=True, nogil=True)
def _add_room(
    samples: NDArray[np.float32],
    delays: NDArray[np.int64],  # (2, 12): on the left and on the right, of eight combs and four all-passes
    feedback: np.float32,
    damping: np.float32,
    delay: int,
    lines: NDArray[np.float32],  # (24, 2^p + 16), zeros
    out: NDArray[np.float32],  # as long and eight more
) -> None:
    """Of s only l is kept: l[t] = x[t] - d^8 x[t - 8] + d^8 l[t - 8] + f (1 - d) Σ d^k y[t - k], k < 8."""
    step = lines.shape[1]
    size = step - 2 * _WIDTH  # the first places stand behind the last as well: no vector is cut in two
    gain, half, tiny, d = splat(np.float32(_GAIN / 2)), splat(np.float32(0.5)), splat(_TINY), splat(damping)
    c0 = splat(feedback * (np.float32(1) - damping))
    c1 = d * c0
    c2 = d * c1
    c3 = d * c2
    c4 = d * c3
    c5 = d * c4
    c6 = d * c5
    c7 = d * c6
    d8 = splat(damping**8)
    before = splat(np.float32(0))
    for t in range(0, len(samples) - delay, _WIDTH):
        here, last = t & (size - 1), (t - _WIDTH) & (size - 1)
        x = gain * load(samples, t)
        fresh, before = x - d8 * before, x
        for side in range(2):
            wet = splat(np.float32(0))
            for i in range(8):
                line = (12 * side + i) * step
                at = line + ((t - delays[side, i] - 7) & (size - 1))
                y = load(lines, at + 7)
                a = fresh + d8 * load(lines, line + last) + c0 * y + c1 * load(lines, at + 6)
                b = c2 * load(lines, at + 5) + c3 * load(lines, at + 4) + c4 * load(lines, at + 3)
                b = b + c5 * load(lines, at + 2) + c6 * load(lines, at + 1) + c7 * load(lines, at)
                store(lines, line + here, a + b + tiny - tiny)
                wet = wet + y
            for i in range(8, 12):
                line = (12 * side + i) * step
                y = load(lines, line + ((t - delays[side, i]) & (size - 1)))
                store(lines, line + here, wet + half * y + tiny - tiny)
                wet = y - wet
            store(out, delay + t, load(out, delay + t) + wet)
        if here < 2 * _WIDTH:
            for line in range(here, lines.size, step):
                store(lines, line + size, load(lines, line))
