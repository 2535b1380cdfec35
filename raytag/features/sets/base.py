"""How a recording is read, whatever is computed of it then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from raytag import parts

if TYPE_CHECKING:
    from raytag.features.waveform import Waveform


class OfRecordings(parts.Features):
    """The fields that all feature sets have: `raytag.features.waveform.read_waveform` explains them."""

    sample_rate: int = Field(44100, gt=0)  # Hz; other rates are resampled
    trim_db: float | None = Field(60.0, gt=0)
    # dB below the peak frame: silence cut from both ends; None: nothing is cut
    min_seconds: float = Field(0.5, gt=0)  # s; shorter sounds are widened, then zero padded
    short_clip: Literal["sound", "file_start"] = "sound"
    # where the window of min_seconds lies when the trimmed sound is shorter: centred on the sound itself, or
    # (argus-freesound's fault, kept for fidelity) on half the sound's length counted from the file's start
    channel: Literal["mix", "loudest", "first"] = "mix"
    # what of several channels is heard: their mean (where it cancels, the loudest), or always one of them

    def waveform(self, data: bytes, path: str) -> Waveform:
        """The samples of a file's content, with remarks; ``UnusableClip`` as in `raytag.parts.Features.compute`."""
        from raytag.features.waveform import waveform_of

        return waveform_of(
            data,
            path,
            sample_rate=self.sample_rate,
            trim_db=self.trim_db,
            min_seconds=self.min_seconds,
            short_clip=self.short_clip,
            channel=self.channel,
        )
