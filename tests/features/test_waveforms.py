"""Banks of waveforms: samples as they were read, cached, verified and quarantined like any other features."""

from __future__ import annotations

import io
import os

import numpy as np
import pytest
import soundfile
from rich.console import Console

from raytag import datasets
from raytag.experiment import Features
from raytag.features import Bank, UnusableClip, read_waveform
from raytag.features.manifest import feature_hash
from raytag.features.sets.banks import build_banks
from raytag.search.race.fold_order import difficulty
from tests.recordings import RATE, make_folder


def wav(samples: np.ndarray, rate: int = 8000, subtype: str = "FLOAT") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV", subtype=subtype)
    return file.getvalue()


def noise(seconds: float = 1.0, rate: int = 8000, scale: float = 0.1) -> np.ndarray:
    return np.random.default_rng(0).normal(0, scale, int(seconds * rate))


def test_sixteen_bit_recordings_keep_their_very_samples():
    x = np.concatenate([np.zeros(3000), noise(), np.zeros(3000)])
    data = wav(x, subtype="PCM_16")
    stored = soundfile.read(io.BytesIO(data), dtype="int16")[0]
    whole, said = Features("Waveforms", sample_rate=8000, trim_db=None).compute(data, "")
    assert whole.dtype == np.int16
    assert np.array_equal(whole[:, 0], stored)
    assert said == ()
    trimmed, _ = Features("Waveforms", sample_rate=8000).compute(data, "")
    assert 8000 <= len(trimmed) < 11000
    start = next(i for i in range(len(stored)) if np.array_equal(stored[i : i + len(trimmed)], trimmed[:, 0]))
    assert 0 < start <= 3000
    short, _ = Features("Waveforms", sample_rate=8000, trim_db=None, min_seconds=3.0).compute(data, "")
    assert len(short) == 24000


def test_other_rates_are_resampled_and_rounded(tmp_path):
    path = tmp_path / "x.wav"
    path.write_bytes(wav(noise(rate=44100), 44100))
    features = Features("Waveforms", sample_rate=16000)
    samples, _ = features.compute(path.read_bytes(), "")
    exact = read_waveform(path, sample_rate=16000)
    assert len(samples) == len(exact)
    assert np.abs(samples[:, 0] / 32768 - exact).max() <= 0.5001 / 32768


def test_samples_beyond_full_scale_are_cut_off_and_remarked():
    x = noise(scale=0.3)
    x[100:200] = 1.5
    samples, said = Features("Waveforms", sample_rate=8000).compute(wav(x), "")
    assert (samples.max(), samples.min()) == (32767, -32768)
    assert [remark for remark in said if remark.startswith("overflow")] == [
        f"overflow: {np.mean(np.abs(x) > 1):.1%} of the samples are beyond full scale".replace("%", " %")
    ]
    with pytest.raises(UnusableClip, match=r"out_of_range: the peak is .* times full scale") as error:
        Features("Waveforms", sample_rate=8000).compute(wav(300 * x), "")
    assert any(remark.startswith("level") for remark in error.value.remarks)


def test_feature_sets_of_waveforms_last():
    assert feature_hash(Features("Waveforms")) == "9b5a0023e4b75175"
    assert feature_hash(Features("Waveforms", sample_rate=22050, trim_db=None)) == "4a3735e2103a4cd8"


def test_a_summary_tells_pitches_apart_at_any_length():
    t = np.arange(40000) / 8000
    tones = [np.sin(2 * np.pi * hz * t[:n]) for hz, n in ((300, 40000), (300, 900), (1800, 40000), (1800, 900))]
    samples = [(8000 * tone).astype(np.int16) for tone in tones]
    bank = Bank(np.concatenate(samples)[:, None], np.cumsum([0, *map(len, samples)]), list("abcd"))
    vectors = Features("Waveforms", sample_rate=8000).summary(bank, np.arange(4))
    assert vectors.shape == (4, 128)
    assert np.isfinite(vectors).all()
    peaks = vectors[:, :64].argmax(axis=1)
    assert abs(peaks[0] - peaks[1]) <= 1
    assert abs(peaks[2] - peaks[3]) <= 1
    assert peaks[0] + 10 < peaks[2]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    data = make_folder(tmp_path_factory.mktemp("waves") / "data", clips=24, folds=3)
    soundfile.write(data / "train_curated" / "c005.wav", np.zeros(RATE), RATE)
    soundfile.write(data / "train_curated" / "c007.wav", 60 * noise(1, RATE, 0.3), RATE, subtype="FLOAT")
    return datasets.load(data)


def build(table, folder, sets, **options):
    output = io.StringIO()
    options = {"max_bad_share": 0.2, "console": Console(file=output, width=300), **options}
    return build_banks(table, sets, str(folder / "cache"), **options), output.getvalue()


def test_one_launch_caches_both_kinds_verifies_and_quarantines(table, tmp_path, ray_session):
    """What is unusable in one set is left out of all, and both are kept; --verify finds a changed recording."""
    sets = [Features(), Features("Waveforms", sample_rate=16000)]
    found, printed = build(table, tmp_path, sets)
    assert "set 2 of 2: name=Waveforms, sample_rate=16000" in printed
    assert "2 of " in printed
    (logmels, images), (waves, samples) = found
    assert images.clips == samples.clips
    assert (images.width, samples.width) == (128, 1)
    reasons = waves.quarantined.set_index("clip")["reason"]
    assert reasons["train_curated/c005.wav"].startswith("silent")
    assert reasons["train_curated/c007.wav"].startswith("out_of_range")
    assert logmels.quarantined["clip"].tolist() == waves.quarantined["clip"].tolist()
    paths = dict(zip(table.clips["clip"], table.clips["path"], strict=True))
    for i, clip in enumerate(samples.clips):
        own = samples.buffer[samples.offsets[i] : samples.offsets[i + 1], 0]
        assert np.abs(own / 32768 - read_waveform(paths[clip], sample_rate=16000)).max() < 2e-5
    ((again, _),), printed = build(table, tmp_path, sets[1:])
    assert again.computed == 0
    changed = paths[samples.clips[0]]
    before = soundfile.read(changed)[0]
    stamp = os.stat(changed)
    soundfile.write(changed, before[::-1], RATE, subtype="PCM_16")
    os.utime(changed, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    ((again, _),), _ = build(table, tmp_path, sets[1:])
    assert again.computed == 0  # size and time of change are as they were
    ((again, bank),), _ = build(table, tmp_path, sets[1:], verify=True)
    assert again.computed == 1
    assert not np.array_equal(bank.buffer, samples.buffer)


def test_folds_are_ordered_by_waveforms_too(table, tmp_path, ray_session):
    features = Features("Waveforms")
    ((manifest, bank),), _ = build(table, tmp_path, [features])
    usable = table.drop(manifest.quarantined["clip"].tolist())
    scores = difficulty(usable, bank, features, 3)
    assert np.isfinite(scores).all()
    assert scores.mean() > 0.6  # tones, noises and chirps are easy to tell
