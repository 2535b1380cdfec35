"""Pitch, tempo and speed."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from raytag.compiled.vectors import LANES, load, splat, sum_lanes
from raytag.features.waveform import resample

Samples = NDArray[np.float32]
#: Seconds: of a segment, of what two of them share, and in which the place of a segment is looked for.
_SEGMENT, _OVERLAP, _SEARCH = 0.082, 0.012, 0.01468


def pitched(samples: Samples, rate: int, cents: float) -> Samples:
    """``cents`` hundredths of a semitone higher, as long as before; ``rate`` in Hz. `at_tempo`, then `at_speed`."""
    ratio = 2 ** (cents / 1200)
    return fitted(at_speed(at_tempo(samples, rate, 1 / ratio), rate, ratio), len(samples))


def at_speed(samples: Samples, rate: int, factor: float) -> Samples:
    """``factor`` times as fast and as high, as a tape would be: (ceil(n / factor),), resampled by soxr.

    Exact to 1e-5, a sixtieth of a cent: a ratio of small whole numbers takes a third less time than another one.
    """
    ratio = Fraction(factor).limit_denominator(1000)
    if abs(ratio / factor - 1) > 1e-5:
        return resample(samples, rate * factor, rate)
    return fitted(resample(samples, ratio.numerator, ratio.denominator), math.ceil(len(samples) / factor))


def at_tempo(samples: Samples, rate: int, factor: float) -> Samples:
    """``factor`` times as fast at the same pitch, (max(1, round(n / factor)),).

    Waveform similarity overlap-add: segments of the samples, each from where it goes on best from the one before,
    least squares, blend into each other. [1]_ The lengths of segments, overlap and search are those of ex4sperans
    (SoX's ``pitch``).

    References
    ----------
    .. [1] Verhelst, Roelands: An overlap-add technique based on waveform similarity (WSOLA) for high quality
       time-scale modification of speech. ICASSP 1993.
    """
    segment, overlap = max(2 * LANES, round(_SEGMENT * rate)), max(LANES, round(_OVERLAP * rate))
    search = max(4, round(_SEARCH * rate))
    made = np.empty(max(1, round(len(samples) / factor)), np.float32)
    around = np.pad(samples, (search // 2, segment + search))  # so that every segment is whole
    _overlap_add(around, factor, segment - overlap, overlap, search, made)
    return made


def fitted(samples: Samples, length: int) -> Samples:
    """Cut at the end, or filled up with zeros there."""
    missing = length - len(samples)
    return np.pad(samples, (0, missing)) if missing > 0 else samples[:length]


@njit(cache=True, nogil=True)
def _errors(samples: Samples, one: int, other: int, length: int) -> Any:
    """Sums of squared differences of samples from one place on and from another, the next, … (4,).

    A few samples at the end are left out. Four sums at a time do not wait for each other.
    """
    a = b = c = d = splat(np.float32(0))
    for i in range(0, max(1, length // LANES) * LANES, LANES):
        x, at = load(samples, one + i), other + i
        p, q = x - load(samples, at), x - load(samples, at + 1)
        r, s = x - load(samples, at + 2), x - load(samples, at + 3)
        a, b, c, d = a + p * p, b + q * q, c + r * r, d + s * s
    return sum_lanes(a), sum_lanes(b), sum_lanes(c), sum_lanes(d)


@njit(cache=True, nogil=True, fastmath={"contract", "nsz"})
def _overlap_add(
    samples: Samples,  # search // 2 zeros, the waveform, zeros
    factor: float,
    hop: int,
    overlap: int,
    search: int,
    out: Samples,
) -> None:
    last = len(samples) - hop - overlap  # where a segment may begin
    at = search // 2
    for start in range(0, len(out), hop):
        goes_on = at + hop  # where the segment before ends, which blends into this one
        if start > 0:
            begin = min(round(start * factor), last - search)
            best, at = np.float32(np.inf), begin
            for first in range(begin, begin + search, 4):
                offset = min(first, begin + search - 4)
                for error in _errors(samples, goes_on, offset, overlap):
                    if error < best:
                        best, at = error, offset
                    offset += 1
        end = min(hop, len(out) - start)
        blended = min(overlap, end) if start > 0 else 0
        for i in range(blended):
            share = np.float32(i + 1) / np.float32(overlap + 1)
            out[start + i] = (1 - share) * samples[goes_on + i] + share * samples[at + i]
        for i in range(blended, end):
            out[start + i] = samples[at + i]
