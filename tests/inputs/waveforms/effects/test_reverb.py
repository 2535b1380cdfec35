"""A room: how long it sounds, how loud, when it begins."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from raytag.inputs.waveforms.effects.reverb import reverberated

RATE = 22050
CLICK = np.zeros(3 * RATE, np.float32)
CLICK[100] = 1.0


def room(reverberance: float, scale: float = 40.0, **fields) -> np.ndarray:
    """What is added to a click."""
    return reverberated(CLICK, RATE, reverberance, scale, **fields) - CLICK


def decay(tail: np.ndarray) -> float:
    """Seconds in which the energy that is left falls by 30 dB (Schroeder's backward integral)."""
    left = np.cumsum(tail[::-1].astype(np.float64) ** 2)[::-1]
    return float(np.argmax(left < left[0] / 1000) / RATE)


def test_decay_time_and_energy_grow_with_reverberance_and_decay_with_the_room():
    tails = [room(percent) for percent in (0, 25, 50, 75)]
    for shorter, longer in itertools.pairwise(tails):
        assert decay(longer) > 1.2 * decay(shorter)
        assert np.sum(longer**2) > 1.1 * np.sum(shorter**2)
    assert decay(room(50, 90)) > 1.5 * decay(room(50, 20))


def test_the_longest_combs_decay_as_their_feedback_says():
    """Of the slowest one in a large room, 1617 samples at 44.1 kHz, whose low-pass lets low frequencies pass."""
    tail, delay = room(100, 100, damping=0), 1617 * RATE // 44100
    slow = tail - np.mean(tail)
    rounds = 20
    halves = [np.sum(slow[start : start + 10 * delay] ** 2) for start in (RATE, RATE + rounds * delay)]
    assert halves[1] / halves[0] == pytest.approx(0.98 ** (2 * rounds), rel=0.5)


def test_the_room_answers_after_the_pre_delay_and_is_linear():
    assert np.flatnonzero(room(50, 0))[0] > 100 + round(0.02 * RATE)
    assert not room(50, pre_delay=4.0).any()
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 0.1, (2, RATE)).astype(np.float32)
    both = reverberated(a + b, RATE, 30, 30)
    np.testing.assert_allclose(reverberated(a, RATE, 30, 30) + reverberated(b, RATE, 30, 30), both, atol=1e-5)


@pytest.mark.parametrize("n", [1, 50, 9000])
def test_silence_stays_silent_and_nothing_is_written_into(n):
    silence = np.zeros(n, np.float32)
    assert not reverberated(silence, 8000, 49, 0).any()
    loud = np.ones(n, np.float32)
    assert np.isfinite(reverberated(loud, 8000, 100, 100)).all()
    assert (loud == 1).all()


@pytest.mark.parametrize(
    ("reverberance", "scale", "depth", "first", "seconds", "level_db"),
    [
        (0, 0, 25, 994, 0.122, -14.44),
        (25, 25, 0, 1245, 0.158, -11.53),
        (25, 25, 49, 1245, 0.165, -14.41),
        (49, 49, 25, 1486, 0.401, -12.80),
        (80, 90, 25, 1898, 1.673, -11.02),
    ],
)
def test_a_room_answers_decays_and_is_as_loud_as_that_of_sox(reverberance, scale, depth, first, seconds, level_db):
    """Measured of SoX 14.4.2: ``reverb R 50 S D 20 0`` of a click at 44.1 kHz, mono."""
    click = np.zeros(2 * 44100, np.float32)
    click[100] = 1
    tail = reverberated(click, 44100, reverberance, scale, stereo_depth=depth) - click
    assert np.flatnonzero(np.abs(tail) > 1e-4)[0] - 100 == first
    assert decay(tail) * RATE / 44100 == pytest.approx(seconds, abs=0.002)
    assert 10 * np.log10(np.sum(tail.astype(np.float64) ** 2)) == pytest.approx(level_db, abs=0.1)


@pytest.mark.parametrize("damping", [0.0, 50.0, 100.0])
@pytest.mark.parametrize("rate", [1000, 8000, 48000])
def test_combs_and_all_passes_are_what_is_written_of_them(rate, damping):
    """Sample by sample, float64; delays of 8 and more, as at 1000 Hz all of them are."""
    x, kept = np.random.default_rng(0).normal(0, 0.3, 1500), 1 - (0.2 + 0.3 * damping / 100)
    feedback, n, expected = 1 - 0.7 * (0.02 / 0.7) ** 0.6, len(x), np.zeros(1500)
    for side in range(2):
        signs = side * 12 * 0.25 * np.resize([1, -1], 8)
        wet = np.zeros(n)
        for delay in np.array([1116, 1188, 1277, 1356, 1422, 1491, 1557, 1617]) + signs:
            d = max(8, round(delay * rate / 44100 * 0.28))
            y, s = np.zeros(n), 0.0
            for t in range(d, n):
                s = kept * y[t - d] + (1 - kept) * s  # of y[t - d]: what is put in d later
                y[t] = 0.0075 * x[t - d] + feedback * s
            wet += y
        for delay in np.array([225, 341, 441, 556]) + signs[:4]:
            d = max(8, round(delay * rate / 44100))
            v = np.concatenate([np.zeros(d), wet])
            for t in range(n):
                v[d + t] += 0.5 * v[t]
            wet = v[:n] - wet
        expected += wet
    made = reverberated(x.astype(np.float32), rate, 60, 20, damping, 8 / rate) - x.astype(np.float32)
    np.testing.assert_allclose(made[8:], expected[:-8], atol=1e-6)
