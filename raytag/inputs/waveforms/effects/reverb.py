"""Reverberation of a room."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

#: Delays at 44.1 kHz, samples, of eight combs side by side and of four all-passes in a row.
_COMBS = np.array([1116, 1188, 1277, 1356, 1422, 1491, 1557, 1617])
_ALL_PASSES = np.array([556, 441, 341, 225])
_GAIN = 0.015  # of what goes into the combs
_TINY = np.float32(1e-18)  # what is smaller is none: denormal numbers would take most of the time


def reverberated(
    samples: NDArray[np.float32],
    rate: int,
    reverberance: float,
    room_scale: float,
    damping: float = 50.0,
    pre_delay: float = 0.02,
) -> NDArray[np.float32]:
    """The samples and what a room makes of them, float32 (n,): the tail ends with the samples.

    Schroeder's and Moorer's reverberator as Freeverb sets it up: eight feedback combs with a low-pass in the loop,
    then four all-passes. [1]_ With f the feedback and d the damping of a comb of D samples,
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
        Seconds before the room answers.

    References
    ----------
    .. [1] J. O. Smith: Physical Audio Signal Processing, "Freeverb". W3K Publishing, 2010. The scales of percent
       are those of SoX, by which ex4sperans made its training samples.
    """
    feedback = 1 - 0.7 * (0.02 / 0.7) ** (reverberance / 100)
    combs = np.maximum(1, (_COMBS * (rate / 44100) * (0.1 + 0.9 * room_scale / 100)).astype(np.int64))
    all_passes = np.maximum(1, (_ALL_PASSES * (rate / 44100)).astype(np.int64))
    made = samples.copy()
    _add_room(
        np.ascontiguousarray(samples),
        combs,
        all_passes,
        np.float32(feedback),
        np.float32(0.2 + 0.3 * damping / 100),
        round(pre_delay * rate),
        made,
    )
    return made


@njit(cache=True, nogil=True, fastmath={"contract"})
def _add_room(
    samples: NDArray[np.float32],
    combs: NDArray[np.int64],  # (8,): delays
    all_passes: NDArray[np.int64],  # (4,)
    feedback: np.float32,
    damping: np.float32,
    delay: int,
    out: NDArray[np.float32],
) -> None:
    loops = np.zeros((len(combs), combs.max()), np.float32)
    lines = np.zeros((len(all_passes), all_passes.max()), np.float32)
    low = np.zeros(len(combs), np.float32)
    at, place = np.zeros(len(combs), np.int64), np.zeros(len(all_passes), np.int64)
    kept, half = np.float32(1) - damping, np.float32(0.5)
    for t in range(delay, len(samples)):
        x = samples[t - delay] * np.float32(_GAIN)
        wet = np.float32(0)
        for i in range(len(combs)):
            y = loops[i, at[i]]
            s = kept * y + damping * low[i]
            low[i] = s if abs(s) > _TINY else np.float32(0)
            loops[i, at[i]] = x + feedback * low[i]
            at[i] = at[i] + 1 if at[i] + 1 < combs[i] else 0
            wet += y
        for i in range(len(all_passes)):
            y = lines[i, place[i]]
            v = wet + half * y
            lines[i, place[i]] = v if abs(v) > _TINY else np.float32(0)
            place[i] = place[i] + 1 if place[i] + 1 < all_passes[i] else 0
            wet = y - wet
        out[t] += wet
