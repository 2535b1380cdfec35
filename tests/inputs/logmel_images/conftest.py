"""Banks, draws and the reference arrays of the published system."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from raytag.inputs.logmel_images.draws import UNMIXED, Draws


@dataclass(frozen=True)
class FloatBank:
    """A bank of unrounded frames in dB, so that the kernels can be held to reference arrays exactly."""

    buffer: NDArray[np.float32]
    offsets: NDArray[np.int64]

    @property
    def frames(self) -> NDArray[np.int64]:
        return np.diff(self.offsets)

    def logmel(self, row: int) -> NDArray[np.float32]:
        return self.buffer[self.offsets[row] : self.offsets[row + 1]].T


@pytest.fixture(scope="session")
def golden(shared: Path) -> Callable[[str], dict[str, NDArray]]:
    """The arrays of one case by name."""

    def read(case: str) -> dict[str, NDArray]:
        with np.load(shared / "golden" / f"{case}.npz") as arrays:
            return dict(arrays)

    return read


@pytest.fixture(scope="session")
def float_bank() -> Callable[[Sequence[NDArray]], FloatBank]:
    def make(logmels: Sequence[NDArray]) -> FloatBank:
        offsets = np.concatenate([[0], np.cumsum([logmel.shape[1] for logmel in logmels])])
        frames = np.concatenate([np.asarray(logmel, np.float32).T for logmel in logmels])
        return FloatBank(np.ascontiguousarray(frames), offsets.astype(np.int64))

    return make


@pytest.fixture(scope="session")
def plain_draws() -> Callable[..., Draws]:
    """Draws for clips of given lengths that crop the middle and change nothing; fields can be replaced."""

    def make(frames: Sequence[int], n_mels: int, crop_frames: int, **fields: object) -> Draws:
        n = len(frames)
        length = np.stack([np.asarray(frames)] * 2, axis=1)
        missing = np.maximum(crop_frames - length, 0)
        plain = Draws(
            first=np.where(missing > 0, -(missing // 2), (length - crop_frames) // 2),
            wrap=np.zeros((n, 2), bool),
            box=np.tile(np.array([0, 0, n_mels, crop_frames]), (n, 2, 1)),
            num_masks=np.zeros((n, 2), np.int64),
            mel_masks=np.zeros((n, 2, 1, 2), np.int64),
            frame_masks=np.zeros((n, 2, 1, 2), np.int64),
            mixer=np.full(n, UNMIXED),
            radius=np.full(n, 3),
            alpha=np.zeros(n, np.float32),
        )
        return plain._replace(**fields)

    return make
