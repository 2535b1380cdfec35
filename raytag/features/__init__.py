"""Waveform to features: reading clips, log-mel spectrograms, the cache that Ray Data builds, the bank of a run.

Imports of raytag `raytag.datasets.table`, `raytag.datasets.containers`, `raytag.store.files`, `raytag.cluster`,
`raytag.compiled` and the ground floor. Of its modules `cache` alone may import Ray.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from raytag.features.bank import SCALE, Bank
from raytag.features.decoding import UnusableClip, read_bytes
from raytag.features.logmel import LogMel
from raytag.features.waveform import read_waveform, waveform_of

if TYPE_CHECKING:
    import numpy as np

    from raytag.experiment import Features

__all__ = [
    "SCALE",
    "Bank",
    "LogMel",
    "UnusableClip",
    "extract",
    "extract_from_bytes",
    "read_waveform",
]


def extract(path: str | os.PathLike[str], features: Features) -> np.ndarray:
    """The features of one file: `read_waveform`, then `LogMel`, with an experiment's parameters.

    Returns
    -------
    float32 (n_mels, frames)
        dB re 1.

    Raises
    ------
    UnusableClip
        See `raytag.features.decoding.UnusableClip`.
    """
    return extract_from_bytes(read_bytes(path), os.fspath(path), features)[0]


def extract_from_bytes(data: bytes, path: str, features: Features) -> tuple[np.ndarray, tuple[str, ...]]:
    """`extract` from a file's content, and remarks on it (`raytag.features.remarks`); ``path`` is for messages."""
    samples, remarks = waveform_of(
        data,
        path,
        sample_rate=features.sample_rate,
        trim_db=features.trim_db,
        min_seconds=features.min_seconds,
        short_clip=features.short_clip,
        channel=features.channel,
    )
    return make_logmel(features)(samples), remarks


def make_logmel(features: Features) -> LogMel:
    """Waveform to log-mel with these parameters.

    Raises
    ------
    ValueError
        Parameters that fit no spectrogram; the message names the parameter and its limits.
    """
    return LogMel(
        sample_rate=features.sample_rate,
        n_fft=features.n_fft,
        hop_length=features.hop_length,
        n_mels=features.n_mels,
        fmin=features.fmin,
        fmax=features.fmax,
        top_db=features.top_db,
    )
