"""Variants of a recording, to train on beside it: copies at another pitch, tempo or speed.

pitch:+2      two semitones up, the length kept; fractions and negatives too
stretch:0.9   0.9 times as fast, the pitch kept; above 1 is shorter
speed:1.1     1.1 times as fast as a tape would be: shorter and higher
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

#: Of each kind: how its number is called, the lowest and the highest one, and the one that changes nothing.
KINDS = {
    "pitch": ("semitones", -24.0, 24.0, 0.0),
    "stretch": ("the rate", 0.25, 4.0, 1.0),
    "speed": ("the speed", 0.25, 4.0, 1.0),
}
#: Samples that the phase vocoder takes or gives: of so many a complex spectrogram (1025 bins of 8 bytes every 512
#: samples) takes 0.5 GB, and it holds a few at a time.
_MOST_SAMPLES = 2**25


def canonical(value: Any) -> tuple[str, ...]:
    """Variants in their only spelling and order, from a sequence or from ``"pitch:+2,stretch:0.9"``.

    Raises
    ------
    ValueError
        One that there is not, that changes nothing, or that is given twice; the message says what to write.
    """
    if value is None or value == "":
        return ()
    items = value if isinstance(value, list | tuple) else str(value).split(",")
    found = sorted((_parsed(str(item)) for item in items), key=lambda v: ([*KINDS].index(v[0]), v[1]))
    spelt = tuple(f"{kind}:{number:{'+' if kind == 'pitch' else ''}.12g}" for kind, number in found)
    for one, other in itertools.pairwise(spelt):
        if one == other:
            raise ValueError(f"{one} is given twice: leave one out, every copy is drawn as often as the others")
    return spelt


def _parsed(text: str) -> tuple[str, float]:
    """Kind and number of a variant."""
    kind, _, amount = (part.strip() for part in text.partition(":"))
    try:
        number = float(amount)
    except ValueError:
        number = math.nan
    if kind not in KINDS or math.isnan(number):
        raise ValueError(
            f"there is no variant {text!r}: write pitch:+2 (semitones), stretch:0.9 (rate, above 1 is shorter, the "
            "pitch is kept) or speed:1.1 (pitch and length)"
        )
    what, low, high, nothing = KINDS[kind]
    if number == nothing:
        raise ValueError(f"{text} changes nothing: leave it out, recordings themselves are always trained on")
    if not low <= number <= high:
        raise ValueError(f"{text}: {what} must lie between {low:g} and {high:g}")
    return kind, number


def longer(variant: str) -> float:
    """How many times as long as the recording a variant is; 1 for "", the recording itself."""
    kind, number = _parsed(variant) if variant else ("", 1.0)
    return 1.0 if kind == "pitch" else 1 / number


def varied(samples: np.ndarray, sample_rate: int, variant: str, path: str) -> np.ndarray:
    """A variant of float32 (n,) samples at ``sample_rate`` Hz, float32 (about n · `longer`,).

    Pitch and tempo are ``librosa.effects.pitch_shift`` and ``time_stretch`` (a phase vocoder, n_fft 2048), as
    argus-freesound has them; speed is a change of the sample rate (soxr, HQ).

    Raises
    ------
    UnusableClip
        ``too_large``, ``non_finite`` or ``silent``; ``path`` is for its message.
    """
    import numpy as np

    from raytag.datasets.recordings import MAX_SAMPLES
    from raytag.features.decoding import UnusableClip
    from raytag.features.waveform import SILENCE, resample

    kind, number = _parsed(variant)
    most = MAX_SAMPLES if kind == "speed" else _MOST_SAMPLES
    grown = 2 ** (number / 12) if kind == "pitch" else 1 / number  # a pitch is stretched first, then sped up
    if samples.size * max(1.0, grown) > most:
        raise UnusableClip("too_large", f"{variant} of {samples.size} samples takes more than {most}", path)
    if kind == "speed":
        made = resample(samples, sample_rate * number, sample_rate)
    else:
        import librosa  # takes two seconds, which only workers that need it spend

        whole = np.pad(samples, (0, max(0, 2048 - samples.size)))  # it warns of less than a frame
        if kind == "pitch":
            made = librosa.effects.pitch_shift(whole, sr=sample_rate, n_steps=number)[: samples.size]
        else:
            made = librosa.effects.time_stretch(whole, rate=number)[: round(samples.size / number)]
    if not np.isfinite(made).all():
        raise UnusableClip("non_finite", f"{variant} gives samples that are NaN or infinite", path)
    if np.ptp(made) <= SILENCE:
        raise UnusableClip("silent", f"{variant} leaves no sound", path)
    return np.ascontiguousarray(made, np.float32)
