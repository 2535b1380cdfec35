"""An audio file to the samples that features are computed from: decode, resample, trim, widen.

The steps and their constants are those of argus-freesound (librosa's load and trim with their defaults), its
fault with short late sounds only on request. A file that holds no usable sound raises `UnusableClip`; it is
never replaced by silence. What is odd about a usable one is remarked (`raytag.features.remarks`).
"""

from __future__ import annotations

import math
import os
from typing import Literal, NamedTuple

import numpy as np
import soxr
from numba import njit

from raytag.compiled.vectors import LANES, load, maximum, splat, store
from raytag.datasets.recordings import MAX_SAMPLES
from raytag.features import remarks
from raytag.features.decoding import Channel, UnusableClip, decode, read_bytes

#: Frames of the trimmer, samples (librosa's defaults).
TRIM_FRAME, TRIM_HOP = 2048, 512
#: A clip whose samples differ by no more than one step of 16-bit audio holds no sound (full scale is 1).
SILENCE = 2.0**-15
#: A sample as large may make the energy of a hop overflow.
_HUGE = 1e18

ShortClip = Literal["sound", "file_start"]
PadMode = Literal["constant", "reflect"]


class Waveform(NamedTuple):
    """One clip, ready to be transformed.

    Attributes
    ----------
    samples : float32 (n,)
        Full scale 1.
    remarks : tuple of str
        What is odd about it, each ``code: sentence``; see `raytag.features.remarks`.
    """

    samples: np.ndarray
    remarks: tuple[str, ...]


def read_waveform(
    path: str | os.PathLike[str],
    *,
    sample_rate: int = 44100,
    trim_db: float | None = 60.0,
    min_seconds: float = 0.5,
    short_clip: ShortClip = "sound",
    pad_mode: PadMode = "constant",
    channel: Channel = "mix",
) -> np.ndarray:
    """Read one clip: decoded, mean of its channels, resampled, without silent ends, at least so long.

    Parameters
    ----------
    path : path
        WAV, FLAC, Ogg, MP3, AIFF or whatever else libsndfile reads.
    sample_rate : int
        Of the result, Hz. Other rates are resampled (soxr, HQ).
    trim_db : float, optional
        Frames of 2048 samples this much quieter than the loudest one are silent; silent frames at both ends are
        cut off, with the sample bounds of ``librosa.effects.trim(x, top_db=trim_db)``. dB; None: all is kept.
    min_seconds : float
        A shorter remainder is cut again from the whole signal with this length, and filled up with zeros on
        both sides where the file is shorter still. s.
    short_clip : "sound" or "file_start"
        Where that window lies: centred on the sound, or, as in argus-freesound, on half the sound's length
        counted from the start of the *file*, which misses sounds that begin late.
    pad_mode : "constant" or "reflect"
        What frames that reach beyond the ends of the file find there when silence is looked for: zeros, or the
        signal mirrored (librosa's default before 0.10).
    channel : "mix", "loudest" or "first"
        The mean of the channels, or the loudest where the mean cancels; or always the loudest or the first.

    Returns
    -------
    float32 (n,)
        Samples, full scale 1; ``n >= min_seconds * sample_rate``.

    Raises
    ------
    UnusableClip
        With a machine-readable ``code``.
    """
    return waveform_of(
        read_bytes(path),
        os.fspath(path),
        sample_rate=sample_rate,
        trim_db=trim_db,
        min_seconds=min_seconds,
        short_clip=short_clip,
        pad_mode=pad_mode,
        channel=channel,
    )[0].samples


def waveform_of(
    data: bytes,
    path: str,
    *,
    sample_rate: int,
    trim_db: float | None,
    min_seconds: float,
    short_clip: ShortClip,
    pad_mode: PadMode,
    channel: Channel,
) -> tuple[Waveform, int]:
    """`read_waveform` of a file's content, with remarks; ``path`` is for messages.

    Beside it: where in the file, resampled, its first sample lies; negative where zeros were put before it.
    """
    try:
        samples, rate, which, said = decode(data, channel)
        if samples.size == 0:
            raise UnusableClip("empty", "the file holds no samples")
        energies, low, high = _survey(samples, TRIM_HOP)
        if not math.isfinite(float(energies.sum())):
            bad = int(np.count_nonzero(~(np.abs(samples) < _HUGE)))
            raise UnusableClip("non_finite", f"{bad} of {samples.size} samples are NaN, infinite or overflow")
        if high - low <= SILENCE:
            raise UnusableClip(
                "silent", f"all {samples.size} samples{which} lie within one 16-bit step of {low:.6g}"
            )
        said += remarks.of_level(samples, low, high)
        said += remarks.of_constancy(samples, rate, energies, TRIM_HOP)
        if rate != sample_rate:
            if samples.size * sample_rate > MAX_SAMPLES * rate:
                raise UnusableClip(
                    "too_large",
                    f"{samples.size} samples at {rate} Hz are more than {MAX_SAMPLES} at {sample_rate} Hz",
                )
            before, samples = samples, resample(samples, rate, sample_rate)
            power = float(energies.sum()) / before.size
            energies, low, high = _survey(samples, TRIM_HOP)
            if high - low <= SILENCE:
                raise UnusableClip(
                    "silent",
                    f"nothing is left after resampling from {rate} to {sample_rate} Hz: all sound lies near or "
                    f"above {min(rate, sample_rate) / 2:g} Hz",
                )
            if rate > sample_rate:
                said += remarks.of_loss(before, samples, power, rate, sample_rate)
        start, end = 0, samples.size
        if trim_db is not None:
            start, end = _sound_bounds(samples, energies, trim_db, pad_mode)
        window, first = cut(samples, start, end, int(min_seconds * sample_rate), short_clip)
        if short_clip == "file_start" and end - start < window.size and np.ptp(window) <= SILENCE:
            said.append(remarks.missed(window.size))  # who asks for the published fault gets it
    except UnusableClip as error:
        raise UnusableClip(error.code, error.detail, path) from error.__cause__
    return Waveform(window, tuple(said)), first


