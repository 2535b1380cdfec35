"""Magnitude spectrograms of waveforms, as ex4sperans has them (third place of Freesound Audio Tagging 2019).

The fields; `raytag.models.nets.magnitude` computes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from raytag.models.front_ends.spectra import Framed, InMel

if TYPE_CHECKING:
    from torch import nn


class MagnitudeSTFT(Framed):
    """ln(magnitude + offset): (B, samples) -> (B, channels, 1 + n_fft / 2, frames).

    Frames are centred on multiples of ``hop_length``, with a Hann window; beyond its ends a clip is mirrored, again
    and again where it is shorter than half a frame. Of a batch that is padded each clip has the frames that it has
    alone.
    """

    takes_lengths: ClassVar[bool] = True

    n_fft: int = Field(256, ge=2)  # samples; even
    hop_length: int = Field(128, ge=1)  # samples
    offset: float = Field(1e-4, ge=1e-30)  # added to magnitudes of waveforms of full scale 1
    channels: Literal[1, 2, 3] = 1  # 1: the spectrogram; 2: and -1 (lowest band) to 1 (highest); 3: three copies

    def shape(self, features: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
        return self.channels, *super().shape(features, shape)[1:]

    def build(self, features: Any) -> nn.Module:
        from raytag.models.nets.magnitude import Magnitudes

        return Magnitudes(self.n_fft, self.hop_length, self.offset, self.channels, self.filters(features))


class MagnitudeMel(InMel, MagnitudeSTFT):
    """The same with the magnitudes summed in mel bands before the logarithm: (B, channels, n_mels, frames)."""

    n_fft: int = Field(2048, ge=2)  # samples; even
    hop_length: int = Field(1024, ge=1)  # samples
    n_mels: int = Field(128, ge=1)  # bands, Slaney scale and area normalisation
    fmin: float = Field(5.0, ge=0)  # Hz
