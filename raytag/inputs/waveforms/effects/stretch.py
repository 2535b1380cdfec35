"""Pitch, tempo and speed."""

from __future__ import annotations

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
    """``factor`` times as fast and as high, as a tape would be: (ceil(n / factor),), resampled by soxr."""
    return resample(samples, rate * factor, rate)


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
    search = max(2, round(_SEARCH * rate))
    made = np.empty(max(1, round(len(samples) / factor)), np.float32)
    around = np.pad(samples, (search // 2, segment + search))  # so that every segment is whole
    _overlap_add(around, factor, segment - overlap, overlap, search, made)
    return made


def fitted(samples: Samples, length: int) -> Samples:
    """Cut at the end, or filled up with zeros there."""
    return np.pad(samples[:length], (0, max(0, length - len(samples))))


@njit(cache=True, nogil=True)
def _error(samples: Samples, one: int, other: int, length: int) -> np.float32:
    """Sum of squared differences of samples from two places on; a few at the end are left out."""
    total = splat(np.float32(0))
    for i in range(0, max(1, length // LANES) * LANES, LANES):
        difference = load(samples, one + i) - load(samples, other + i)
        total = total + difference * difference
    return sum_lanes(total)


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
            best = np.float32(np.inf)
            at = begin
            for offset in range(begin, begin + search):
                error = _error(samples, goes_on, offset, overlap)
                if error < best:
                    best, at = error, offset
        end = min(hop, len(out) - start)
        for i in range(end):
            if start > 0 and i < overlap:
                share = np.float32(i + 1) / np.float32(overlap + 1)
                out[start + i] = (1 - share) * samples[goes_on + i] + share * samples[at + i]
            else:
                out[start + i] = samples[at + i]
