"""Log-mel spectrograms against librosa and the published system's own."""

from __future__ import annotations

import pickle
import warnings

import librosa
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from raytag.experiment import Features
from raytag.features import LogMel, extract, read_waveform
from raytag.features.logmel import mel_filterbank
from raytag.features.waveform import trim_bounds

REFERENCE = {  # reference array -> recording of ESC-10
    "clip0": "1-30226-A.ogg",
    "clip1": "3-149189-A.ogg",
    "clip2": "4-188033-A.ogg",
    "clip3": "1-100032-A.ogg",
}


def by_librosa(x: np.ndarray, logmel: LogMel) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # frames longer than the signal, bands without a bin
        mel = librosa.feature.melspectrogram(
            y=x,
            sr=logmel.sample_rate,
            n_fft=logmel.n_fft,
            hop_length=logmel.hop_length,
            n_mels=logmel.n_mels,
            fmin=logmel.fmin,
            fmax=logmel.fmax,
            pad_mode=logmel.pad_mode,
        )
    return librosa.power_to_db(mel, top_db=logmel.top_db)


@pytest.mark.parametrize("case", [*REFERENCE, "short", "short_late", "zeros"])
def test_equals_the_published_system(shared, tmp_path, case):
    reference = np.load(shared / "golden" / f"01_logmel_{case}.npz")
    if case == "zeros":  # read_waveform refuses silence; the transform itself does not
        logmel = LogMel()(reference["in_samples"])
    else:
        if case in REFERENCE:
            path = shared / "data" / "esc10" / "audio" / REFERENCE[case]
        else:
            path = tmp_path / "clip.wav"
            soundfile.write(path, reference["in_samples"], 44100, subtype="FLOAT")
        waveform = read_waveform(path, short_clip="file_start")
        assert len(waveform) == reference["out_len"]
        assert np.isclose(waveform.sum(dtype=np.float64), reference["wave_sum"], rtol=1e-5, atol=1e-9)
        assert np.isclose(np.square(waveform, dtype=np.float64).sum(), reference["wave_sumsq"], rtol=1e-5)
        assert np.allclose(waveform[:: len(waveform) // 64][:64], reference["wave_probe"], rtol=1e-5)
        logmel = LogMel()(waveform)
    assert logmel.dtype == np.float32
    assert logmel.shape == reference["logmel"].shape
    assert np.abs(logmel - reference["logmel"]).max() < 2e-3


@pytest.mark.parametrize("case", REFERENCE)
def test_mirrored_ends_are_those_of_the_librosa_that_the_published_system_used(shared, case):
    reference = np.load(shared / "golden" / f"01_logmel_{case}.npz")
    path = shared / "data" / "esc10" / "audio" / REFERENCE[case]
    assert trim_bounds(librosa.load(path, sr=None)[0], pad_mode="reflect") == tuple(
        reference["trim_start_end_reflect"]
    )
    logmel = extract(path, Features(short_clip="file_start", pad_mode="reflect"))
    edges = np.concatenate([logmel[:, :3], logmel[:, -3:]], axis=1)
    assert np.abs(edges - reference["logmel_reflect_edges"]).max() < 2e-3
    assert np.allclose(logmel[:, 3:-3], reference["logmel"][:, 3:-3], atol=2e-3)


def test_equals_librosa_on_recordings(shared):
    logmel = LogMel()
    for path in sorted((shared / "data" / "esc10" / "audio").glob("*.ogg"))[::20]:
        x = read_waveform(path)
        assert np.abs(logmel(x) - by_librosa(x, logmel)).max() < 5e-3, path.name


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"n_fft": 2048, "hop_length": 512, "n_mels": 64},
        {"n_fft": 512, "hop_length": 1000, "n_mels": 40},  # frames that do not overlap
        {"n_fft": 256, "hop_length": 10, "n_mels": 30},  # more than sixteen hops a frame
        {"n_fft": 256, "hop_length": 16, "n_mels": 30},
        {"n_fft": 1102, "hop_length": 441},  # 551 = 19 · 29
        {"sample_rate": 16000, "n_fft": 400, "hop_length": 160, "n_mels": 80, "fmin": 0.0, "fmax": 8000.0},
        {"n_fft": 30, "hop_length": 4, "n_mels": 3, "top_db": 20.0},
        {"n_fft": 2, "hop_length": 1, "n_mels": 1},
        {"pad_mode": "reflect"},
        {"n_fft": 256, "hop_length": 10, "n_mels": 30, "pad_mode": "reflect"},
        {"n_fft": 512, "hop_length": 1000, "n_mels": 40, "pad_mode": "reflect"},
    ],
    ids=str,
)
def test_equals_librosa_for_any_parameters(parameters):
    logmel = LogMel(**parameters)
    rng = np.random.default_rng(1)
    for length in (1, 15, 690, 691, 5001):
        if logmel.pad_mode == "reflect" and length <= logmel.n_fft // 2:
            continue  # librosa refuses it
        x = (rng.standard_normal(length) * 10 ** rng.uniform(-3, 0)).astype(np.float32)
        result, expected = logmel(x), by_librosa(x, logmel)
        assert result.shape == expected.shape == (logmel.n_mels, logmel.frames(length))
        assert np.abs(result - expected).max() < 1e-3


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60_000), st.integers(0, 2**32 - 1))
def test_length_and_place_of_a_clip_do_not_matter(length, seed):
    """Frames in the middle of a longer signal equal those of the signal alone: blocks of sixteen leave no seam."""
    logmel = LogMel(top_db=300.0)
    x = (0.1 * np.random.default_rng(seed).standard_normal(length)).astype(np.float32)
    shift = 7  # hops
    padded = np.concatenate([np.zeros(shift * 690, np.float32), x, np.zeros(20 * 690, np.float32)])
    alone, inside = logmel(x), logmel(padded)
    assert np.allclose(alone, inside[:, shift : shift + alone.shape[1]], atol=1e-4)


