"""Pitch, tempo and speed by what is measured: where a sine's peak lies, how long a sound is."""

from __future__ import annotations

import numpy as np
import pytest

from raytag.inputs.waveforms.effects.stretch import at_speed, at_tempo, pitched


def sine(rate: int, hertz: float, seconds: float = 2.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)).astype(np.float32)


def peak(samples: np.ndarray, rate: int) -> float:
    """Hz of the highest peak in the middle half, by a parabola through the logarithms of three bins."""
    middle = samples[len(samples) // 4 : 3 * len(samples) // 4]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle)), 8 * len(middle)))
    k = int(spectrum.argmax())
    low, own, high = np.log(spectrum[k - 1 : k + 2])
    return (k + 0.5 * (low - high) / (low - 2 * own + high)) * rate / (8 * len(middle))


@pytest.mark.parametrize("rate", [44100, 8000])
@pytest.mark.parametrize("hertz", [150, 440, 2500])
@pytest.mark.parametrize("cents", [-300, -71.5, 20, 300])
def test_pitch_moves_a_sine_by_its_cents_and_keeps_length_and_level(rate, hertz, cents):
    samples = sine(rate, hertz)
    made = pitched(samples, rate, cents)
    assert made.dtype == np.float32
    assert len(made) == len(samples)
    assert 1200 * np.log2(peak(made, rate) / hertz) == pytest.approx(cents, abs=5)
    inner = slice(rate // 4, -rate // 4)
    assert np.sqrt(np.mean(made[inner] ** 2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.05)


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_speed_changes_length_and_pitch_and_tempo_the_length_alone(factor):
    samples = sine(16000, 500)
    fast, kept = at_speed(samples, 16000, factor), at_tempo(samples, 16000, factor)
    for made in (fast, kept):
        assert abs(len(made) - len(samples) / factor) <= 1
    assert peak(fast, 16000) == pytest.approx(500 * factor, rel=1e-4)
    assert peak(kept, 16000) == pytest.approx(500, rel=1e-4)


def test_tempo_keeps_the_order_of_what_is_heard():
    """A chirp: at every time the frequency that was there at the same share of the length."""
    rate, t = 16000, np.arange(4 * 16000) / 16000
    chirp = np.sin(2 * np.pi * (200 * t + 100 * t**2)).astype(np.float32)  # 200 to 1000 Hz
    made = at_tempo(chirp, rate, 0.8)
    for share in (0.25, 0.5, 0.75):
        part = made[round(share * len(made)) :][:1600]
        assert peak(part, rate) == pytest.approx(200 + 800 * share + 20, abs=40)


@pytest.mark.parametrize("n", [1, 2, 100, 5000])
@pytest.mark.parametrize("rate", [1000, 8000, 44100])
def test_any_length_at_any_rate_gives_finite_samples(n, rate):
    for samples in (np.zeros(n, np.float32), np.ones(n, np.float32)):
        for made in (pitched(samples, rate, 200.0), at_tempo(samples, rate, 1.1), at_speed(samples, rate, 1.1)):
            assert len(made) >= 1
            assert np.isfinite(made).all()
            assert np.abs(made).max() < 2


@pytest.mark.parametrize(
    ("factor", "gains_db"),
    [(0.9, {20000: 0.0, 21000: -3.77, 21500: -25.3}), (1.1, {18000: -0.01, 19000: -2.17, 19500: -21.8})],
)
def test_speed_lets_pass_what_that_of_sox_does(factor, gains_db):
    """Measured of SoX 14.4.2: ``speed X`` of sines at 44.1 kHz. Any factor near is resampled by the same filter."""
    for near in (factor, factor * (1 + 1e-5 * np.sqrt(2))):
        for hertz, gain_db in gains_db.items():
            made = at_speed(sine(44100, hertz), 44100, near)
            assert len(made) == np.ceil(88200 / near)
            assert 20 * np.log10(np.std(made[9000:-9000]) / np.sqrt(0.125)) == pytest.approx(gain_db, abs=0.2)
