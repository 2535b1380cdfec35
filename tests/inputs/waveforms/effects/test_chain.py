"""The effects together: drawn from one generator, each as often as it is asked for, never anything but numbers."""

from __future__ import annotations

import numpy as np
import pytest

from raytag.experiment import Input
from raytag.inputs.waveforms.effects import pieces
from raytag.inputs.waveforms.effects.chain import Effects
from raytag.inputs.waveforms.effects.settings import WithEffects

ALL = {name: 1.0 for name in WithEffects.model_fields if name.endswith("_prob")}
BEFORE = ("segment_prob", "reverse_prob", "chunks_prob", "silence_prob")
COUNT = np.arange(1, 2001, dtype=np.float32)


def effects(rate: int = 8000, **fields) -> Effects:
    return Effects(Input("WholeWaveforms", **fields), rate)


def run(chain: Effects, samples: np.ndarray, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return chain.after_mixing(chain.before_mixing(samples, rng), rng)


@pytest.mark.parametrize("speed_by", ["speed", "tempo"])
def test_the_same_generator_gives_the_same_bits_and_writes_into_nothing(speed_by):
    samples = np.random.default_rng(0).normal(0, 0.1, 6000).astype(np.float32)
    before, chain = samples.copy(), effects(**ALL, speed_by=speed_by)
    first = run(chain, samples, 1)
    assert np.array_equal(first, run(effects(**ALL, speed_by=speed_by), samples, 1))
    assert not np.array_equal(first, run(chain, samples, 2))
    assert np.array_equal(samples, before)


@pytest.mark.parametrize("samples", [np.zeros(5000), np.ones(5000), -np.ones(1), np.zeros(1), np.ones(37)])
@pytest.mark.parametrize("rate", [8000, 44100])
def test_silence_full_scale_and_a_single_sample_give_numbers(samples, rate):
    for seed in range(4):
        made = run(effects(rate, **ALL), samples.astype(np.float32), seed)
        assert made.dtype == np.float32
        assert len(made) >= 1
        assert np.isfinite(made).all()
        four = effects(rate, effects_prob=1.0).after_mixing(samples.astype(np.float32), np.random.default_rng(seed))
        assert np.abs(four).max() <= 1


@pytest.mark.parametrize("name", ALL)
def test_each_effect_has_a_probability_of_its_own(name):
    samples = np.random.default_rng(0).normal(0, 0.1, 400).astype(np.float32)
    chain = effects(**{name: 0.3}, chunk_seconds=0.01)
    changed = [not np.array_equal(run(chain, samples, seed), samples) for seed in range(300)]
    assert 0.2 < np.mean(changed) < 0.4
    assert np.array_equal(run(effects(), samples, 0), samples)


def test_each_of_the_four_can_be_left_out():
    samples, off = (
        np.random.default_rng(0).normal(0, 0.1, 4000).astype(np.float32),
        {
            "reverb_most": None,
            "pitch_cents": 0,
            "overdrive_db": None,
            "speed_share": 0,
        },
    )
    assert np.array_equal(run(effects(effects_prob=1, **off), samples, 0), samples)
    for name in off:
        kept = {key: value for key, value in off.items() if key != name}
        made = run(effects(effects_prob=1, **kept), samples, 0)
        assert (len(made) != len(samples)) == (name == "speed_share")
        assert not np.array_equal(made, samples)


def test_pieces_keep_what_they_should():
    rng = np.random.default_rng(0)
    starts = [int(pieces.piece(COUNT[:10], 8, rng)[0]) for _ in range(100)]
    assert set(starts) == {1, 2, 3}
    assert pieces.piece(COUNT[:10], 80, rng).tolist() == COUNT[:10].tolist()
    shuffled = pieces.shuffled(COUNT, 500, rng)
    assert sorted(shuffled) == COUNT.tolist()
    assert (np.diff(shuffled) != 1).sum() <= 3
    assert pieces.shuffled(COUNT, 1500, rng) is COUNT
    holes = [pieces.silenced(COUNT[:10], 4, rng) for _ in range(200)]
    assert all((hole == 0).sum() == 4 for hole in holes)
    assert {int(np.argmin(hole)) for hole in holes} == set(range(7))
    rolled = pieces.rolled(COUNT, rng)
    assert sorted(rolled) == COUNT.tolist()
    assert (np.diff(rolled) != 1).sum() == 1


def test_segments_have_the_asked_for_share_and_reversal_reverses():
    shares = [len(run(effects(segment_prob=1), COUNT, seed)) / 2000 for seed in range(200)]
    assert 0.3 <= min(shares) < 0.35
    assert 0.85 < max(shares) <= 0.9
    assert run(effects(reverse_prob=1), COUNT, 0).tolist() == COUNT[::-1].tolist()


@pytest.mark.parametrize(
    ("name", "value"), [("segment_shares", (0.9, 0.3)), ("overdrive_db", (2, 99)), ("noise_db", (10, 5))]
)
def test_ranges_the_wrong_way_round_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} must be two numbers of"):
        effects(**{name: value})
