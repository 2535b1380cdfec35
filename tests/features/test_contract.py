"""The contract of `raytag.testing.features` over all feature sets, and that each of its promises can be broken."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import pytest

from raytag.experiment import Features
from raytag.features.sets import FEATURES
from raytag.features.sets.base import OfRecordings
from raytag.features.sets.waveforms import Waveforms
from raytag.testing.features import check_features


@pytest.mark.parametrize("name", FEATURES)
def test_every_feature_set_keeps_the_contract(name: str) -> None:
    check_features(Features(name))


class Own(Waveforms):
    """Keeps the contract; those below break it in one place."""


class OwnRemark(Own):
    def compute(self, data: bytes, path: str) -> Any:
        return super().compute(data, path)[0], ("odd: it is",)


class Wide(Own):
    @property
    def width(self) -> int:
        return 2


class Floating(Own):
    def compute(self, data: bytes, path: str) -> Any:
        frames, remarks = super().compute(data, path)
        return frames.astype(np.float32), remarks


class Flat(Own):
    def compute(self, data: bytes, path: str) -> Any:
        frames, remarks = super().compute(data, path)
        return frames[:, 0], remarks


class Random(Own):
    def compute(self, data: bytes, path: str) -> Any:
        frames, remarks = super().compute(data, path)
        return frames // 2 + np.random.default_rng().integers(0, 9, frames.shape, np.int16), remarks


class ByName(Own):
    def compute(self, data: bytes, path: str) -> Any:
        frames, remarks = super().compute(data, path)
        return frames[: -len(path)], remarks


class Brave(Own):
    def compute(self, data: bytes, path: str) -> Any:
        try:
            return super().compute(data, path)
        except ValueError:
            return np.zeros((5, 1), np.int16), ()


class Empty(Own):
    def compute(self, data: bytes, path: str) -> Any:
        frames, remarks = super().compute(data, path)
        return frames[:0], remarks


class OtherNoise(Own):
    def noise(self, frames: int, rng: np.random.Generator) -> Any:
        return np.random.default_rng().integers(0, 99, (frames, 1), np.int16)


class Compared(Own):
    def summary(self, bank: Any, rows: Any) -> Any:
        vectors = super().summary(bank, rows)
        return vectors - vectors.mean(axis=0)


class Quiet(Own):
    def level(self, frames: Any) -> float:
        return float("-inf")


class HighRate(Own):
    @property
    def highest(self) -> float:
        return 1e5


class Stuck(Own):
    def at_rate(self, sample_rate: int) -> Any:
        return {}


class Unvaried(Own):
    def compute(self, data: bytes, path: str) -> Any:
        return Waveforms(sample_rate=self.sample_rate).compute(data, path)


CLASSES = (Own, OwnRemark, Wide, Floating, Flat, Random, ByName, Brave, Empty, OtherNoise, Compared, Quiet)
CLASSES = (*CLASSES, HighRate, Stuck, Unvaried)


@pytest.fixture(autouse=True)
def members(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for cls in CLASSES:
        monkeypatch.setitem(FEATURES, cls.__name__, f"{__name__}:{cls.__name__}")  # type: ignore[arg-type]
        monkeypatch.setitem(globals(), cls.__name__, cls)
    return


def test_what_the_others_are_made_of_keeps_it() -> None:
    check_features(Own())


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (OwnRemark, "remarks are code: sentence"),
        (Wide, r"frames are \(.*, 1\), not \(frames, 2\)"),
        (Floating, "frames are float32, not int16"),
        (Flat, r"frames are \(.*\), not \(frames, 1\)"),
        (Random, "the same content gives other frames the second time"),
        (ByName, "the same content gives other frames the second time"),
        (Brave, "silence: gives frames, and should raise UnusableClip"),
        (Empty, "there is no frame"),
        (OtherNoise, "noise is not its generator's alone"),
        (Compared, "the summary of a clip depends on others"),
        (Quiet, "level of a clip is not finite"),
        (HighRate, "sound is heard up to 100000"),
        (Unvaried, r"at twice the speed it is the same: compute does not use self\.waveform"),
        (Stuck, r"at_rate\(8000\) does not give its sample_rate"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_bad_feature_set_is_told_what_it_breaks(bad: type[Waveforms], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_features(bad())


class Counts(OfRecordings):
    """No more than a set must say."""

    steps: ClassVar[int] = 2

    @property
    def width(self) -> int:
        return 3

    @property
    def rate(self) -> float:
        return 1.0

    def compute(self, data: bytes, path: str) -> Any:
        samples, said = self.waveform(data, path)
        return np.full((1, 3), np.rint(1000 * np.abs(samples).max()), np.int16), said


def test_a_set_needs_width_rate_and_compute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FEATURES, "Counts", f"{__name__}:Counts")  # type: ignore[arg-type]
    check_features(Counts())
