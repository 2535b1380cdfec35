"""Checked arguments for the kernels, which check nothing themselves."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from raytag.features.bank import SCALE, Bank
from raytag.inputs.logmel_images.deltas import INPUT_SCALE, WIDTH, delta_coefficients


class BankArrays(NamedTuple):
    """A bank as the kernels take it."""

    buffer: NDArray[np.int16] | NDArray[np.float32]  # (total_frames, n_mels)
    offsets: NDArray[np.int64]  # (n_clips + 1,)
    scale: np.float32  # the buffer's unit in the networks' unit, 100 dB


def bank_arrays(bank: Bank) -> BankArrays:
    """Read-only views of a bank's arrays (so that one compiled kernel serves all banks) and its unit.

    Frames are int16 in steps of 1/256 dB, or float32 in dB.
    """
    if bank.buffer.dtype == np.int16:
        scale = INPUT_SCALE / SCALE
    elif bank.buffer.dtype == np.float32:
        scale = INPUT_SCALE
    else:
        raise ValueError(f"a bank's frames must be int16 or float32, not {bank.buffer.dtype}")
    views = np.asarray(bank.buffer).view(), np.asarray(bank.offsets).view()  # plain arrays, also of a map
    for view in views:
        view.flags.writeable = False
    return BankArrays(*views, np.float32(scale))


def row_numbers(bank: Bank, rows: ArrayLike, name: str = "rows") -> NDArray[np.int64]:
    """A vector of valid row numbers of the bank, none of them an empty clip; ValueError says which is not."""
    array = np.array(rows)
    if array.ndim != 1 or (array.size and not np.issubdtype(array.dtype, np.integer)):
        raise ValueError(f"{name} must be a vector of integers, not {array.dtype} of shape {array.shape}")
    array = array.astype(np.int64)
    n_clips = len(bank.offsets) - 1
    outside = (array < 0) | (array >= n_clips)
    if outside.any():
        raise ValueError(f"{name}: {array[outside][0]} is not a row of a bank of {n_clips} clips")
    empty = bank.offsets[array] == bank.offsets[array + 1]
    if empty.any():
        raise ValueError(
            f"{name}: clip {array[empty][0]} of the bank has no frames (empty clips belong in quarantine)"
        )
    return array


def lengths(bank: Bank, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Frames of the clips in these rows, int64 (n,)."""
    return bank.offsets[rows + 1] - bank.offsets[rows]


def image_width(crop_frames: int) -> int:
    """``crop_frames``, or a ValueError where a delta does not fit."""
    if crop_frames < WIDTH:
        raise ValueError(f"crop_frames must be at least {WIDTH}, the width of a delta, not {crop_frames}")
    return int(crop_frames)


def output(out: NDArray[np.float32] | None, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """``out`` if the kernels can write ``shape`` into it, or a fresh array."""
    if out is None:
        return np.empty(shape, np.float32)
    if out.shape != shape or out.dtype != np.float32:
        raise ValueError(f"out must be float32 of shape {shape}, not {out.dtype} of shape {out.shape}")
    if not (out.flags.c_contiguous and out.flags.writeable):
        raise ValueError("out must be C-contiguous and writeable")
    return out


@cache
def delta_taps() -> NDArray[np.float32]:
    """Weights of nine neighbouring frames, earliest first, for deltas of order 1 and 2: float32 (2, 9)."""
    return np.stack([delta_coefficients(order)[0] for order in (1, 2)]).astype(np.float32)
