"""Log-mel spectrograms, as most systems see sound."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field, model_validator

from raytag.features.sets.base import OfRecordings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from raytag.features.logmel import LogMel


class LogMels(OfRecordings):
    """Log-mel spectrograms (frames, n_mels) in steps of 1/256 dB.

    The defaults are argus-freesound's (44.1 kHz, 63.9 frames a second).
    """

    level_of: ClassVar[str] = "loudest band"

    n_fft: int = Field(2560, gt=0)  # samples
    hop_length: int = Field(690, gt=0)  # samples
    n_mels: int = Field(128, gt=0)  # bands, Slaney scale and area normalisation
    fmin: float = Field(20.0, ge=0)  # Hz
    fmax: float = Field(22050.0, gt=0)  # Hz, at most half the sample rate
    top_db: float = Field(80.0, gt=0)  # dB below the clip's maximum: the floor

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.fmin < self.fmax <= self.sample_rate / 2:
            raise ValueError(
                f"fmin {self.fmin} Hz must be below fmax {self.fmax} Hz, and fmax at most half of "
                f"sample_rate ({self.sample_rate / 2} Hz)"
            )
        return self

    @property
    def width(self) -> int:
        return self.n_mels

    @property
    def rate(self) -> float:
        return self.sample_rate / self.hop_length

    @property
    def highest(self) -> float:
        return self.fmax

    @property
    def transform(self) -> LogMel:
        """Waveform to log-mel; ``ValueError`` where the fields fit no spectrogram."""
        from raytag.features.logmel import LogMel

        names = ("sample_rate", "n_fft", "hop_length", "n_mels", "fmin", "fmax", "top_db", "pad_mode")
        return LogMel(**{name: getattr(self, name) for name in names})

    def check(self) -> None:
        self.transform  # noqa: B018

    def spectrogram(self, data: bytes, path: str) -> tuple[NDArray[np.float32], tuple[str, ...]]:
        """float32 (n_mels, frames) of a file's content, dB re 1, and remarks on it; errors as in `compute`."""
        samples, remarks = self.waveform(data, path)
        return self.transform(samples), remarks

    def compute(self, data: bytes, path: str) -> tuple[NDArray[np.int16], tuple[str, ...]]:
        from raytag.features.bank import quantise
        from raytag.features.decoding import UnusableClip

        spectrogram, remarks = self.spectrogram(data, path)
        try:
            return quantise(spectrogram), remarks
        except ValueError as error:
            raise UnusableClip("out_of_range", str(error), path, remarks) from None

    def noise(self, frames: int, rng: np.random.Generator) -> NDArray[np.int16]:
        from raytag.features.bank import quantise

        return quantise(rng.normal(-40.0, 10.0, (self.n_mels, frames)))

    def level(self, frames: NDArray[np.int16]) -> float:
        from raytag.features.bank import SCALE

        return float(frames.max()) / SCALE

    def at_rate(self, sample_rate: int) -> dict[str, float]:
        """The same seconds and Hz of a frame."""
        scale = sample_rate / self.sample_rate
        return {
            "sample_rate": sample_rate,
            "fmax": sample_rate / 2,
            "n_fft": 2 * max(1, round(self.n_fft * scale / 2)),
            "hop_length": max(1, round(self.hop_length * scale)),
        }


def extract(path: str | os.PathLike[str], features: LogMels) -> NDArray[np.float32]:
    """The log-mel spectrogram of one file: `raytag.features.read_waveform`, then `raytag.features.LogMel`.

    Returns
    -------
    float32 (n_mels, frames)
        dB re 1.

    Raises
    ------
    UnusableClip
        See `raytag.features.decoding.UnusableClip`.
    """
    from raytag.features.decoding import read_bytes

    return features.spectrogram(read_bytes(path), os.fspath(path))[0]
