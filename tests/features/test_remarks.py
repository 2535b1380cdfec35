"""Remarks on recordings that can be used, each with numbers that are true, and silence that begins later."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from raytag.experiment import Experiment, Features
from raytag.features import UnusableClip, extract
from tests.features.test_waveform import RATE, write

DEFAULT = Features()
QUIET = 0.001 * np.random.default_rng(1).standard_normal(2 * RATE)


def sine(hertz: float, seconds: float = 0.8, rate: int = RATE) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)


def remarks_on(path: Path, features: Features = DEFAULT) -> list[str]:
    logmel, remarks = features.spectrogram(path.read_bytes(), "")
    assert np.array_equal(logmel, extract(path, features))
    return list(remarks)


@pytest.fixture
def clip(tmp_path):
    """Write a clip and return the remarks on it."""

    def clip(x: np.ndarray, kind: str = "wav32f", rate: int = RATE) -> list[str]:
        return remarks_on(write(tmp_path / "clip", x, kind, rate))

    return clip


def test_a_plain_recording_has_none(clip):
    assert clip(sine(440)) == []


@pytest.mark.parametrize("offset", [0.0, 0.3])
def test_sound_that_resampling_removes(clip, tmp_path, offset):
    bats = sine(45_000, rate=192_000) + 0.1 * sine(9_000, rate=192_000)
    [remark] = clip(bats + offset, rate=192_000)
    assert remark == (
        "lost: 1.0 % of the energy is left at 44100 Hz; --set features.sample_rate=192000 "
        "keeps all of it, log-mels with --set features.fmax=96000"
    )
    changes = dict(words.split("=") for words in remark.split() if "=" in words)
    assert remarks_on(tmp_path / "clip", Experiment().replace(changes).features) == []
    assert clip(sine(45_000, rate=192_000) + 0.4 * sine(9_000, rate=192_000), rate=192_000) == []
    assert clip(sine(3_000, rate=8_000), rate=8_000) == []


def test_silence_that_resampling_makes(clip):
    fading = np.hanning(153_600)
    with pytest.raises(UnusableClip) as caught:
        clip(fading * sine(60_000, rate=192_000), rate=192_000)
    assert caught.value.reason == (
        "silent: nothing is left after resampling from 192000 to 44100 Hz: all sound lies near or above 22050 Hz"
    )


@pytest.mark.parametrize(("peak", "words"), [(10_000, "10000, 80 dB"), (-32_768, "32768, 90 dB"), (9, "9, 19 dB")])
def test_a_peak_far_beyond_full_scale(clip, peak, words):
    x = sine(440)
    x[100] = peak
    assert clip(x) == [f"level: the peak is {words} beyond full scale; 16-bit numbers saved as float?"]


def test_float_recorders_may_go_a_few_times_beyond_full_scale(clip):
    assert clip(7.9 * 2 * sine(440)) == []


@pytest.mark.parametrize("kind", ["wav16", "wav32f"])
def test_clipping(clip, kind):
    x = np.clip(3 * sine(440), -1, 1)
    share = np.mean(np.abs(x) >= 0.999)
    assert clip(x, kind) == [f"clipped: {100 * share:.1f} % of the samples are at full scale"]
    assert clip(np.minimum(x, 0.5), kind) == [
        f"clipped: {100 * np.mean(x <= -0.999):.1f} % of the samples are at full scale"
    ]


def test_a_few_samples_at_full_scale_are_none(clip):
    x = sine(440)
    x[: int(0.00095 * x.size)] = 1
    assert clip(x) == []
    x[: int(0.00115 * x.size)] = 1
    assert clip(x) == ["clipped: 0.1 % of the samples are at full scale"]


@pytest.mark.parametrize("offset", [0.0, 0.3])
def test_a_level_that_never_changes(clip, offset):
    hum = sine(440, 2.0)
    assert clip(hum + offset)[0].startswith("constant: the level stays within 0.")
    swell = hum * np.linspace(1, 0.8, hum.size)  # 1.9 dB
    assert clip(swell + offset) == []
    assert clip(hum[: RATE - 1] + offset) == []


def test_a_constant_added_to_the_sound_is_no_constant_level(clip):
    x = QUIET * np.repeat([1, 0.1, 1, 0.1], RATE // 2)
    assert clip(x + 0.3) == []


def test_remarks_add_up(clip):
    hum = np.clip(3 * sine(45_000, 1.5, 192_000), -1, 1)
    codes = [remark.split(":")[0] for remark in clip(np.stack([hum, -hum], axis=1), rate=192_000)]
    assert codes == ["channels", "clipped", "constant", "lost"]
