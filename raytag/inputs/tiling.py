"""Where the tiles lie that cover whole clips."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def count_tiles(frames: ArrayLike, width: int, step: int) -> NDArray[np.int64]:
    """Tiles that cover a clip of ``frames`` frames, at least one: int64 of the shape of ``frames``.

    Tiles of ``width`` frames begin every ``step`` frames; the last one reaches the clip's end or beyond.
    """
    if not 1 <= step <= width:
        raise ValueError(
            f"step must lie in [1, width] = [1, {width}], not {step}: frames between tiles would be lost"
        )
    steps = -((width - step - np.asarray(frames, dtype=np.int64)) // step)  # rounded up
    return np.maximum(steps, 1)


def first_frames(frames: NDArray[np.int64], width: int, step: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first frame of every tile, clip after clip, and which clip it belongs to: int64 (n_tiles,) both.

    Tiles are centred on the clip as far as whole frames allow: where they span more frames than it has, the first
    begins before it, and the larger half of what is missing lies behind its end.
    """
    counts = count_tiles(frames, width, step)
    owner = np.repeat(np.arange(len(frames)), counts)
    number = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    missing = step * counts - (frames - (width - step))
    return number * step - (missing // 2)[owner], owner
