"""Power spectra of sixteen frames of a waveform at once: what spectrograms of all kinds are made of.

Frames lie across a vector (`raytag.compiled.fft`), each as a complex transform of half its length, in a working set
that stays in the processor's second cache.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from numba import njit

from raytag.compiled import fft
from raytag.compiled.vectors import LANES, load, splat, split_power_of_two, store, store_transposed


class Frames(NamedTuple):
    """Constants of frames of one length and hop, in the form that the kernels read."""

    n_fft: int
    hop_length: int
    begin: int  # of the first frame, in the signal as the kernel gets it
    width: int  # columns of the transposed signal: hops that sixteen frames touch
    window: np.ndarray  # float32 (n_fft,): Hann / 2 (the split of even and odd samples needs the half)
    places: np.ndarray  # int64 (n_fft,): where sample n of the sixteen frames begins in the transposed signal
    plan: fft.FftPlan  # of length n_fft / 2
    rotations: np.ndarray  # float32 (n_fft / 2 + 2,): cos and sin of exp(-2πi k/n_fft), k <= n_fft / 4


@functools.lru_cache(maxsize=16)
def cut_frames(n_fft: int, hop_length: int, begin: int) -> Frames:
    """Frames of ``n_fft`` samples, an even number; the first begins at sample ``begin``, which may be negative."""
    samples = np.arange(n_fft)
    width = LANES + (n_fft - 1) // hop_length
    quarter = np.exp(-2j * np.pi * np.arange(n_fft // 4 + 1) / n_fft)
    return Frames(
        n_fft=n_fft,
        hop_length=hop_length,
        begin=begin,
        width=width,
        window=(0.25 - 0.25 * np.cos(2 * np.pi * samples / n_fft)).astype(np.float32),
        places=samples % hop_length * width + samples // hop_length,
        plan=fft.plan(n_fft // 2),
        rotations=np.stack([quarter.real, quarter.imag], axis=1).reshape(-1).astype(np.float32),
    )


class Bands(NamedTuple):
    """Weighted sums of neighbouring bins, of which only the non-zeros are kept."""

    first_bins: np.ndarray  # int64 (n_bands,): a band's first non-zero bin
    starts: np.ndarray  # int64 (n_bands + 1,): a band's weights are weights[starts[m] : starts[m + 1]]
    weights: np.ndarray  # float32


def cut_bands(filters: np.ndarray) -> Bands:
    """Of filters (n_bands, bins), float32."""
    nonzeros = [np.flatnonzero(band) for band in filters]
    firsts = [int(bins[0]) if bins.size else 0 for bins in nonzeros]
    lasts = [int(bins[-1]) if bins.size else -1 for bins in nonzeros]
    weights = [band[a : b + 1] for band, a, b in zip(filters, firsts, lasts, strict=True)]
    return Bands(np.array(firsts, np.int64), np.cumsum([0, *map(len, weights)]), np.concatenate(weights))


@njit(cache=True, nogil=True)
def make_room(frames):  # type: ignore[no-untyped-def]
    """Where `power_of` works."""
    half, length = frames.n_fft // 2, min(frames.hop_length, frames.n_fft)
    hops = np.empty(length * frames.width, np.float32)
    margin = np.empty(LANES * length, np.float32)
    x, y = np.empty(half * 32, np.float32), np.empty(half * 32, np.float32)
    return hops, margin, x, y, np.empty((half + 1) * LANES, np.float32)


@njit(cache=True, nogil=True)
def power_of(samples, first, frames, room):  # type: ignore[no-untyped-def]
    """|X[k]|² of frames first .. first + 15, float32: bin k is [16 k : 16 k + 16]. Call it in the frames' order.

    Beyond its ends the signal is zero.
    """
    hops, margin, x, y, power = room
    _advance(samples, first, frames, hops, margin)
    _window(hops, frames.window, frames.places, x)
    _power(fft.transform(x, y, frames.plan), frames.rotations, power)
    return power


@njit(cache=True, nogil=True, inline="always")
def band(values, bands, m):  # type: ignore[no-untyped-def]
    """Of sixteen frames' bins the sum that is band m."""
    total = splat(np.float32(0))
    row = (bands.first_bins[m] - bands.starts[m]) * LANES
    for i in range(bands.starts[m], bands.starts[m + 1]):
        total = total + splat(bands.weights[i]) * load(values, row + i * LANES)
    return total


