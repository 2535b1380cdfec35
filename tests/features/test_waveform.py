"""Reading clips: every format, librosa's trim, the window of short clips, and every way to be unusable."""

from __future__ import annotations

import pickle
import struct

import librosa
import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from raytag.experiment import Features
from raytag.features import UnusableClip, read_waveform
from raytag.features.waveform import cut, decode, trim_bounds

RATE = 44100
FORMATS = {
    "wav16": ("WAV", "PCM_16", 2**-15),
    "wav24": ("WAV", "PCM_24", 2**-23),
    "wav8": ("WAV", "PCM_U8", 2**-7),
    "wav32f": ("WAV", "FLOAT", 1e-7),
    "extensible": ("WAVEX", "PCM_16", 2**-15),
    "rf64": ("RF64", "PCM_16", 2**-15),
    "aiff": ("AIFF", "PCM_16", 2**-15),
    "flac": ("FLAC", "PCM_16", 2**-15),
    "ogg": ("OGG", "VORBIS", 0.2),
    "mp3": ("MP3", None, 0.2),
}


def tone(seconds: float = 1.0, channels: int = 1, rate: int = RATE) -> np.ndarray:
    """A loud sweep, each channel another."""
    t = np.arange(int(seconds * rate)) / rate
    x = np.stack([0.5 * np.sin(2 * np.pi * (300 + 200 * c + 100 * t) * t) for c in range(channels)], axis=1)
    return x[:, 0].astype(np.float32) if channels == 1 else x.astype(np.float32)


def write(path, x: np.ndarray, kind: str = "wav16", rate: int = RATE):
    container, subtype, _ = FORMATS[kind]
    soundfile.write(path, x, rate, format=container, subtype=subtype)
    return path


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("kind", FORMATS)
def test_formats_and_channels(tmp_path, kind, channels):
    if kind == "mp3" and channels > 2:
        pytest.skip("MP3 has at most two channels")
    x = tone(channels=channels)
    waveform = read_waveform(write(tmp_path / "clip", x, kind))
    expected = x if channels == 1 else x.mean(axis=1)
    assert waveform.dtype == np.float32
    assert len(waveform) == len(expected)
    inside = slice(2000, -2000)  # lossy codecs ring at the ends
    assert np.abs(waveform - expected)[inside].max() <= FORMATS[kind][2]


@pytest.mark.parametrize("kind", FORMATS)
def test_samples_are_librosas(tmp_path, kind):
    path = write(tmp_path / "clip", tone(channels=2), kind)
    assert np.array_equal(decode(path.read_bytes())[0], librosa.load(path, sr=None, mono=True)[0])


@pytest.mark.parametrize("rate", [8000, 22050, 32000, 48000, 96000])
def test_other_rates_are_resampled_as_librosa_does(tmp_path, rate):
    path = write(tmp_path / "clip.wav", tone(0.7, rate=rate), rate=rate)
    expected = librosa.load(path, sr=RATE)[0]
    assert len(read_waveform(path)) == len(expected)
    assert np.abs(read_waveform(path) - expected).max() < 1e-6


def test_the_resampler_is_asked_for_the_right_rates(tmp_path):
    x = tone(0.7, rate=8000)
    path = write(tmp_path / "clip.wav", x, "wav32f", rate=8000)
    expected = soxr.resample(x, 8000, 16000, quality="HQ")
    assert np.abs(read_waveform(path, sample_rate=16000) - expected).max() < 1e-6


