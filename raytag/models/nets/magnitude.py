"""Logarithmic magnitude spectrograms of waveforms as a module without weights."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor, nn

from raytag.compiled.frames import band, cut_bands, cut_frames, logarithm, make_room, power_of
from raytag.compiled.vectors import LANES, splat, store

_LN2 = np.float32(math.log(2))


class Magnitudes(nn.Module):
    """Waveforms (B, samples) to spectrograms (B, channels, bands, 1 + samples // hop_length).

    ``ln(filters · |STFT| + offset)``. Beyond its ends a clip is mirrored at its first and last sample, which are
    not repeated; one of no more than n_fft / 2 samples is mirrored at both ends in turn, as ``numpy.pad`` does it,
    and a single sample stands for all.

    Parameters
    ----------
    n_fft, hop_length
        Of the transform, samples; periodic Hann window, frames centred on multiples of ``hop_length``.
    offset
        What silence is the logarithm of.
    channels
        1, the spectrogram; 2, and the position of each band, from -1 to 1 in equal steps, the same at all times; 3,
        the spectrogram three times.
    filters : float32 (bands, 1 + n_fft // 2), optional
        What turns magnitudes into bands; None: every frequency is one.

    Notes
    -----
    On a CPU frames are transformed by `raytag.compiled.frames`, sixteen at a time, elsewhere by torch. Gradients do
    not go through.
    """

    def __init__(
        self, n_fft: int, hop_length: int, offset: float, channels: int, filters: NDArray[np.float32] | None = None
    ) -> None:
        super().__init__()
        self.n_fft, self.hop_length, self.offset, self.channels = n_fft, hop_length, offset, channels
        self.n_bands = 1 + n_fft // 2 if filters is None else len(filters)
        self.frames = cut_frames(n_fft, hop_length, 0)
        self.bands = cut_bands(np.eye(self.n_bands, dtype=np.float32) if filters is None else filters)
        self.window: Tensor
        self.filters: Tensor | None
        # buffers move to the device with the network, and are no part of its weights
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)
        self.register_buffer("filters", None if filters is None else torch.from_numpy(filters), persistent=False)

    @torch.no_grad()
    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Any:
        """Spectrograms; with ``lengths``, samples (B,), and how many of each one's frames are sound, (B,) too.

        The other frames are those of silence.
        """
        if lengths is None:
            return self.with_channels(self._spectra(x.float(), None))
        lengths = lengths.clamp(1, x.shape[1])  # of a clip without samples the first of its padding is heard
        return self.with_channels(self._spectra(x.float(), lengths)), 1 + lengths // self.hop_length

    def with_channels(self, spectra: Tensor) -> Tensor:
        """(B, bands, frames) -> (B, channels, bands, frames); two channels lie side by side in memory."""
        if self.channels == 2:
            position = torch.linspace(-1, 1, self.n_bands, device=spectra.device)[:, None].expand_as(spectra)
            return torch.stack([spectra, position], dim=3).permute(0, 3, 1, 2)
        return spectra[:, None].expand(-1, self.channels, -1, -1)

    def _spectra(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        return self.by_kernel(x, lengths) if x.device.type == "cpu" else self.by_torch(x, lengths)

    def by_kernel(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        """(B, bands, frames), on a CPU."""
        n = x.shape[1]
        found = np.full(
            (len(x), self.n_bands, 1 + n // self.hop_length), np.float32(math.log(self.offset)), np.float32
        )
        for i, samples in enumerate(x.numpy()):
            sound = samples[: n if lengths is None else int(lengths[i])]
            mirrored, frames = np.pad(sound, self.n_fft // 2, mode="reflect"), 1 + len(sound) // self.hop_length
            _magnitudes(mirrored, frames, self.frames, self.bands, np.float32(self.offset), found[i])
        return torch.from_numpy(found)

    def by_torch(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        """(B, bands, frames), wherever torch computes."""
        b, n = x.shape
        ends = torch.full((b, 1), n, device=x.device) if lengths is None else lengths[:, None]
        half = torch.arange(self.n_fft // 2, device=x.device)
        padded = torch.nn.functional.pad(x, (len(half), len(half)))
        # of a shorter clip what stands beyond its mirrored end is padding, and in none of its frames
        padded[:, : len(half)] = x.gather(1, _mirrored(half - len(half), ends))
        padded.scatter_(1, ends + len(half) + half, x.gather(1, _mirrored(ends + half, ends)))
        spectrum = torch.stft(
            padded, self.n_fft, self.hop_length, window=self.window, center=False, return_complex=True
        )
        magnitude = (spectrum.real.square() + spectrum.imag.square()).sqrt()
        if self.filters is not None:
            magnitude = self.filters @ magnitude
        if lengths is not None:
            frames = torch.arange(magnitude.shape[2], device=x.device)
            magnitude = magnitude.masked_fill((frames > ends // self.hop_length)[:, None], 0.0)
        return (magnitude + self.offset).log()


def _mirrored(places: Tensor, n: Tensor) -> Tensor:
    """Which sample of a clip of ``n`` stands at places outside of it."""
    period = (2 * (n - 1)).clamp_min(1)
    at = places % period
    return torch.minimum(at, period - at).minimum(n - 1)


@njit(cache=True, nogil=True, error_model="numpy")
def _magnitudes(samples, n_frames, frames, bands, offset, out):  # type: ignore[no-untyped-def]
    """Fill the first ``n_frames`` columns of ``out`` (bands, any number)."""
    flat = out.reshape(-1)
    room = make_room(frames)
    last = np.empty(LANES, np.float32)
    for first in range(0, n_frames, LANES):
        power = power_of(samples, first, frames, room)
        for i in range(len(power)):
            power[i] = np.sqrt(power[i])
        for m in range(out.shape[0]):
            natural, exponent = logarithm(band(power, bands, m) + splat(offset))
            values = natural + exponent * splat(_LN2)
            if first + LANES <= n_frames:
                store(flat, m * out.shape[1] + first, values)
            else:
                store(last, 0, values)
                out[m, first:n_frames] = last[: n_frames - first]
