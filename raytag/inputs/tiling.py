"""Where the tiles lie that cover whole clips, and the fields that say where those of test clips do."""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, PrivateAttr

from raytag import parts


class TiledInput(parts.Input):
    """An input whose tiles may lie otherwise in test clips, and in recordings that a run never saw."""

    test_shifts: int = Field(1, ge=1)
    # grids of test tiles, each shifted by a step divided by this; all tiles are pooled
    _for_test: bool = PrivateAttr(False)

    def for_test(self) -> Self:
        copy = self.model_copy()
        copy._for_test = True
        return copy

    @property
    def shifts(self) -> int:
        """Grids of tiles: one but for test clips."""
        return self.test_shifts if self._for_test else 1


def check_grids(width: int, step: int, shifts: int = 1) -> None:
    """Raise ``ValueError`` where grids of tiles, all in frames, would lose frames or repeat tiles."""
    if not 1 <= step <= width:
        raise ValueError(
            f"step must lie in [1, width] = [1, {width}], not {step}: frames between tiles would be lost"
        )
    if not 1 <= shifts <= max(1, step // 2):
        raise ValueError(
            f"test_shifts must lie in [1, step / 2] = [1, {max(1, step // 2)}], not {shifts}: tiles would be the "
            "same but for a frame"
        )


def count_tiles(frames: ArrayLike, width: int, step: int, shifts: int = 1) -> NDArray[np.int64]:
    """Tiles that cover a clip of ``frames`` frames, at least one: int64 of the shape of ``frames``.

    Tiles of ``width`` frames begin every ``step`` frames; the last one reaches the clip's end or beyond. There are
    ``shifts`` such grids.
    """
    check_grids(width, step, shifts)
    steps = -((width - step - np.asarray(frames, dtype=np.int64)) // step)  # rounded up
    return np.maximum(steps, 1) * shifts


def first_frames(
    frames: NDArray[np.int64], width: int, step: int, shifts: int = 1
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first frame of every tile, clip after clip, and which clip it belongs to: int64 (n_tiles,) both.

    A grid is centred on the clip as far as whole frames allow: where it spans more frames than that has, the first
    tile begins before it, and the larger half of what is missing lies behind its end. Grid i of n is shifted by
    (i - (n - 1) / 2) · step / n frames, rounded; together they cover what one does. Tiles come left to right.
    """
    counts = count_tiles(frames, width, step, shifts)
    owner = np.repeat(np.arange(len(frames)), counts)
    number = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    missing = step * (counts // shifts) - (frames - (width - step))
    offsets = np.rint((np.arange(shifts) - (shifts - 1) / 2) * step / shifts).astype(np.int64)
    first = number // shifts * step - (missing // 2)[owner]
    return first + offsets[number % shifts], owner
