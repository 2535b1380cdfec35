"""What is odd about a recording that can be used: measured here, kept in the feature cache, said at each launch.

A remark is ``code: sentence``; the codes are the keys of `MEANING`.
"""

from __future__ import annotations

import math

import numpy as np

#: What clips of a code have in common, for the screen.
MEANING = {
    "channels": "channels cancel, the loudest one is used",
    "lost": "resampling removes most of the sound",
    "missed": "short_clip=file_start misses the sound",
    "level": "far beyond full scale",
    "constant": "the level never changes",
    "clipped": "clipped",
    "overflow": "beyond full scale, where 16-bit samples are cut off",
    "header": "the header does not know the length, which is read to the end of the file",
}

#: Codes with which a search would be trained on something else than the sound.
WRONG = {"lost", "missed", "level"}

#: Of full scale, 18 dB: recorders of float samples go a few dB beyond it, not so far.
PEAK = 8.0
_LEAST_KEPT = 0.1  # of the power: less, and resampling has removed the sound
_OVERSHOOT = 1.25  # how far a lossy decoder goes beyond what was clipped
_FULL_SCALE, _CLIPPED = 0.999, 0.001  # from where a sample counts, and the share of them that is worth a word
_CONSTANT_DB = 1.0
_FRAME_HOPS = 4  # hops in a frame


def cancelled(channels: int, kept: float, loudest: int) -> str:
    """The mean of the channels has lost the sound."""
    return (
        f"channels: the mean of {channels} channels keeps {_percent(kept)} of the energy of channel {loudest}, "
        "which is used"
    )


def of_loss(before: np.ndarray, after: np.ndarray, power: float, rate: int, sample_rate: int) -> list[str]:
    """Remarks on a signal that was resampled to a lower rate; ``power`` is that of ``before``, about zero."""
    left = float(after @ after) / after.size - float(after.mean()) ** 2
    if left >= _LEAST_KEPT * power:  # which is no less than the power about the mean
        return []
    kept = float(np.var(after, dtype=np.float64) / np.var(before, dtype=np.float64))
    if kept >= _LEAST_KEPT:
        return []
    return [
        f"lost: {_percent(kept)} of the energy is left at {sample_rate} Hz; --set features.sample_rate={rate} "
        f"keeps all of it, log-mels with --set features.fmax={rate // 2}"
    ]


def missed(window: int) -> str:
    """The window of a short clip lies beside its sound."""
    return (
        f"missed: the {window} samples that features.short_clip=file_start cuts out hold no sound; "
        "--set features.short_clip=sound keeps it"
    )


def of_level(samples: np.ndarray, low: float, high: float) -> list[str]:
    """Remarks on the peak, from samples and the lowest and highest of them."""
    peak = max(high, -low)
    if peak > PEAK:
        beyond = f"{20 * math.log10(peak):.0f} dB beyond full scale"
        return [f"level: the peak is {peak:.6g}, {beyond}; 16-bit numbers saved as float?"]
    if not _FULL_SCALE <= peak <= _OVERSHOOT:
        return []
    count = np.count_nonzero(samples >= _FULL_SCALE) if high >= _FULL_SCALE else 0
    count += np.count_nonzero(samples <= -_FULL_SCALE) if low <= -_FULL_SCALE else 0
    share = count / samples.size
    return [f"clipped: {_percent(share)} of the samples are at full scale"] if share >= _CLIPPED else []


def of_overflow(samples: np.ndarray) -> list[str]:
    """Remarks on samples that a 16-bit number cannot hold; resampling what is clipped gives a few."""
    share = np.count_nonzero(np.abs(samples) > 1) / samples.size
    return [f"overflow: {_percent(share)} of the samples are beyond full scale"] if share >= _CLIPPED else []


def of_constancy(samples: np.ndarray, rate: int, energies: np.ndarray, hop: int) -> list[str]:
    """Remarks on a level that stays the same for a second or more, from the energy of each hop, about zero."""
    if samples.size < rate or _spread(energies) >= _CONSTANT_DB:
        return []
    hops = samples[: samples.size // hop * hop].astype(np.float64).reshape(-1, hop)
    spread = _spread(np.square(hops - hops.mean()).sum(axis=1))
    if spread >= _CONSTANT_DB:  # it was a constant added to the sound that did not change
        return []
    return [f"constant: the level stays within {spread:.1f} dB; a fault of the recorder?"]


def _spread(energies: np.ndarray) -> float:
    """Loudest against quietest frame, dB; infinite where there are not two of them side by side."""
    if energies.size <= 2 * _FRAME_HOPS:
        return math.inf
    frames = np.convolve(energies[:-1], np.ones(_FRAME_HOPS), "valid")  # the last hop may be shorter
    return 10 * math.log10(frames.max() / frames.min()) if frames.min() > 0 else math.inf


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