@njit(cache=True, nogil=True)
def _advance(samples, first, frames, hops, margin):  # type: ignore[no-untyped-def]
    """hops[r * width + h] = samples[begin + (first + h) * hop_length + r], zero beyond the ends.

    Sample n = q·hop_length + r of frames first .. first + 15 is then one run of sixteen, at r * width + q: a
    sample is moved once although it stands in n_fft / hop_length frames. Hops that the frames before have
    touched too are shifted down, the others are transposed in tiles of 16 x 16.
    """
    hop, width = frames.hop_length, frames.width
    length = len(margin) // LANES
    begin = frames.begin + first * hop
    kept = 0
    if first:
        kept = width - LANES
        for r in range(length):
            for h in range(0, kept, LANES):
                store(hops, r * width + h, load(hops, r * width + h + LANES))
    for h in range(kept, width, LANES):
        h = min(h, width - LANES)
        source, start, step = samples, begin + h * hop, hop
        if start < 0 or start + LANES * hop > len(samples):
            for i in range(LANES):
                row = start + i * hop
                low = min(max(-row, 0), length)
                high = max(min(len(samples) - row, length), low)
                margin[i * length : i * length + low] = 0
                margin[i * length + low : i * length + high] = samples[row + low : row + high]
                margin[i * length + high : (i + 1) * length] = 0
            source, start, step = margin, 0, length
        _transpose(source, start, step, hops, h, width, length)


@njit(cache=True, nogil=True)
def _transpose(source, start, step, hops, h, width, length):  # type: ignore[no-untyped-def]
    """Sixteen runs of ``length`` samples become sixteen columns of ``hops``."""
    if length < LANES:
        for i in range(LANES):
            for r in range(length):
                hops[r * width + h + i] = source[start + i * step + r]
        return
    for r in range(0, length, LANES):
        r = min(r, length - LANES)
        store_transposed(source, start + r, step, hops, r * width + h, width)


@njit(cache=True, nogil=True)
def _window(hops, window, places, x):  # type: ignore[no-untyped-def]
    """Even samples become real parts, odd samples imaginary parts (STEP floats for a pair)."""
    for n in range(len(window)):
        store(x, n * LANES, splat(window[n]) * load(hops, places[n]))


@njit(cache=True, nogil=True)
def _power(z, rotations, power):  # type: ignore[no-untyped-def]
    """|X[k]|² of real sequences from the transform Z of (even + i·odd samples) / 2.

    With E, O the transforms of even and odd samples and M = n_fft / 2: 2 E[k] = Z[k] + conj Z[M - k],
    2 O[k] = -i (Z[k] - conj Z[M - k]), X[k] = E + w O and X[M - k] = conj(E - w O), w = exp(-2πi k/n_fft). The
    half is in the window. (Sorensen et al., *Real-valued fast Fourier transform algorithms*, 1987.)
    """
    m = len(z) // 32
    re, im = load(z, 0), load(z, 16)
    two = splat(np.float32(2))
    total, difference = (re + im) * two, (re - im) * two
    store(power, 0, total * total)
    store(power, m * LANES, difference * difference)
    for k in range(1, m // 2 + 1):
        ar, ai = load(z, 32 * k), load(z, 32 * k + 16)
        br, bi = load(z, 32 * (m - k)), load(z, 32 * (m - k) + 16)
        er, ei, pr, pi = ar + br, ai - bi, ai + bi, br - ar
        c, s = splat(rotations[2 * k]), splat(rotations[2 * k + 1])
        qr, qi = pr * c - pi * s, pr * s + pi * c
        ur, ui, vr, vi = er + qr, ei + qi, er - qr, ei - qi
        store(power, k * LANES, ur * ur + ui * ui)
        store(power, (m - k) * LANES, vr * vr + vi * vi)


@njit(cache=True, nogil=True, inline="always")
def logarithm(values):  # type: ignore[no-untyped-def]
    """(l, e) with ln v = l + e ln 2 of a vector of positive, normal float32; Cephes' polynomial (S. Moshier, 1989),
    to 1e-7."""
    m, exponent = split_power_of_two(values)
    f = m - splat(np.float32(1))
    p = splat(np.float32(7.0376836292e-2))
    p = p * f + splat(np.float32(-1.1514610310e-1))
    p = p * f + splat(np.float32(1.1676998740e-1))
    p = p * f + splat(np.float32(-1.2420140846e-1))
    p = p * f + splat(np.float32(1.4249322787e-1))
    p = p * f + splat(np.float32(-1.6668057665e-1))
    p = p * f + splat(np.float32(2.0000714765e-1))
    p = p * f + splat(np.float32(-2.4999993993e-1))
    p = p * f + splat(np.float32(3.3333331174e-1))
    square = f * f
    return f + (square * f * p - square * splat(np.float32(0.5))), exponent
