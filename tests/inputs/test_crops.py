"""Crops of any bank: where they lie, and what is beyond the ends of a clip."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from raytag.features.bank import Bank
from raytag.inputs.crops import CropFeed
from tests.inputs.waveforms.test_feed import drawn

LENGTHS = (3, 5, 12, 1)


class Own(CropFeed):
    def samples(self, crops):
        return torch.from_numpy(crops).float()


class Padded(Own):
    repeats = False


def feed(kind=Own, **fields) -> CropFeed:
    """Of clips that count up from 100 i, two values a frame."""
    counts = np.concatenate([100 * i + np.arange(n) for i, n in enumerate(LENGTHS)]).astype(np.int16)
    bank = Bank(np.stack([counts, -counts], axis=1), np.cumsum([0, *LENGTHS]), list("abcd"))
    return kind(bank, SimpleNamespace(span=lambda features: 5, **fields), None)


def first_values(batch) -> list[list[int]]:
    assert torch.equal(batch.x[..., 0], -batch.x[..., 1])
    return batch.x[..., 0].int().tolist()


@pytest.mark.parametrize(
    ("kind", "short"), [(Own, [[2, 0, 1, 2, 0], [300] * 5]), (Padded, [[0, 0, 1, 2, 0], [0, 0, 300, 0, 0]])]
)
def test_what_is_beyond_a_clip_is_the_clip_again_or_nothing(kind, short):
    middles = first_values(feed(kind).middles(np.arange(4)))
    assert middles == [short[0], [100, 101, 102, 103, 104], [203, 204, 205, 206, 207], short[1]]


def test_tiles_cover_clips_side_by_side_or_a_step_apart():
    batch, owner = feed().tiles(np.array([2, 1]))
    assert owner.tolist() == [0, 0, 0, 1]
    assert {value for crop in first_values(batch)[:3] for value in crop} == set(range(200, 212))
    dense = feed(step=lambda features: 2, pooling="max")
    assert dense.pooling == "max"
    assert dense.count_tiles(np.arange(4)).tolist() == [1, 1, 5, 1]
    assert feed().pooling == "mean"


def test_training_takes_any_place_of_a_clip_and_mixes_nothing():
    own, seen = feed(), set()
    for seed in range(40):
        batch = own.training(drawn([2, 0]), np.random.default_rng(seed))
        crop, short = first_values(batch)
        assert crop == list(range(crop[0], crop[0] + 5))
        assert short == [2, 0, 1, 2, 0]
        seen.add(crop[0])
        assert torch.equal(batch.targets.present, torch.from_numpy(drawn([2, 0]).present))
    assert seen == set(range(200, 208))