def test_silence_is_minus_100_db_and_the_floor_is_top_db_below_the_maximum():
    assert (LogMel()(np.zeros(3000, np.float32)) == -100).all()
    click = np.zeros(44100, np.float32)
    click[20000] = 1
    result = LogMel(top_db=40.0)(click)
    assert result.max() - result.min() == pytest.approx(40)


def test_filterbank_equals_librosa():
    for arguments in ((44100, 2560, 128, 20, 22050), (16000, 400, 80, 0, 8000), (48000, 2048, 64, 50, 14000)):
        rate, n_fft, n_mels, fmin, fmax = arguments
        expected = librosa.filters.mel(sr=rate, n_fft=n_fft, n_mels=n_mels, fmin=fmin, fmax=fmax)
        assert np.abs(mel_filterbank(*arguments) - expected).max() < 1e-7


@pytest.mark.parametrize(
    ("parameters", "word"),
    [
        ({"n_fft": 2559}, "n_fft"),
        ({"n_fft": 0}, "n_fft"),
        ({"hop_length": 0}, "hop_length"),
        ({"n_mels": 0}, "n_mels"),
        ({"fmax": 22051.0}, "fmax"),
        ({"fmin": 22050.0}, "fmin"),
        ({"top_db": 0.0}, "top_db"),
    ],
)
def test_impossible_parameters_are_named(parameters, word):
    with pytest.raises(ValueError, match=word):
        LogMel(**parameters)


@pytest.mark.parametrize("waveform", [np.zeros(0, np.float32), np.zeros((2, 100), np.float32)])
def test_a_waveform_is_one_dimensional_and_not_empty(waveform):
    with pytest.raises(ValueError, match=r"shape \(n,\)"):
        LogMel()(waveform)


def test_pickles_and_takes_any_real_input():
    x = np.random.default_rng(0).standard_normal(5000)
    logmel = pickle.loads(pickle.dumps(LogMel()))
    assert np.array_equal(logmel(x), logmel(x.astype(np.float32)))
    assert np.array_equal(logmel(np.repeat(x, 2)[::2]), logmel(x))


def test_extract_takes_an_experiments_parameters(tmp_path):
    from raytag.experiment import Features

    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "a.wav", 0.1 * rng.standard_normal(32000), 32000)
    features = Features(sample_rate=32000, n_fft=1024, hop_length=320, n_mels=64, fmin=50, fmax=14000, top_db=70)
    result = extract(tmp_path / "a.wav", features)
    x = soundfile.read(tmp_path / "a.wav", dtype="float32")[0]
    expected = LogMel(32000, 1024, 320, 64, 50, 14000, 70)
    assert np.array_equal(result, expected(x))
    assert result.shape == (64, 101)
