"""Crops of waveforms: where they lie, how loud they are, what is added to them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from raytag.batch import Drawn
from raytag.experiment import Features, Input
from raytag.features.bank import Bank

RATE, CROP = 1000, 500


def ramps(*lengths: int) -> Bank:
    """Clip i counts up from 1000 i, so that a sample says where it comes from."""
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    samples = np.concatenate([1000 * i + np.arange(n) for i, n in enumerate(lengths)])
    return Bank(samples.astype(np.int16)[:, None], offsets, [str(i) for i in range(len(lengths))])


def feed(bank: Bank, **fields):
    settings = {"crop_seconds": CROP / RATE, "quieter_db": 0.0, "mix_prob": 0.0, "wrap_pad_prob": 0.0, **fields}
    return Input("WaveformCrops", **settings).open(bank, Features("Waveforms", sample_rate=RATE))


def drawn(rows, partners=None) -> Drawn:
    rows = np.array(rows)
    labels = np.eye(4, dtype=np.float32)
    partners = rows if partners is None else np.array(partners)
    return Drawn(rows, partners, labels[rows], labels[partners], rows == 1)


def steps(x: torch.Tensor) -> np.ndarray:
    return np.rint(x.numpy() * 32768).astype(np.int64)


def test_a_crop_is_a_piece_of_its_clip_anywhere_in_it():
    batch = feed(ramps(900, 500)).training(drawn([0] * 200 + [1]), np.random.default_rng(0))
    x = steps(batch.x)
    assert (np.diff(x, axis=1) == 1).all()
    starts = x[:200, 0]
    assert (starts.min(), starts.max()) <= (20, 400)
    assert len(set(starts)) > 100
    assert starts.max() >= 380
    assert x[200].tolist() == list(range(1000, 1500))
    assert batch.targets.present[200].tolist() == [0, 1, 0, 0]
    assert batch.targets.noisy.tolist() == [False] * 200 + [True]


@pytest.mark.parametrize("wrap", [0.0, 1.0])
def test_a_short_clip_lies_in_the_middle_of_silence_or_of_itself(wrap):
    bank = ramps(10, 121)
    x = steps(feed(bank, wrap_pad_prob=wrap).training(drawn([1]), np.random.default_rng(0)).x)[0]
    first = (CROP - 121) // 2
    assert x[first : first + 121].tolist() == list(range(1000, 1121))
    rest = np.concatenate([x[:first], x[first + 121 :]])
    if wrap:
        assert x.tolist() == [1000 + (i - first) % 121 for i in range(CROP)]
    else:
        assert not rest.any()


def test_added_samples_and_labels_have_the_same_shares():
    bank = Bank(np.repeat(np.array([10000, -20000], np.int16), 600)[:, None], np.array([0, 600, 1200]), ["0", "1"])
    batch = feed(bank, mix_prob=0.5, add_max_alpha=0.4).training(
        drawn([0] * 400, [1] * 400), np.random.default_rng(1)
    )
    alpha = batch.targets.present[:, 1]
    assert 0.4 < (alpha > 0).float().mean() < 0.6
    assert 0.35 < alpha.max() < 0.4
    torch.testing.assert_close(batch.targets.present[:, 0], 1 - alpha)
    expected = ((1 - alpha) * 10000 - alpha * 20000) / 32768
    torch.testing.assert_close(batch.x, expected[:, None].expand_as(batch.x), rtol=1e-5, atol=1e-6)


def test_training_samples_are_quieter_by_decibels_and_predicted_ones_are_not():
    bank = Bank(np.full((600, 1), 16384, np.int16), np.array([0, 600]), ["0"])
    made = feed(bank, quieter_db=12.0)
    level = 20 * made.training(drawn([0] * 2000), np.random.default_rng(0)).x[:, 0].mul(2).log10()
    assert -12 <= level.min() < -11.9
    assert -0.1 < level.max() <= 0
    assert level.mean().item() == pytest.approx(-6, abs=0.3)
    assert (made.middles(np.array([0])).x == 0.5).all()


@pytest.mark.parametrize("tile_seconds", [None, 0.5, 0.1])
def test_tiles_cover_every_sample_of_a_clip(tile_seconds):
    bank = ramps(1, 7, 499, 500, 501, 750, 2345)
    made = feed(bank, tile_seconds=tile_seconds)
    batch, owner = made.tiles(np.arange(7))
    step = 250 if tile_seconds is None else round(tile_seconds * RATE)
    for clip, length in enumerate(bank.frames):
        x = steps(batch.x)[owner == clip]
        heard = np.unique(x)
        expected = 1000 * clip + np.arange(length)
        assert set(expected) - {0} <= set(heard)
        assert set(heard) <= {*expected, 0}
        assert len(x) == max(1, -(-(length - (CROP - step)) // step))
    middle = steps(made.middles(np.array([6])).x)[0]
    assert middle.tolist() == list(range(6000 + 922, 6000 + 1422))


def test_pooling_and_lengths_are_the_settings():
    features = Features("Waveforms", sample_rate=RATE)
    made = Input("WaveformCrops", crop_seconds=0.25, pooling="max")
    assert made.shape(features) == (250,)
    assert made.open(ramps(10), features).pooling == "max"
    with pytest.raises(ValueError, match=r"tile_seconds 3 is above crop_seconds 2: sound between prediction tiles"):
        Input("WaveformCrops", tile_seconds=3)
