"""An audio file's content to one channel of samples, or to the reason why there are none."""

from __future__ import annotations

import errno
import io
import os
from typing import Literal, NamedTuple

import numpy as np
import soundfile
from numba import njit

from raytag.datasets.containers import find_samples, mended
from raytag.datasets.recordings import check_header, require_file
from raytag.features import remarks

#: The mean of channels that keeps less than this share of the loudest one's energy has lost the sound.
CANCELLED = 0.01

Reason = Literal[
    "missing", "unreadable", "too_large", "crashed", "truncated", "empty", "silent", "non_finite", "out_of_range"
]
Channel = Literal["mix", "loudest", "first"]


class UnusableClip(ValueError):
    """A clip that no features can be computed from.

    Attributes
    ----------
    code : str
        ``missing`` (no such file), ``unreadable`` (no file, no audio that libsndfile knows, or a broken header),
        ``too_large`` (beyond the bounds of `raytag.datasets.recordings`, or of ``--max-clip-seconds``),
        ``crashed`` (the decoder killed its process, or found no memory),
        ``truncated`` (the file ends before the samples that its header announces), ``empty`` (no samples),
        ``silent`` (all samples equal, to one step of 16-bit audio: those of the file, or what resampling leaves
        of them), ``non_finite`` (NaN or infinite samples),
        ``out_of_range`` (features beyond what the feature cache can hold).
    detail : str
        The same as a sentence, with numbers.
    path : str
        The file, where known.
    remarks : tuple of str
        What is odd about it (`raytag.features.remarks`), where that was seen.
    """

    def __init__(self, code: Reason, detail: str, path: str = "", remarks: tuple[str, ...] = ()) -> None:
        super().__init__(code, detail, path, remarks)
        self.code, self.detail, self.path, self.remarks = code, detail, path, remarks

    @property
    def reason(self) -> str:
        """``code: detail``, as it stands in the manifest of the feature cache."""
        return f"{self.code}: {self.detail}"

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}" if self.path else self.reason


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """The content of a regular file, or `UnusableClip`: ``missing``, ``unreadable``, ``too_large`` or ``empty``."""
    try:
        require_file(path)
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        raise UnusableClip("missing", "there is no such file", os.fspath(path)) from None
    except OSError as error:
        code: Reason = "too_large" if error.errno == errno.EFBIG else "unreadable"
        raise UnusableClip(code, error.strerror or str(error), os.fspath(path)) from None
    if not data:
        raise UnusableClip("empty", "the file has no bytes", os.fspath(path))
    return data


class Decoded(NamedTuple):
    """What a file holds: float32 (n,) samples of one channel, and what is to be said of them."""

    samples: np.ndarray
    rate: int  # Hz
    which: str  # " of channel 1"; "" where the file has no other
    remarks: list[str]


