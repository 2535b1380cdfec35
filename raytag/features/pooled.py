"""Recordings as one vector each: what linear models and comparisons of recordings look at."""

from __future__ import annotations

import numpy as np

from raytag.features.bank import Bank

MAX_VALUES = 200_000_000  # of the bank; where these clips have more, frames are left out at equal distances
MAX_BANDS = 128  # where frames have more, neighbouring bands are averaged after pooling


def pool(bank: Bank, clips: np.ndarray) -> np.ndarray:
    """Mean and standard deviation over the frames of clips of a bank (rows, int64), in the bank's unit.

    Returns
    -------
    np.ndarray [shape=(n, 2 * min(bands, MAX_BANDS))], float64
    """
    bands = bank.n_mels
    limit = max(1, MAX_VALUES // (len(clips) * bands))  # frames a clip
    groups = np.linspace(0, bands, min(bands, MAX_BANDS), endpoint=False).astype(np.int64)
    widths = np.diff(groups, append=bands)
    pooled = np.empty((len(clips), 2, len(groups)))
    for row, i in enumerate(clips):
        start, end = bank.offsets[i], bank.offsets[i + 1]
        # sums of int16 and of their squares are exact in float64, so the order of the additions does not matter
        frames = bank.buffer[start : end : -(-int(end - start) // limit)].astype(np.float64)
        mean = frames.sum(axis=0) / len(frames)
        variance = np.einsum("tb,tb->b", frames, frames) / len(frames) - mean * mean
        both = np.stack([mean, np.sqrt(np.maximum(variance, 0.0))])
        pooled[row] = np.add.reduceat(both, groups, axis=1) / widths
    return pooled.reshape(len(clips), -1)
