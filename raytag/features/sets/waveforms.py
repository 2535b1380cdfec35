"""The samples themselves, for systems whose spectrograms are computed on the device, or not at all."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from raytag.features.sets.base import FULL_SCALE, OfRecordings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from raytag.features.bank import Bank

#: Of the spectrograms that summarise clips: bands, samples of a frame, and frames of all clips together.
_BANDS, _N_FFT, _MOST_FRAMES = 64, 1024, 1_500_000


class Waveforms(OfRecordings):
    """Decoded, resampled recordings as 16-bit samples (samples, 1).

    Samples beyond full scale, which float files and resampling have, are cut off at it; where they are many, that
    is remarked.
    """

    kernels: ClassVar[tuple[str, ...]] = ("inputs.waveforms",)

    @property
    def width(self) -> int:
        return 1

    @property
    def rate(self) -> float:
        return float(self.sample_rate)

    def compute(self, data: bytes, path: str) -> tuple[NDArray[np.int16], tuple[str, ...]]:
        import numpy as np

        from raytag.features import remarks
        from raytag.features.decoding import UnusableClip

        samples, said = self.waveform(data, path)
        peak = float(np.abs(samples).max())
        if peak > remarks.PEAK:
            detail = f"the peak is {peak:.6g} times full scale, which 16-bit samples cannot hold"
            raise UnusableClip("out_of_range", detail, path, said)
        if 2 * samples.size > np.iinfo(np.int32).max:  # what a cell of the cache takes
            raise UnusableClip("too_large", f"{samples.size} samples do not fit a cell of the cache", path, said)
        fixed = np.rint(samples * np.float32(FULL_SCALE)).clip(-FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
        return fixed[:, None], (*said, *remarks.of_overflow(samples))

    def summary(self, bank: Bank, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Mean and deviation over time of 64 mel bands, dB; of long clips frames are left out evenly."""
        import numpy as np

        from raytag.features.logmel import LogMel

        vectors = np.empty((len(rows), 2 * _BANDS))
        most = max(1, _MOST_FRAMES // max(1, len(rows)))  # frames a clip
        for vector, row in zip(vectors, rows, strict=True):
            samples = bank.buffer[bank.offsets[row] : bank.offsets[row + 1], 0].astype(np.float32)
            hop = max(_N_FFT, math.ceil(samples.size / most))
            logmel = LogMel(self.sample_rate, _N_FFT, hop, _BANDS, 0.0, self.sample_rate / 2)
            values = logmel(samples / np.float32(FULL_SCALE)).astype(np.float64)
            vector[:_BANDS], vector[_BANDS:] = values.mean(axis=1), values.std(axis=1)
        return vectors