def test_trim_bounds_are_librosas_on_recordings(shared):
    for path in sorted((shared / "data" / "esc10" / "audio").glob("*.ogg"))[::8]:
        x = soundfile.read(path, dtype="float32")[0]
        for trim_db in (60, 20):
            expected = librosa.effects.trim(x, top_db=trim_db)[1]
            assert trim_bounds(x, trim_db) == tuple(expected), path.name


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 30_000), st.floats(5, 100), st.floats(-9, 0), st.integers(0, 2**32 - 1))
def test_trim_bounds_are_librosas_on_bursts(length, trim_db, level, seed):
    rng = np.random.default_rng(seed)
    envelope = np.repeat(10 ** rng.uniform(-4, 0, length // 700 + 1), 700)[:length]
    x = (10**level * envelope * rng.standard_normal(length)).astype(np.float32)
    assert trim_bounds(x, trim_db) == tuple(librosa.effects.trim(x, top_db=trim_db)[1])
    if length > 1024:  # as librosa before 0.10: the power of frames of the mirrored signal
        power = librosa.feature.rms(y=x, frame_length=2048, hop_length=512, pad_mode="reflect")[0] ** 2
        loud = np.flatnonzero(librosa.power_to_db(power, ref=np.max, top_db=None) > -trim_db)
        expected = (512 * loud[0], min(length, 512 * (loud[-1] + 1)))
        assert trim_bounds(x, trim_db, "reflect") == expected


def test_the_ends_of_a_file_are_mirrored_where_silence_is_looked_for(tmp_path):
    x = np.zeros(RATE, np.float32)
    x[20_000:30_000:2] = 0.5
    x[100:200] = 0.5 * np.sqrt(1024 * 0.7e-6 / 100)  # frames that hear it twice are 58.5 dB below the loudest
    path = write(tmp_path / "clip.wav", x, "wav32f")
    assert len(read_waveform(path, pad_mode="constant", min_seconds=0.1)) == 31232 - 19456
    assert len(read_waveform(path, pad_mode="reflect")) == 31232


def test_a_short_late_sound_is_kept_whole_unless_the_published_fault_is_asked_for(shared, tmp_path):
    """argus-freesound loses short sounds that begin late: it forgets how much silence was trimmed before them."""
    reference = np.load(shared / "golden" / "01_logmel_short_late.npz")
    burst = reference["in_samples"]
    start, end = reference["trim_start_end"]
    soundfile.write(tmp_path / "late.wav", burst, RATE, subtype="FLOAT")
    faulty = read_waveform(tmp_path / "late.wav", short_clip="file_start")
    assert len(faulty) == reference["out_len"]
    assert not faulty.any()
    data = (tmp_path / "late.wav").read_bytes()
    assert Features(short_clip="file_start").spectrogram(data, "")[1] == (
        "missed: the 22050 samples that features.short_clip=file_start cuts out hold no sound; "
        "--set features.short_clip=sound keeps it",
    )
    assert Features().spectrogram(data, "")[1] == ()
    waveform = read_waveform(tmp_path / "late.wav")
    assert len(waveform) == RATE // 2
    center = (start + end) // 2
    assert np.array_equal(waveform, burst[center - RATE // 4 : center + RATE // 4])
    assert np.square(waveform).sum() == pytest.approx(np.square(burst).sum(), rel=1e-4)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 3000), st.integers(0, 3000), st.integers(0, 1200), st.integers(1, 1001))
def test_the_window_has_the_asked_length_and_holds_the_sound(length, start, sound, window):
    """Wherever in the file it begins; argus-freesound loses short sounds that begin late."""
    start = min(start, length - 1)
    end = min(start + sound, length)
    x = np.arange(1, length + 1, dtype=np.float32)
    result, first = cut(x, start, end, window, "sound")
    assert len(result) == max(window, end - start)
    kept = result[result > 0]
    assert np.array_equal(kept, np.arange(kept[0], kept[-1] + 1))  # one run of the file, in order
    assert set(x[start:end]) <= set(kept)
    padding = len(result) - len(kept)
    left = int(np.argmax(result > 0))
    assert first + left == kept[0] - 1  # where the run lies in the file
    assert left == padding // 2


def test_a_feature_set_knows_where_in_the_file_it_begins(tmp_path):
    silent = np.zeros(RATE, np.float32)
    late = write(tmp_path / "late.wav", np.concatenate([silent, tone(1.0), silent]), "wav32f").read_bytes()
    short = write(tmp_path / "short.wav", tone(0.2), "wav32f").read_bytes()
    for rate in (RATE, RATE // 2):
        assert Features(sample_rate=rate, fmax=rate / 2).begins(late, "") == pytest.approx(1.0, abs=0.07)
        assert Features(sample_rate=rate, fmax=rate / 2, trim_db=None).begins(late, "") == 0
        assert Features("Waveforms", sample_rate=rate).begins(short, "") == pytest.approx(-0.15, abs=1e-3)


def test_a_file_shorter_than_the_window_is_padded_on_both_sides(tmp_path):
    waveform = read_waveform(write(tmp_path / "clip.wav", tone(0.2), "wav32f"))
    assert len(waveform) == RATE // 2
    left = (RATE // 2 - 8820) // 2
    assert np.array_equal(waveform[left : left + 8820], tone(0.2))
    assert not waveform[:left].any()
    assert not waveform[left + 8820 :].any()


def code_of(path) -> str:
    with pytest.raises(UnusableClip) as caught:
        read_waveform(path)
    assert str(path) in str(caught.value)
    assert caught.value.reason == f"{caught.value.code}: {caught.value.detail}"
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (copy.code, copy.detail, copy.path) == (caught.value.code, caught.value.detail, str(path))
    return caught.value.code


def test_missing(tmp_path):
    assert code_of(tmp_path / "nowhere.wav") == "missing"


@pytest.mark.parametrize("content", [b"RIFF", b"not audio at all" * 100, b"OggS" + bytes(60), b"fLaC" + bytes(60)])
def test_unreadable(tmp_path, content):
    """argus-freesound hears half a second of silence in whatever it cannot decode."""
    (tmp_path / "clip.wav").write_bytes(content)
    assert code_of(tmp_path / "clip.wav") in {"unreadable", "truncated"}


def test_unreadable_folder_and_foreign_file(tmp_path):
    assert code_of(tmp_path) == "unreadable"
    (tmp_path / "clip.wav").write_text("fname,labels\n" * 50)
    assert code_of(tmp_path / "clip.wav") == "unreadable"


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("share", [0.999, 0.6, 0.1])
def test_truncated(tmp_path, kind, share):
    """libsndfile reads what is left of a WAV, AIFF or Ogg file and says nothing."""
    rng = np.random.default_rng(0)
    path = write(tmp_path / "clip", (0.1 * rng.standard_normal(2 * RATE)).astype(np.float32), kind)
    whole = path.read_bytes()
    read_waveform(path)
    path.write_bytes(whole[: int(len(whole) * share)])
    assert code_of(path) == "truncated"


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_cut_within_its_header_is_unreadable_or_truncated(tmp_path, kind):
    path = write(tmp_path / "clip", tone(), kind)
    whole = path.read_bytes()
    for length in range(1, 90):
        path.write_bytes(whole[:length])
        assert code_of(path) in {"unreadable", "truncated"}, length


def test_chunks_before_and_after_the_samples_are_skipped(tmp_path):
    path = write(tmp_path / "clip.wav", tone(channels=2))
    data = path.read_bytes()
    odd = b"LIST" + struct.pack("<I", 5) + b"INFOx\0"
    split = data.index(b"data")
    path.write_bytes(data[:split] + odd + data[split:] + odd)
    assert np.array_equal(read_waveform(path), decode(data)[0])


@pytest.mark.parametrize("kind", ["wav16", "wav24", "flac", "ogg"])
def test_empty(tmp_path, kind):
    assert code_of(write(tmp_path / "clip", np.zeros(0, np.float32), kind)) == "empty"


def test_a_file_of_no_bytes_is_empty(tmp_path):
    (tmp_path / "clip.wav").touch()
    assert code_of(tmp_path / "clip.wav") == "empty"


@pytest.mark.parametrize("value", [0.0, 0.25, -1.0])
@pytest.mark.parametrize("length", [1, 17, 30_000])
def test_silent(tmp_path, value, length):
    assert code_of(write(tmp_path / "clip", np.full(length, value, np.float32))) == "silent"


def test_one_step_of_16_bit_audio_is_silence_and_two_are_not(tmp_path):
    x = np.zeros(30_000)
    x[15_000] = 2**-15
    assert code_of(write(tmp_path / "clip", x)) == "silent"
    x[15_001] = -(2**-15)
    assert len(read_waveform(write(tmp_path / "clip", x))) > 0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
@pytest.mark.parametrize("place", [0, 12_345, -1])
def test_non_finite(tmp_path, value, place):
    x = tone()
    x[place] = value
    assert code_of(write(tmp_path / "clip.wav", x, "wav32f")) == "non_finite"