def resample(samples: np.ndarray, rate: float, sample_rate: int) -> np.ndarray:
    """Resample float32 (n,) to float32 (ceil(n · sample_rate / rate),) with soxr's HQ filter, as librosa does."""
    length = math.ceil(samples.size * sample_rate / rate)
    out = soxr.resample(samples, rate, sample_rate, quality="HQ")[:length]
    padded = out if out.size == length else np.pad(out, (0, length - out.size))
    return padded.astype(np.float32, copy=False)


def trim_bounds(samples: np.ndarray, trim_db: float = 60.0, pad_mode: PadMode = "constant") -> tuple[int, int]:
    """First sample and end of what ``librosa.effects.trim(samples, top_db=trim_db)`` keeps."""
    samples = np.ascontiguousarray(samples, np.float32)
    return _sound_bounds(samples, _survey(samples, TRIM_HOP)[0], trim_db, pad_mode)


def cut(
    samples: np.ndarray, start: int, end: int, min_samples: int, short_clip: ShortClip
) -> tuple[np.ndarray, int]:
    """``samples[start:end]``, widened to ``min_samples`` where it is shorter; see `read_waveform`.

    Beside it: where its first sample lies in ``samples``.
    """
    if end - start >= min_samples:
        return samples[start:end], start
    center = (end - start) // 2 + (start if short_clip == "sound" else 0)
    first = center - min_samples // 2
    window = samples[max(first, 0) : max(first + min_samples, 0)]
    missing = min_samples - window.size
    return np.pad(window, (missing // 2, missing - missing // 2)), max(first, 0) - missing // 2


def _sound_bounds(samples: np.ndarray, energies: np.ndarray, trim_db: float, pad_mode: PadMode) -> tuple[int, int]:
    """Bounds of the sound, in samples; ``energies`` are those of each hop of 512 samples.

    librosa pads the signal by half a frame, takes the power of frame i over samples
    512 i - 1024 .. 512 i + 1023 (here: four hops), and keeps the frames with
    max(power, 1e-10) > max(maximum, 1e-10) · 10^(-trim_db / 10).
    """
    length, side = samples.size, TRIM_FRAME // TRIM_HOP // 2
    frames = 1 + length // TRIM_HOP
    padded = np.zeros(frames + 2 * side)
    if pad_mode == "reflect":
        energies, _, _ = _survey(np.pad(samples, side * TRIM_HOP, mode="reflect"), TRIM_HOP)
        padded[: energies.size] = energies[: padded.size]
    else:
        padded[side : side + energies.size] = energies
    sums = sum(padded[i : i + frames] for i in range(2 * side))
    power = np.maximum(sums / TRIM_FRAME, 1e-10)
    loud = np.flatnonzero(power > power.max() * 10 ** (-trim_db / 10))
    return int(loud[0]) * TRIM_HOP, min(length, (int(loud[-1]) + 1) * TRIM_HOP)


@njit(cache=True, nogil=True)
def _survey(samples: np.ndarray, hop: int) -> tuple[np.ndarray, float, float]:
    """Energy of each run of ``hop`` samples (float64), and the smallest and largest sample."""
    n = len(samples)
    energies = np.zeros((n + hop - 1) // hop, np.float64)
    minus = splat(np.float32(-1))
    highest, lowest = splat(np.float32(-np.inf)), splat(np.float32(-np.inf))  # lowest with its sign turned
    sums = np.empty(LANES, np.float32)
    whole = n // LANES * LANES
    for block in range(len(energies)):
        first, end = block * hop, min((block + 1) * hop, whole)
        total = splat(np.float32(0))
        for i in range(first, end, LANES):
            value = load(samples, i)
            total = total + value * value
            highest = maximum(value, highest)
            lowest = maximum(value * minus, lowest)
        store(sums, 0, total)
        for energy in sums:
            energies[block] += energy
    low, high = np.float32(np.inf), np.float32(-np.inf)
    for value in samples[whole:]:
        energies[-1] += value * value
        low, high = min(low, value), max(high, value)
    store(sums, 0, highest)
    high = max(high, sums.max())
    store(sums, 0, lowest)
    low = min(low, -sums.max())
    return energies, float(low), float(high)
