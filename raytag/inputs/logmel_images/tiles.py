"""Plain images for validation and prediction: one centred crop a clip, or tiles that cover it."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from raytag.batch import ALL
from raytag.features.bank import Bank
from raytag.inputs import tiling
from raytag.inputs.logmel_images import kernel
from raytag.inputs.logmel_images.checks import (
    bank_arrays,
    delta_taps,
    image_width,
    lengths,
    output,
    row_numbers,
)


def center_crops(bank: Bank, rows: ArrayLike, crop_frames: int) -> NDArray[np.float32]:
    """The middle of each clip; short clips lie centred in their minimum.

    Parameters
    ----------
    bank : Bank
        Log-mels; only read.
    rows : int64 (n,)
        Rows of the bank.
    crop_frames : int
        Width of an image, frames.

    Returns
    -------
    float32 (n, 3, n_mels, crop_frames)
        dB / 100, first and second delta (computed after cropping).
    """
    width = image_width(crop_frames)
    clips = row_numbers(bank, rows)
    frames = lengths(bank, clips)
    first = np.where(frames < width, -((width - frames) // 2), (frames - width) // 2)
    return _crops(bank, clips, first, width)


def count_tiles(frames: ArrayLike, crop_frames: int, step: int, shifts: int = 1) -> NDArray[np.int64]:
    """Tiles that cover a clip of ``frames`` frames, at least one: `raytag.inputs.tiling.count_tiles`."""
    return tiling.count_tiles(frames, image_width(crop_frames), step, shifts)


def tiles(
    bank: Bank, rows: ArrayLike, crop_frames: int, step: int, which: slice = ALL, shifts: int = 1
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Overlapping images that cover whole clips.

    A clip is padded with its minimum to the frames that its tiles span, half on each side (the larger half on
    the right). Ask for as many at a time as memory allows: `count_tiles` says how many tiles the rows make.

    Parameters
    ----------
    bank : Bank
        Log-mels; only read.
    rows : int64 (n,)
        Rows of the bank.
    crop_frames : int
        Width of a tile, frames.
    step : int
        Frames from one tile to the next.
    which : slice
        Of the tiles of all rows.
    shifts : int
        Grids of tiles: `raytag.inputs.tiling.first_frames`.

    Returns
    -------
    images : float32 (n_tiles, 3, n_mels, crop_frames)
        dB / 100, first and second delta (computed per tile). Clip after clip, left to right.
    owner : int64 (n_tiles,)
        Which of ``rows`` (0 to n - 1) a tile belongs to; ascending, and of all tiles no clip is without one.
    """
    width = image_width(crop_frames)
    clips = row_numbers(bank, rows)
    first, owner = (every[which] for every in tiling.first_frames(lengths(bank, clips), width, step, shifts))
    return _crops(bank, clips[owner], first, width), owner


def _crops(bank: Bank, clips: NDArray[np.int64], first: NDArray[np.int64], width: int) -> NDArray[np.float32]:
    images = output(None, (len(clips), 3, bank.buffer.shape[1], width))
    kernel.crop_batch(*bank_arrays(bank), clips, first, delta_taps(), images)
    return images
