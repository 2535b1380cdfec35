"""How a recording is read, whatever is computed of it then."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, PrivateAttr

from raytag import parts
from raytag.features.sets.variants import canonical, varied

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from raytag.features.bank import Bank
    from raytag.features.waveform import Waveform

#: Full scale of int16.
FULL_SCALE = 32768


class OfRecordings(parts.Features):
    """The fields that all feature sets have: `raytag.features.waveform.read_waveform` explains them.

    A set of its own needs `width`, `rate` and `compute`; what else is asked of it has an answer here that serves
    any numbers.
    """

    level_of: ClassVar[str] = "peak"

    sample_rate: int = Field(44100, gt=0)  # Hz; other rates are resampled
    trim_db: float | None = Field(60.0, gt=0)
    # dB below the peak frame: silence cut from both ends; None: nothing is cut
    min_seconds: float = Field(0.5, gt=0)  # s; shorter sounds are widened, then zero padded
    short_clip: Literal["sound", "file_start"] = "sound"
    # where the window of min_seconds lies when the trimmed sound is shorter: centred on the sound itself, or
    # (argus-freesound's fault, kept for fidelity) on half the sound's length counted from the file's start
    pad_mode: Literal["constant", "reflect"] = "constant"
    # what frames that reach beyond the ends find there, in trimming and in spectrograms: zeros, or the signal
    # mirrored (librosa's default before 0.10, with which argus-freesound was trained)
    channel: Literal["mix", "loudest", "first"] = "mix"
    # what of several channels is heard: their mean (where it cancels, the loudest), or always one of them
    variants: Annotated[tuple[str, ...], BeforeValidator(canonical)] = ()
    # copies that are trained on beside the recordings: pitch:+2 (semitones), stretch:0.9 and speed:1.1 (rates), see
    # `raytag.features.sets.variants`
    _variant: str = PrivateAttr("")

    @property
    def variant(self) -> str:
        return self._variant

    def copies(self) -> tuple[Self, ...]:
        found = []
        for variant in ("", *self.variants):
            found.append(self.model_copy(update={"variants": (variant,) if variant else ()}))
            found[-1]._variant = variant
        return tuple(found)

    def waveform(self, data: bytes, path: str) -> Waveform:
        """The samples of a file's content, with remarks; ``UnusableClip`` as in `raytag.parts.Features.compute`.

        A variant is made, as in argus-freesound, of what is left once silent ends are cut off; where that becomes
        shorter than ``min_seconds``, it is filled up with zeros on both sides.
        """
        from raytag.features.waveform import Waveform, cut

        found, _ = self._located(data, path)
        if not self.variant:
            return found
        made = varied(found.samples, self.sample_rate, self.variant, path)
        least = int(self.min_seconds * self.sample_rate)
        return Waveform(cut(made, 0, made.size, least, "sound")[0], ())  # the remarks are the recording's

    def begins(self, data: bytes, path: str) -> float:
        return self._located(data, path)[1] / self.sample_rate

    def _located(self, data: bytes, path: str) -> tuple[Waveform, int]:
        from raytag.features.waveform import waveform_of

        return waveform_of(
            data,
            path,
            sample_rate=self.sample_rate,
            trim_db=self.trim_db,
            min_seconds=self.min_seconds,
            short_clip=self.short_clip,
            pad_mode=self.pad_mode,
            channel=self.channel,
        )

    @property
    def highest(self) -> float:
        return self.sample_rate / 2

    def check(self) -> None:
        """All fields fit."""

    def noise(self, frames: int, rng: np.random.Generator) -> NDArray[np.int16]:
        import numpy as np

        values = rng.normal(0.0, 0.1 * FULL_SCALE, (frames, self.width))
        return values.clip(-FULL_SCALE, FULL_SCALE - 1).astype(np.int16)

    def summary(self, bank: Bank, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Mean and deviation over time of each value."""
        from raytag.features.look import pool

        return pool(bank, rows)

    def level(self, frames: NDArray[np.int16]) -> float:
        """The largest value, dB re full scale."""
        import numpy as np

        return 20 * math.log10(max(float(np.abs(frames.astype(np.float32)).max()), 1.0) / FULL_SCALE)

    def at_rate(self, sample_rate: int) -> dict[str, float]:
        return {"sample_rate": sample_rate}
