"""Spectrograms of waveforms as a module without weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn

#: Smallest power that is told from none: -100 dB.
AMIN = 1e-10


class Spectra(nn.Module):
    """Waveforms (B, samples) to spectrograms (B, 1, bands, 1 + samples // hop_length) in dB / 100.

    ``max(10 log10(max(filters · |STFT|², 1e-10)), maximum of the sample - top_db) / 100``.

    Parameters
    ----------
    n_fft, hop_length
        Of the transform, samples; Hann window, frames centred on multiples of ``hop_length``.
    top_db
        dB.
    filters : float32 (bands, 1 + n_fft // 2), optional
        What turns power into bands; None: every frequency is one.
    """

    def __init__(self, n_fft: int, hop_length: int, top_db: float, filters: Tensor | None = None) -> None:
        super().__init__()
        self.n_fft, self.hop_length, self.top_db = n_fft, hop_length, top_db
        self.window: Tensor
        self.filters: Tensor | None
        # buffers move to the device with the network, and are no part of its weights
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)
        self.register_buffer("filters", filters, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        spectrum = torch.stft(
            x.float(),
            self.n_fft,
            self.hop_length,
            window=self.window,
            pad_mode="constant",
            return_complex=True,
        )
        power = spectrum.real.square() + spectrum.imag.square()  # (B, bins, T)
        if self.filters is not None:
            power = self.filters @ power
        decibels = 10 * power.clamp_min(AMIN).log10()
        floor = decibels.amax(dim=(1, 2), keepdim=True) - self.top_db
        return decibels.maximum(floor).unsqueeze(1) / 100
