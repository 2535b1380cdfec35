"""Fourier transforms of sixteen sequences at once.

Stockham's self-sorting algorithm (Van Loan, *Computational Frameworks for the Fast Fourier Transform*, 1992,
§1.7), in passes of radix 8, 4 and 5 and any other prime. The sixteen sequences lie across a vector, so every
step of every pass is a full-width load, a few operations and a store, whatever the length; one sequence at a
time, the short strides of the first passes leave most of a vector empty.

Layout: element k of all sequences is 32 float32, ``[32 k : 32 k + 16]`` real and ``[32 k + 16 : 32 k + 32]``
imaginary parts.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from raytag.compiled.vectors import load, splat, store

#: float32 that one element of all sequences takes: 16 real and 16 imaginary parts.
STEP = 32

_COS1 = np.float32(math.cos(2 * math.pi / 5))
_COS2 = np.float32(math.cos(4 * math.pi / 5))
_SIN1 = np.float32(math.sin(2 * math.pi / 5))
_SIN2 = np.float32(math.sin(4 * math.pi / 5))
_HALF_ROOT = np.float32(math.sqrt(0.5))


class FftPlan(NamedTuple):
    """What `transform` needs for one length."""

    length: int
    radices: np.ndarray  # int64 (n_passes,), first pass first; their product is the length
    twiddles: np.ndarray  # float32: for each pass, cos and sin of its rotations
    starts: np.ndarray  # int64 (n_passes,): where a pass's rotations begin
    roots: np.ndarray  # float32: cos and sin of the r-th roots of unity, for each pass of another radix
    root_starts: np.ndarray  # int64 (n_passes,)


def radices(length: int) -> list[int]:
    """Radices of the passes: as few passes as 8, 4 and 5 allow, then the other primes.

    >>> radices(1280)
    [8, 8, 4, 5]
    >>> radices(1024)
    [8, 8, 4, 4]
    """
    if length < 1:
        raise ValueError(f"length must be positive, not {length}")
    twos, rest = 0, length
    while rest % 2 == 0:
        twos, rest = twos + 1, rest // 2
    fours = {0: 0, 1: 2, 2: 1}[twos % 3]
    passes = [2] if twos == 1 else [8] * ((twos - 2 * fours) // 3) + [4] * fours
    prime = 3
    while rest > 1:
        while rest % prime == 0:
            passes.append(prime)
            rest //= prime
        prime += 2
        if prime * prime > rest > 1:
            prime = rest
    return passes


def plan(length: int) -> FftPlan:
    """Prepare transforms of ``length`` complex numbers."""
    passes = radices(length)
    twiddles, starts, roots, root_starts = [np.zeros(0)], [], [np.zeros(0)], []
    current = length
    for radix in passes:
        m = current // radix
        starts.append(sum(map(len, twiddles)))
        twiddles.append(_unit(np.outer(np.arange(m), np.arange(1, radix)), current))
        root_starts.append(sum(map(len, roots)))
        if radix not in (4, 5, 8):
            roots.append(_unit(np.arange(radix), radix))
        current = m
    return FftPlan(
        length,
        np.array(passes, np.int64),
        np.concatenate(twiddles).astype(np.float32),
        np.array(starts, np.int64),
        np.concatenate(roots).astype(np.float32),
        np.array(root_starts, np.int64),
    )


def _unit(numerators: np.ndarray, denominator: int) -> np.ndarray:
    """exp(-2πi · numerator/denominator) as alternating real and imaginary parts, float64."""
    angle = -2 * np.pi * (numerators.reshape(-1) % denominator) / denominator
    return np.stack([np.cos(angle), np.sin(angle)], axis=1).reshape(-1)


@njit(cache=True, nogil=True)
def transform(x: np.ndarray, y: np.ndarray, plan: Any) -> np.ndarray:
    """Forward transform, unnormalised: X[k] = Σ x[n] exp(-2πi nk/length).

    Parameters
    ----------
    x : float32 (32 * length,)
        Input; overwritten.
    y : float32 (32 * length,)
        Room to work.
    plan : FftPlan

    Returns
    -------
    float32 (32 * length,)
        ``x`` or ``y``, whichever holds the result.
    """
    n, stride = plan.length, 1
    for i in range(len(plan.radices)):
        radix = plan.radices[i]
        twiddles = plan.twiddles[plan.starts[i] :]
        if radix == 8:
            _pass8(x, y, n, stride, twiddles)
        elif radix == 4:
            _pass4(x, y, n, stride, twiddles)
        elif radix == 5:
            _pass5(x, y, n, stride, twiddles)
        else:
            _pass_any(x, y, n, stride, radix, twiddles, plan.roots[plan.root_starts[i] :])
        n //= radix
        stride *= radix
        x, y = y, x
    return x


@njit(cache=True, nogil=True, inline="always")
def _store_rotated(y, o, re, im, twiddles, i):  # type: ignore[no-untyped-def]
    """Store (re + i·im) · twiddle number i."""
    c, s = splat(twiddles[2 * i]), splat(twiddles[2 * i + 1])
    store(y, o, re * c - im * s)
    store(y, o + 16, re * s + im * c)


@njit(cache=True, nogil=True)
def _pass4(x, y, n, stride, twiddles):  # type: ignore[no-untyped-def]
    m = n // 4
    d, e = stride * m * 32, stride * 32
    for p in range(m):
        t = 3 * p
        for q in range(stride):
            i, o = (q + stride * p) * 32, (q + stride * 4 * p) * 32
            ar, ai = load(x, i), load(x, i + 16)
            br, bi = load(x, i + d), load(x, i + d + 16)
            cr, ci = load(x, i + 2 * d), load(x, i + 2 * d + 16)
            dr, di = load(x, i + 3 * d), load(x, i + 3 * d + 16)
            sr, si, tr, ti = ar + cr, ai + ci, ar - cr, ai - ci
            ur, ui, vr, vi = br + dr, bi + di, br - dr, bi - di
            store(y, o, sr + ur)
            store(y, o + 16, si + ui)
            _store_rotated(y, o + e, tr + vi, ti - vr, twiddles, t)
            _store_rotated(y, o + 2 * e, sr - ur, si - ui, twiddles, t + 1)
            _store_rotated(y, o + 3 * e, tr - vi, ti + vr, twiddles, t + 2)


@njit(cache=True, nogil=True)
def _pass5(x, y, n, stride, twiddles):  # type: ignore[no-untyped-def]
    m = n // 5
    d, e = stride * m * 32, stride * 32
    c1, c2, s1, s2 = splat(_COS1), splat(_COS2), splat(_SIN1), splat(_SIN2)
    for p in range(m):
        t = 4 * p
        for q in range(stride):
            i, o = (q + stride * p) * 32, (q + stride * 5 * p) * 32
            ar, ai = load(x, i), load(x, i + 16)
            br, bi = load(x, i + d), load(x, i + d + 16)
            cr, ci = load(x, i + 2 * d), load(x, i + 2 * d + 16)
            dr, di = load(x, i + 3 * d), load(x, i + 3 * d + 16)
            er, ei = load(x, i + 4 * d), load(x, i + 4 * d + 16)
            pr, pi, qr, qi = br + er, bi + ei, br - er, bi - ei
            rr, ri, sr, si = cr + dr, ci + di, cr - dr, ci - di
            fr, fi = ar + c1 * pr + c2 * rr, ai + c1 * pi + c2 * ri
            gr, gi = ar + c2 * pr + c1 * rr, ai + c2 * pi + c1 * ri
            hr, hi = s1 * qr + s2 * sr, s1 * qi + s2 * si
            kr, ki = s2 * qr - s1 * sr, s2 * qi - s1 * si
            store(y, o, ar + pr + rr)
            store(y, o + 16, ai + pi + ri)
            _store_rotated(y, o + e, fr + hi, fi - hr, twiddles, t)
            _store_rotated(y, o + 2 * e, gr + ki, gi - kr, twiddles, t + 1)
            _store_rotated(y, o + 3 * e, gr - ki, gi + kr, twiddles, t + 2)
            _store_rotated(y, o + 4 * e, fr - hi, fi + hr, twiddles, t + 3)


@njit(cache=True, nogil=True)
def _pass8(x, y, n, stride, twiddles):  # type: ignore[no-untyped-def]
    m = n // 8
    d, e = stride * m * 32, stride * 32
    root = splat(_HALF_ROOT)
    for p in range(m):
        t = 7 * p
        for q in range(stride):
            i, o = (q + stride * p) * 32, (q + stride * 8 * p) * 32
            ar, ai = load(x, i), load(x, i + 16)
            br, bi = load(x, i + d), load(x, i + d + 16)
            cr, ci = load(x, i + 2 * d), load(x, i + 2 * d + 16)
            dr, di = load(x, i + 3 * d), load(x, i + 3 * d + 16)
            er, ei = load(x, i + 4 * d), load(x, i + 4 * d + 16)
            fr, fi = load(x, i + 5 * d), load(x, i + 5 * d + 16)
            gr, gi = load(x, i + 6 * d), load(x, i + 6 * d + 16)
            hr, hi = load(x, i + 7 * d), load(x, i + 7 * d + 16)
            # even outputs: a transform of 4 over the sums; odd ones: over the rotated differences
            s0r, s0i, d0r, d0i = ar + er, ai + ei, ar - er, ai - ei
            s1r, s1i, d1r, d1i = br + fr, bi + fi, br - fr, bi - fi
            s2r, s2i, d2r, d2i = cr + gr, ci + gi, cr - gr, ci - gi
            s3r, s3i, d3r, d3i = dr + hr, di + hi, dr - hr, di - hi
            r1r, r1i = (d1r + d1i) * root, (d1i - d1r) * root
            r3r, r3i = (d3i - d3r) * root, (d3r + d3i) * root  # r3i with its sign turned
            pr, pi, qr, qi = s0r + s2r, s0i + s2i, s0r - s2r, s0i - s2i
            ur, ui, vr, vi = s1r + s3r, s1i + s3i, s1r - s3r, s1i - s3i
            store(y, o, pr + ur)
            store(y, o + 16, pi + ui)
            _store_rotated(y, o + 2 * e, qr + vi, qi - vr, twiddles, t + 1)
            _store_rotated(y, o + 4 * e, pr - ur, pi - ui, twiddles, t + 3)
            _store_rotated(y, o + 6 * e, qr - vi, qi + vr, twiddles, t + 5)
            pr, pi, qr, qi = d0r + d2i, d0i - d2r, d0r - d2i, d0i + d2r
            ur, ui, vr, vi = r1r + r3r, r1i - r3i, r1r - r3r, r1i + r3i
            _store_rotated(y, o + e, pr + ur, pi + ui, twiddles, t)
            _store_rotated(y, o + 3 * e, qr + vi, qi - vr, twiddles, t + 2)
            _store_rotated(y, o + 5 * e, pr - ur, pi - ui, twiddles, t + 4)
            _store_rotated(y, o + 7 * e, qr - vi, qi + vr, twiddles, t + 6)


@njit(cache=True, nogil=True)
def _pass_any(x, y, n, stride, radix, twiddles, roots):  # type: ignore[no-untyped-def]
    """A pass by the definition, radix² products; for 2, 3 and the primes above 5."""
    m = n // radix
    d, e = stride * m * 32, stride * 32
    for p in range(m):
        for q in range(stride):
            i, o = (q + stride * p) * 32, (q + stride * radix * p) * 32
            for j in range(radix):
                re, im = load(x, i), load(x, i + 16)
                for k in range(1, radix):
                    r = 2 * (j * k % radix)
                    c, s = splat(roots[r]), splat(roots[r + 1])
                    a, b = load(x, i + k * d), load(x, i + k * d + 16)
                    re = re + (a * c - b * s)
                    im = im + (a * s + b * c)
                if j == 0:
                    store(y, o, re)
                    store(y, o + 16, im)
                else:
                    _store_rotated(y, o + j * e, re, im, twiddles, (radix - 1) * p + j - 1)
