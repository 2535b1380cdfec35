"""What networks are trained on where the tiles of clips are known: means over some of a clip's tiles.

argus-freesound's only augmentation on the second level: half of the draws keep a contiguous part of the clip's
tiles, half (of these and of the others) a random choice of what is left; the mean over those tiles is the input.
Of all members the same tiles are taken. Where members cut a clip into different numbers of tiles, the finest says
how many there are, and the others give the tile in which the middle of that one lies.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from raytag.ensemble.predictions.windows import ClipTiles

PROBABILITY = 0.5  # of each of the two


def tile_means(
    windows: Sequence[ClipTiles], clips: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.float32]:
    """A random mean over tiles for each drawn clip.

    Parameters
    ----------
    windows : sequence of ClipTiles
        Of each member.
    clips : np.ndarray [shape=(n,)], int64
        Their numbers, which may repeat.
    rng : np.random.Generator

    Returns
    -------
    np.ndarray [shape=(n_members, n, n_classes)], float32
    """
    first = np.stack([one.first[clips] for one in windows])  # (members, n)
    counts = np.stack([one.first[clips + 1] for one in windows]) - first
    finest = counts.max(axis=0)
    draw, tile = draw_tiles(finest, rng)
    starts = np.searchsorted(draw, np.arange(len(clips)))
    share = np.float32(1) / np.diff(starts, append=len(draw))[:, None].astype(np.float32)
    out = np.empty((len(windows), len(clips), windows[0].values.shape[1]), np.float32)
    for m, one in enumerate(windows):
        own = (2 * tile + 1) * counts[m, draw] // (2 * finest[draw])  # floor((tile + 1/2) own count / finest)
        np.add.reduceat(one.values[first[m, draw] + own], starts, axis=0, out=out[m])
        out[m] *= share
    return out


def draw_tiles(counts: NDArray[np.int64], rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which tiles are averaged.

    Parameters
    ----------
    counts : np.ndarray [shape=(n,)], int64
        Tiles of each drawn clip, at least one.
    rng : np.random.Generator

    Returns
    -------
    draw, tile : np.ndarray [shape=(k,)], int64
        Number of the draw, ascending, and of a tile within its clip, none twice; every draw has one at least.
    """
    n = len(counts)
    length = np.where(rng.random(n) < PROBABILITY, rng.integers(1, counts, endpoint=True), counts)
    start = rng.integers(0, counts - length, endpoint=True)
    size = np.where(rng.random(n) < PROBABILITY, rng.integers(1, length, endpoint=True), length)
    draw = np.repeat(np.arange(n), length)
    place = np.arange(len(draw)) - np.repeat(np.cumsum(length) - length, length)  # within the part
    # the tiles with the smallest of as many random numbers are a choice without replacement
    shuffled = np.lexsort((rng.random(len(draw)), draw))
    chosen = shuffled[place < size[draw]]
    return draw[chosen], (start[draw] + place)[chosen]
