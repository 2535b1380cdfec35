"""Compile the kernels of feature extraction (see `raytag.compiled.once`)."""

from __future__ import annotations

import io

import numpy as np
import soundfile

from raytag.compiled.once import once
from raytag.experiment import Features


def warm_up() -> None:
    """Make this process ready to extract features; of a node's processes only one compiles."""
    once("features", _extract_noise)


def _extract_noise() -> None:
    """What `raytag.features.shards.compute_batch` does with a clip."""
    features = Features()
    file = io.BytesIO()
    noise = np.random.default_rng(0).normal(0.0, 0.1, features.sample_rate)
    soundfile.write(file, noise, features.sample_rate, format="WAV", subtype="PCM_16")
    features.compute(file.getvalue(), "noise")