def decode(data: bytes, channel: Channel = "mix") -> Decoded:
    """Decode an audio file's content to one channel.

    Raises
    ------
    UnusableClip
        ``unreadable``, ``too_large``, ``truncated`` or ``empty``.
    """
    try:
        found = find_samples(data)
    except EOFError as error:
        raise UnusableClip("truncated", str(error)) from None
    said = []
    if found is not None:
        if found.length == 0:
            raise UnusableClip("empty", f"the header announces {found.announced} bytes of samples and none follow")
        if found.length != found.announced:
            said = [f"header: announces {found.announced} bytes of samples, {found.length} follow"]
        if found.pcm16 is not None:  # read directly, several times faster than through libsndfile
            channels, rate = found.pcm16
            count = found.length // (2 * channels)
            _check(count, rate, channels)
            frames = np.frombuffer(data, "<i2", count * channels, found.start).reshape(count, channels)
            samples, which, more = _one_channel(frames, channel)
            return Decoded(samples, rate, which, said + more)
    try:
        file = soundfile.SoundFile(io.BytesIO(mended(data, found)))
    except soundfile.LibsndfileError as error:
        raise UnusableClip("unreadable", f"not audio that libsndfile knows ({_say(error)})") from None
    with file:
        _check(file.frames, file.samplerate, file.channels)
        try:
            frames = file.read(dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise UnusableClip(
                "truncated", f"decoding fails before the end of its {file.frames} frames ({_say(error)})"
            ) from None
        if len(frames) < file.frames:
            raise UnusableClip("truncated", f"the file ends after {len(frames)} of {file.frames} frames")
        samples, which, more = _one_channel(frames, channel)
        return Decoded(samples, file.samplerate, which, said + more)


def _check(frames: int, rate: int, channels: int) -> None:
    try:
        check_header(frames, rate, channels)
    except OverflowError as error:
        raise UnusableClip("too_large", str(error)) from None


def _say(error: soundfile.LibsndfileError) -> str:
    return str(error.error_string).removeprefix("Error : ").strip().rstrip(".")


@np.errstate(invalid="ignore", over="ignore")  # NaN and infinite samples are reported later
def _one_channel(frames: np.ndarray, channel: Channel) -> tuple[np.ndarray, str, list[str]]:
    """Samples, their name and remarks of int16 or float32 (n, channels) frames."""
    count, channels = frames.shape
    if channels == 1 and frames.dtype == np.int16:
        return _mono16(frames[:, 0], 1)[0], "", []
    if channels == 1 or count == 0:
        return _to_float(frames[:, 0]), "", []
    if channel == "first":
        return _to_float(frames[:, 0]), " of channel 1", []
    mean, share, name = None, 0.0, f" of the mean of {channels} channels"
    if channel == "mix":
        mean, share = _mean_of_channels(frames)
        if share >= CANCELLED:
            return mean, name, []
    energies = [np.var(_to_float(frames[:, c]), dtype=np.float64) for c in range(channels)]
    loudest = int(np.argmax(energies))
    said = []
    if mean is not None:
        kept = np.var(mean, dtype=np.float64) / energies[loudest] if energies[loudest] else 1.0
        if not kept < CANCELLED:
            return mean, name, []
        said = [remarks.cancelled(channels, kept, loudest + 1)]
    return _to_float(frames[:, loudest]), f" of channel {loudest + 1}", said


def _to_float(samples: np.ndarray) -> np.ndarray:
    """int16 or float32 (n,) of any stride to float32 of full scale 1."""
    if samples.dtype == np.int16:
        return samples.astype(np.float32) * np.float32(2.0**-15)
    return np.ascontiguousarray(samples)


def _mean_of_channels(frames: np.ndarray) -> tuple[np.ndarray, float]:
    """The mean of the channels, and at least which share of the loudest one's energy it keeps.

    The share is that of the energy of all channels, about zero: it costs next to nothing, and where it is large
    enough nobody need know the true one.
    """
    count, channels = frames.shape
    if frames.dtype == np.int16:
        samples, total, energy, every = _mono16(frames.ravel(), channels)
        kept, whole = (energy - total * total / count) / channels**2, every
    else:
        samples = frames.mean(axis=1, dtype=np.float32)
        flat = frames.ravel()
        kept, whole = samples @ samples - count * float(samples.mean()) ** 2, flat @ flat
    return samples, float(kept) / float(whole) if whole else 0.0


@njit(cache=True, nogil=True)
def _mono16(samples: np.ndarray, channels: int) -> tuple[np.ndarray, float, float, float]:
    """Interleaved int16 to float32 of full scale 1, mean of the channels.

    Of several channels also, in steps of int16: the sum over their sums, over the squares of these, and over the
    squares of all samples.
    """
    out = np.empty(len(samples) // channels, np.float32)
    sums = squares = every = 0.0
    if channels == 1:
        for i in range(len(out)):
            out[i] = np.float32(samples[i]) * np.float32(2.0**-15)
        return out, sums, squares, every
    for first in range(0, len(out), 65536):  # whole numbers are fast, and overflow unless they are few
        total, energy, whole = _mix16(samples, channels, first, out[first : first + 65536])
        sums += total
        squares += energy
        every += whole
    return out, sums, squares, every


@njit(cache=True, nogil=True)
def _mix16(samples: np.ndarray, channels: int, first: int, out: np.ndarray) -> tuple[int, int, int]:
    """The part of `_mono16` for the frames from ``first`` on that ``out`` has room for."""
    scale = np.float32(2.0**-15)
    part = samples[first * channels :]
    total = energy = whole = 0
    if channels == 2:
        for i in range(len(out)):
            left, right = part[2 * i], part[2 * i + 1]
            both = left + right
            out[i] = np.float32(both) * scale / np.float32(2)
            total += both
            energy += both * both
            whole += left * left + right * right
    else:
        for i in range(len(out)):
            both = 0
            for c in range(channels):
                value = part[i * channels + c]
                both += value
                whole += value * value
            out[i] = np.float32(both) * scale / np.float32(channels)
            total += both
            energy += both * both
    return total, energy, whole
