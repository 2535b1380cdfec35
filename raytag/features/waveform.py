"""An audio file to the samples that features are computed from: decode, mono, resample, trim, widen.

The steps and their constants are those of argus-freesound (librosa's load and trim with their defaults), its
fault with short late sounds only on request. A file that holds no usable sound raises `UnusableClip`; it is
never replaced by silence.
"""

from __future__ import annotations

import io
import math
import os
import struct
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import soundfile
import soxr
from numba import njit

from raytag.compiled.vectors import LANES, load, maximum, splat, store

#: Frames of the trimmer, samples (librosa's defaults).
TRIM_FRAME, TRIM_HOP = 2048, 512
#: A clip whose samples differ by no more than one step of 16-bit audio holds no sound (full scale is 1).
SILENCE = 2.0**-15
#: WAV writers that do not know the length beforehand announce this many bytes or more.
_UNKNOWN_SIZE = 0x7FFFF000

Reason = Literal["missing", "unreadable", "truncated", "empty", "silent", "non_finite", "out_of_range"]
ShortClip = Literal["sound", "file_start"]


class UnusableClip(ValueError):
    """A clip that no features can be computed from.

    Attributes
    ----------
    code : str
        ``missing`` (no such file), ``unreadable`` (no audio that libsndfile knows, or a broken header),
        ``truncated`` (the file ends before the samples that its header announces), ``empty`` (no samples),
        ``silent`` (all samples equal, to one step of 16-bit audio), ``non_finite`` (NaN or infinite samples),
        ``out_of_range`` (features beyond what the mel cache can hold).
    detail : str
        The same as a sentence, with numbers.
    path : str
        The file, where known.
    """

    def __init__(self, code: Reason, detail: str, path: str = "") -> None:
        super().__init__(code, detail, path)
        self.code, self.detail, self.path = code, detail, path

    @property
    def reason(self) -> str:
        """``code: detail``, as it stands in the manifest of the mel cache."""
        return f"{self.code}: {self.detail}"

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}" if self.path else self.reason


def read_waveform(
    path: str | os.PathLike[str],
    *,
    sample_rate: int = 44100,
    trim_db: float = 60.0,
    min_seconds: float = 0.5,
    short_clip: ShortClip = "sound",
) -> np.ndarray:
    """Read one clip: decoded, mean of its channels, resampled, without silent ends, at least so long.

    Parameters
    ----------
    path : path
        WAV, FLAC, Ogg, MP3, AIFF or whatever else libsndfile reads.
    sample_rate : int
        Of the result, Hz. Other rates are resampled (soxr, HQ).
    trim_db : float
        Frames of 2048 samples this much quieter than the loudest one are silent; silent frames at both ends are
        cut off, with the sample bounds of ``librosa.effects.trim(x, top_db=trim_db)``. dB.
    min_seconds : float
        A shorter remainder is cut again from the whole signal with this length, and filled up with zeros on
        both sides where the file is shorter still. s.
    short_clip : "sound" or "file_start"
        Where that window lies: centred on the sound, or, as in argus-freesound, on half the sound's length
        counted from the start of the *file*, which misses sounds that begin late.

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
    )


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """The content of a file, or `UnusableClip`: ``missing``, ``unreadable`` or ``empty``."""
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        raise UnusableClip("missing", "there is no such file", os.fspath(path)) from None
    except OSError as error:
        raise UnusableClip("unreadable", error.strerror or str(error), os.fspath(path)) from None
    if not data:
        raise UnusableClip("empty", "the file has no bytes", os.fspath(path))
    return data


def waveform_of(
    data: bytes, path: str, *, sample_rate: int, trim_db: float, min_seconds: float, short_clip: ShortClip
) -> np.ndarray:
    """`read_waveform` of a file's content; ``path`` is for messages."""
    try:
        samples, rate = decode(data)
        if samples.size == 0:
            raise UnusableClip("empty", "the file holds no samples")
        energies, low, high = _survey(samples, TRIM_HOP)
        if not math.isfinite(float(energies.sum())):
            bad = int(np.count_nonzero(~np.isfinite(samples)))
            raise UnusableClip("non_finite", f"{bad} of {samples.size} samples are NaN, infinite or overflow")
        if high - low <= SILENCE:
            raise UnusableClip("silent", f"all {samples.size} samples lie within one 16-bit step of {low:.6g}")
    except UnusableClip as error:
        raise UnusableClip(error.code, error.detail, path) from error.__cause__
    if rate != sample_rate:
        samples = resample(samples, rate, sample_rate)
        energies, _, _ = _survey(samples, TRIM_HOP)
    start, end = _sound_bounds(energies, samples.size, trim_db)
    return cut(samples, start, end, int(min_seconds * sample_rate), short_clip)


