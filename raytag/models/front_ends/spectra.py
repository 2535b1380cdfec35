"""Spectrograms of waveforms, computed on the device: the fields (`raytag.models.nets.spectra` computes)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import Field, model_validator

from raytag import parts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn


class Framed(parts.FrontEnd):
    """What all spectrograms of waveforms have: frames centred on multiples of ``hop_length``."""

    sizes: ClassVar[tuple[str, ...]] = ("front_end.n_fft", "front_end.hop_length")

    n_fft: int = Field(1024, ge=2)  # samples; even
    hop_length: int = Field(512, ge=1)  # samples

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.n_fft % 2:
            raise ValueError(f"n_fft must be even, not {self.n_fft}")
        return self

    @property
    def bands(self) -> int:
        """Rows of a spectrogram."""
        return 1 + self.n_fft // 2

    def filters(self, features: Any) -> NDArray[np.float32] | None:
        """What turns the bins of a transform into bands, (bands, 1 + n_fft / 2); None: every bin is one."""
        return None

    def shape(self, features: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
        if len(shape) != 1:
            raise ValueError(
                f"front_end.name={self.name} takes waveforms, and the input gives {' x '.join(map(str, shape))}: "
                "set input.name=WaveformCrops with features.name=Waveforms, or front_end.name=AsIs"
            )
        return 1, self.bands, 1 + shape[0] // self.hop_length


class STFT(Framed):
    """Spectrograms of waveforms: (B, samples) -> (B, 1, 1 + n_fft / 2, frames), power in dB / 100.

    Frames are centred on multiples of ``hop_length``, with a Hann window and zeros beyond the ends; what lies more
    than ``top_db`` below a sample's maximum is raised to that.
    """

    top_db: float = Field(80.0, gt=0)  # dB below the sample's maximum: the floor

    def build(self, features: Any) -> nn.Module:
        import torch

        from raytag.models.nets.spectra import Spectra

        filters = self.filters(features)
        return Spectra(
            self.n_fft, self.hop_length, self.top_db, None if filters is None else torch.from_numpy(filters)
        )


class InMel(Framed):
    """What spectrograms in mel bands have besides."""

    sizes: ClassVar[tuple[str, ...]] = ("front_end.n_mels", "front_end.hop_length")

    n_mels: int = Field(64, ge=1)  # bands, Slaney scale and area normalisation
    fmin: float = Field(20.0, ge=0)  # Hz
    fmax: float | None = Field(None, gt=0)  # Hz; None: half the sample rate

    @property
    def bands(self) -> int:
        return self.n_mels

    def filters(self, features: Any) -> NDArray[np.float32]:
        import librosa  # takes a while to import

        filters: NDArray[np.float32] = librosa.filters.mel(
            sr=features.sample_rate, n_fft=self.n_fft, n_mels=self.n_mels, fmin=self.fmin, fmax=self.fmax
        )
        return filters

    def shape(self, features: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
        half = features.sample_rate / 2
        if not self.fmin < (self.fmax or half) <= half:
            raise ValueError(
                f"front_end.fmin {self.fmin:g} Hz must be below front_end.fmax {self.fmax or half:g} Hz, and that "
                f"at most half of features.sample_rate ({half:g} Hz)"
            )
        return super().shape(features, shape)


class Mel(InMel, STFT):
    """The same in mel bands: (B, samples) -> (B, 1, n_mels, frames), numbers as of `raytag.features.LogMel`."""
