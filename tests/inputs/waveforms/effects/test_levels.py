"""Overdrive by its harmonics, noise by its ratio, envelopes by their points."""

from __future__ import annotations

import numpy as np
import pytest

from raytag.inputs.waveforms.effects.levels import enveloped, overdriven, with_noise

RATE = 8000
SINE = (0.5 * np.sin(2 * np.pi * 200 * np.arange(2 * RATE) / RATE)).astype(np.float32)


def harmonics(samples: np.ndarray) -> np.ndarray:
    """Amplitudes at 200, 400, 600 Hz in the second second, when the filter has settled."""
    return np.abs(np.fft.rfft(samples[RATE:]))[[200, 400, 600]] * 2 / RATE


def test_overdrive_adds_harmonics_the_more_the_higher_its_gain():
    shares = [harmonics(overdriven(SINE, gain))[1:] / harmonics(overdriven(SINE, gain))[0] for gain in (2, 5, 9)]
    assert (np.diff(shares, axis=0) > 0).all()
    assert (shares[0] > 0.005).all()
    plain = harmonics(overdriven(SINE, 5, colour=0))
    assert plain[1] < 1e-4 < plain[2]


def test_overdrive_of_little_is_a_gain_and_of_silence_is_nothing():
    quiet = SINE / 10000
    gain = 0.5 + 0.75 * 10 ** (6 / 20) * (1 - 0.1**2)  # the slope of the bend at colour 20
    assert harmonics(overdriven(quiet, 6))[0] == pytest.approx(gain * 0.5 / 10000, rel=0.01)
    np.testing.assert_allclose(overdriven(np.zeros(500, np.float32), 9), 0, atol=1e-6)
    assert np.abs(overdriven(np.ones(500, np.float32), 9)).max() < 2


@pytest.mark.parametrize(
    ("gain_db", "levels_db"),
    [(2, [-3.5, -36.5, -36.1]), (5, [-2.2, -30.5, -27.1]), (9, [-1.4, -28.5, -18.3]), (20, [-1.1, -38.0, -13.8])],
)
def test_harmonics_are_those_of_sox(gain_db, levels_db):
    """Measured of SoX 14.4.2: ``overdrive G 20`` of a sine of 441 Hz at 44.1 kHz, amplitude 0.5; dB."""
    sine = (0.5 * np.sin(2 * np.pi * np.arange(88200) / 100)).astype(np.float32)
    spectrum = np.abs(np.fft.rfft(overdriven(sine, gain_db)[44100:])) / 22050
    np.testing.assert_allclose(20 * np.log10(spectrum[[441, 882, 1323]]), levels_db, atol=0.1)
    assert spectrum[0] < 1e-4


@pytest.mark.parametrize("snr_db", [0.0, 20.0])
def test_noise_lies_as_far_below_as_it_says(snr_db):
    noise = with_noise(SINE, snr_db, np.random.default_rng(0)) - SINE
    assert 10 * np.log10(np.mean(SINE**2) / np.mean(noise**2)) == pytest.approx(snr_db, abs=0.2)
    assert not with_noise(np.zeros(9, np.float32), snr_db, np.random.default_rng(0)).any()


def test_an_envelope_goes_straight_from_point_to_point_in_decibels():
    made = 20 * np.log10(enveloped(np.ones(101, np.float32), np.array([0.0, -6.0, 6.0])))
    np.testing.assert_allclose(made[[0, 25, 50, 75, 100]], [0, -3, -6, 0, 6], atol=1e-4)
    assert enveloped(np.ones(1, np.float32), np.array([0.0, 6.0])).tolist() == [1.0]