def resample(samples: np.ndarray, rate: int, sample_rate: int) -> np.ndarray:
    """Resample float32 (n,) to float32 (ceil(n · sample_rate / rate),) with soxr's HQ filter, as librosa does."""
    length = math.ceil(samples.size * sample_rate / rate)
    out = soxr.resample(samples, rate, sample_rate, quality="HQ")[:length]
    return np.pad(out, (0, length - out.size)).astype(np.float32, copy=False)


def trim_bounds(samples: np.ndarray, trim_db: float = 60.0) -> tuple[int, int]:
    """First sample and end of what ``librosa.effects.trim(samples, top_db=trim_db)`` keeps."""
    energies, _, _ = _survey(np.ascontiguousarray(samples, np.float32), TRIM_HOP)
    return _sound_bounds(energies, samples.size, trim_db)


def cut(samples: np.ndarray, start: int, end: int, min_samples: int, short_clip: ShortClip) -> np.ndarray:
    """``samples[start:end]``, widened to ``min_samples`` where it is shorter; see `read_waveform`."""
    if end - start >= min_samples:
        return samples[start:end]
    center = (end - start) // 2 + (start if short_clip == "sound" else 0)
    first = center - min_samples // 2
    window = samples[max(first, 0) : max(first + min_samples, 0)]
    missing = min_samples - window.size
    return np.pad(window, (missing // 2, missing - missing // 2))


def _sound_bounds(energies: np.ndarray, length: int, trim_db: float) -> tuple[int, int]:
    """Bounds of the sound, in samples, from the energy of each hop of 512 samples.

    librosa pads the signal by half a frame of zeros, takes the power of frame i over samples
    512 i - 1024 .. 512 i + 1023 (here: four hops), and keeps the frames with
    max(power, 1e-10) > max(maximum, 1e-10) · 10^(-trim_db / 10).
    """
    frames, side = 1 + length // TRIM_HOP, TRIM_FRAME // TRIM_HOP // 2
    padded = np.zeros(frames + 2 * side)
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


def decode(data: bytes) -> tuple[np.ndarray, int]:
    """Decode an audio file's content to (float32 (n,) mean of its channels, sample rate in Hz).

    Raises
    ------
    UnusableClip
        ``unreadable`` or ``truncated``.
    """
    pcm = _check_length(data)
    if pcm is not None:
        return _mono16(np.frombuffer(data, "<i2", pcm.frames * pcm.channels, pcm.start), pcm.channels), pcm.rate
    try:
        file = soundfile.SoundFile(io.BytesIO(data))
    except soundfile.LibsndfileError as error:
        raise UnusableClip("unreadable", f"not audio that libsndfile knows ({_say(error)})") from None
    with file:
        try:
            samples = file.read(dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise UnusableClip(
                "truncated", f"decoding fails before the end of its {file.frames} frames ({_say(error)})"
            ) from None
        if len(samples) < file.frames:
            raise UnusableClip("truncated", f"the file ends after {len(samples)} of {file.frames} frames")
        mono = samples[:, 0] if file.channels == 1 else samples.mean(axis=1, dtype=np.float32)
        return np.ascontiguousarray(mono), file.samplerate


def _say(error: soundfile.LibsndfileError) -> str:
    return str(error.error_string).removeprefix("Error : ").strip().rstrip(".")


class _Pcm16(NamedTuple):
    """Where the samples of a plain 16-bit WAV file stand: read directly, several times faster than through
    libsndfile."""

    start: int  # byte
    frames: int
    channels: int
    rate: int


def _check_length(data: bytes) -> _Pcm16 | None:
    """Compare the length that a container announces with the bytes that are there.

    libsndfile reads what it finds and says nothing when a WAV, AIFF or Ogg file ends early. FLAC and MP3 need
    no look: there the decoder fails or returns fewer frames than it announced.
    """
    if data[:4] in (b"RIFF", b"RF64") and data[8:12] == b"WAVE":
        return _check_chunks(data, "<", b"data")
    if data[:4] == b"FORM" and data[8:12] in (b"AIFF", b"AIFC"):
        return _check_chunks(data, ">", b"SSND")
    if data[:4] == b"OggS":
        _check_last_page(data)
    return None


def _check_chunks(data: bytes, order: str, wanted: bytes) -> _Pcm16 | None:
    """Walk the chunks of a WAV or AIFF file to its samples."""
    position, large, layout = 12, None, None
    while position + 8 <= len(data):
        name, size = struct.unpack_from(f"{order}4sI", data, position)
        position += 8
        if name == b"ds64" and len(data) >= position + 16:
            large = struct.unpack_from("<Q", data, position + 8)[0]  # RF64: the true size of "data"
        if name == b"fmt " and len(data) >= position + 16:
            layout = struct.unpack_from("<HHIIHH", data, position)
            if layout[0] == 0xFFFE and len(data) >= position + 26:  # extensible: the true tag opens the sub-format
                layout = (*struct.unpack_from("<H", data, position + 24), *layout[1:])
        if name != wanted:
            position += size + size % 2
            continue
        if size == 0xFFFFFFFF and large is not None:
            size = large
        present = len(data) - position
        if present < size < _UNKNOWN_SIZE or present < size == large:
            raise UnusableClip("truncated", f"the file ends after {present} of {size} bytes of samples")
        if layout is None or size == 0:
            return None
        tag, channels, rate, _, frame_bytes, bits = layout
        if (tag, bits) != (1, 16) or channels == 0 or rate == 0 or frame_bytes != 2 * channels:
            return None
        return _Pcm16(position, min(size, present) // frame_bytes, channels, rate)
    announced = struct.unpack_from(f"{order}I", data, 4)[0] + 8
    if len(data) < announced < _UNKNOWN_SIZE:
        raise UnusableClip("truncated", f"the file ends after {len(data)} of {announced} bytes, before its samples")
    return None


def _check_last_page(data: bytes) -> None:
    """An Ogg stream is a row of pages, each of which says how long it is (RFC 3533, §6)."""
    page = data.rfind(b"OggS")
    header = page + 27
    segments = data[page + 26] if len(data) > page + 26 else 0
    end = header + segments + sum(data[header : header + segments])
    if len(data) < header + segments or len(data) < end:
        raise UnusableClip("truncated", f"the file ends within its last Ogg page, {len(data) - page} bytes long")


@njit(cache=True, nogil=True)
def _mono16(samples: np.ndarray, channels: int) -> np.ndarray:
    """Interleaved int16 to float32 of full scale 1, mean of the channels."""
    out = np.empty(len(samples) // channels, np.float32)
    if channels == 1:
        for i in range(len(out)):
            out[i] = np.float32(samples[i]) * np.float32(2.0**-15)
    else:
        for i in range(len(out)):
            total = np.float32(0)
            for c in range(channels):
                total += np.float32(samples[i * channels + c]) * np.float32(2.0**-15)
            out[i] = total / np.float32(channels)
    return out
