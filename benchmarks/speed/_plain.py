"""ex4sperans' two-dimensional network and its samples as one would write them in PyTorch, without further ado."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from raytag.features.logmel import mel_filterbank

RATE, N_FFT, HOP, MELS = 44100, 2048, 1024, 128
Sample = tuple[np.ndarray, np.ndarray]


class Clips(Dataset[Sample]):
    """Waveforms (samples,) and labels (classes,) of WAV files; in training cropped, shuffled, mixed, distorted."""

    def __init__(self, files: Sequence[Path], labels: np.ndarray, seconds: float | None = None) -> None:
        self.files, self.labels, self.seconds, self.rng = files, labels, seconds, np.random.default_rng(0)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> Sample:
        if self.seconds is None:
            return self.read(i, self.rng), self.labels[i]
        rng, labels = self.rng, self.labels[i]
        samples = self.read(i, rng)
        if rng.random() < 0.5:
            parts = np.array_split(samples, max(1, round(len(samples) / RATE / 0.5)))
            samples = np.concatenate([parts[k] for k in rng.permutation(len(parts))])
        if rng.random() < 0.5:
            other = int(rng.integers(len(self)))
            samples, labels = mixed(samples, self.read(other, rng), rng), np.maximum(labels, self.labels[other])
        return (distorted(samples, rng) if rng.random() < 0.75 else samples), labels

    def read(self, i: int, rng: np.random.Generator) -> np.ndarray:
        samples, rate = soundfile.read(self.files[i], dtype="float32")
        assert rate == RATE, f"{self.files[i]} has {rate} Hz, and the comparison is made for {RATE}"
        longest = len(samples) if self.seconds is None else round(self.seconds * RATE)
        begin = int(rng.integers(max(0, len(samples) - longest) + 1))
        return samples[begin : begin + longest]


def mixed(one: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The shorter one is added to the longer one somewhere."""
    share = np.float32(rng.uniform(0.4, 0.6))
    longer, shorter = (one, other) if len(one) >= len(other) else (other, one)
    begin = int(rng.integers(len(longer) - len(shorter) + 1))
    sound = share * longer
    sound[begin : begin + len(shorter)] += (1 - share) * shorter
    return sound


def distorted(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Reverb, pitch, overdrive and speed by a process of SoX, as published."""
    raw = ["-t", "raw", "-r", str(RATE), "-e", "float", "-b", "32", "-c", "1", "-"]
    reverb, room, stereo = (str(rng.integers(50)) for _ in range(3))
    effects = ["reverb", reverb, "50", room, stereo, "20", "0", "pitch", str(rng.integers(-300, 300))]
    effects += ["overdrive", str(rng.integers(2, 10)), "20", "speed", f"{rng.uniform(0.9, 1.1):.4f}"]
    command = ["sox", "-V1", *raw, *raw, *effects]
    done = subprocess.run(command, input=samples.tobytes(), capture_output=True, check=True)
    return np.frombuffer(done.stdout, np.float32)


def collate(samples: Sequence[Sample]) -> tuple[Tensor, Tensor]:
    """(B, longest), zeros at the end, and (B, classes)."""
    x = torch.zeros(len(samples), max(len(one) for one, _ in samples))
    for row, (one, _) in zip(x, samples, strict=True):
        row[: len(one)] = torch.from_numpy(one.copy())
    return x, torch.from_numpy(np.stack([labels for _, labels in samples]))


class Residual(nn.Module):
    """The block's second half: (B, C, F, T) -> the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for kernel in (1, 3, 1):
            layers += [nn.Conv2d(channels, channels, kernel, padding=kernel // 2), nn.BatchNorm2d(channels)]
            layers += [nn.PReLU(channels)]
        self.layers, self.last = nn.Sequential(*layers[:-1]), layers[-1]

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.last(x + self.layers(x))
        return result


class Network(nn.Module):
    """Waveforms (B, samples) -> logits (B, classes)."""

    def __init__(self, base_size: int, classes: int) -> None:
        super().__init__()
        widths = [2, *(int(base_size * 1.5**k) for k in range(5))]
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.BatchNorm2d(i),
                nn.Conv2d(i, o, 3, padding=1),
                nn.MaxPool2d(2),
                nn.BatchNorm2d(o),
                nn.PReLU(o),
                Residual(o),
            )
            for i, o in pairwise(widths)
        )
        read = sum(widths[2:])
        self.head = nn.Sequential(
            nn.BatchNorm1d(read),
            nn.Linear(read, read),
            nn.BatchNorm1d(read),
            nn.PReLU(read),
            nn.Dropout(0.5),
            nn.Linear(read, classes),
        )
        self.register_buffer("window", torch.hann_window(N_FFT))
        self.register_buffer("bands", torch.from_numpy(mel_filterbank(RATE, N_FFT, MELS, 5.0, RATE / 2)))

    def forward(self, samples: Tensor) -> Tensor:
        spectra = torch.stft(samples, N_FFT, HOP, window=self.window, return_complex=True).abs()
        x = (self.bands @ spectra + 1e-4).log()[:, None]
        height = torch.linspace(-1, 1, MELS)[:, None].expand_as(x)
        x, found = torch.cat([x, height], 1), []
        for k, block in enumerate(self.blocks):
            x = block(x)
            if k:
                found.append(x.amax((2, 3)))
        result: Tensor = self.head(torch.cat(found, 1))
        return result
