"""The values that pass between the stages of a training step."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from raytag.batch import ALL, Batch, Outputs, Targets
from raytag.predict import TILES_PER_BATCH, predict, predict_middles


def test_evidence_as_labels_and_weights():
    present = torch.tensor([[1.0, 0.0, 0.0, 0.5, 0.5, 2.0]])
    absent = torch.tensor([[0.0, 1.0, 0.0, 0.5, 0.0, 1.0]])
    noisy = torch.tensor([False])
    labels, weights = Targets(present, noisy, absent).labels(torch.float64)
    torch.testing.assert_close(labels, torch.tensor([[1.0, 0.0, 0.0, 0.5, 1.0, 2 / 3]], dtype=torch.float64))
    assert weights.tolist() == [[1, 1, 0, 1, 0.5, 3]]
    known, none = Targets(present, noisy).labels(torch.float32)
    assert torch.equal(known, present)
    assert none is None


def test_a_batch_travels_whole():
    x, lengths = torch.randn(5, 2, 3, 4), torch.arange(5)
    frames = torch.rand(5, 2, 7), torch.rand(5, 2, 7)
    targets = Targets(torch.rand(5, 2), torch.rand(5) < 0.5, torch.rand(5, 2), frames)
    moved = Batch(x, targets, lengths).to(torch.device("meta"), torch.channels_last)
    assert moved.x.is_contiguous(memory_format=torch.channels_last)
    tensors = [moved.x, moved.lengths, moved.targets.present, moved.targets.noisy, moved.targets.absent]
    assert {tensor.device.type for tensor in [*tensors, *moved.targets.frames]} == {"meta"}
    assert Batch(torch.randn(2, 9)).to(torch.device("cpu"), torch.channels_last).x.shape == (2, 9)


class Means(nn.Module):
    """The mean of each row, of its sound alone where lengths are known."""

    def forward(self, x, lengths=None):
        mean = (
            x.mean(1) if lengths is None else torch.stack([r[:n].mean() for r, n in zip(x, lengths, strict=True)])
        )
        return Outputs(torch.stack([mean, -mean], dim=1))


class Padded:
    """Clip i is i + 1 tiles, tile k of it k + 1 samples of value i + k, padded with zeros to four."""

    def __init__(self, pooling, told=True):
        self.pooling, self.told = pooling, told

    def middles(self, rows):
        return self.batch([(int(i), 0) for i in rows])

    def count_tiles(self, rows):
        return rows + 1

    def tiles(self, rows, which=ALL):
        owner = np.repeat(np.arange(len(rows)), rows + 1)
        return self.batch([(int(i), k) for i in rows for k in range(i + 1)][which]), owner[which]

    def batch(self, tiles):
        x = torch.zeros(len(tiles), 4)
        for row, (i, k) in zip(x, tiles, strict=True):
            row[: k + 1] = i + k
        return Batch(x, lengths=torch.tensor([k + 1 for _, k in tiles]) if self.told else None)


@pytest.mark.parametrize("pooling", ["mean", "max"])
@pytest.mark.parametrize("tiles_per_batch", [2, 64])
def test_tiles_are_pooled_as_the_input_says_and_lengths_reach_the_network(monkeypatch, pooling, tiles_per_batch):
    monkeypatch.setattr("raytag.predict.TILES_PER_BATCH", tiles_per_batch)
    rows, cpu = np.array([2, 0, 3]), torch.device("cpu")
    found = predict(Means(), Padded(pooling), rows, cpu)
    for i, row in enumerate(rows):
        tiles = 1 / (1 + np.exp(-np.array([[row + k, -row - k] for k in range(row + 1)])))
        np.testing.assert_allclose(found[i], getattr(tiles, pooling)(axis=0), rtol=1e-6)
    np.testing.assert_allclose(predict_middles(Means(), Padded(pooling), rows, cpu)[:, 0], 1 / (1 + np.exp(-rows)))
    unlike = predict(Means(), Padded(pooling, told=False), rows, cpu)
    assert not np.allclose(unlike, found)


def test_of_a_long_clip_no_more_tiles_are_made_than_a_batch_holds():
    made, done = [], []

    class Long(Padded):
        def batch(self, tiles):
            made.append(len(tiles))
            return super().batch([(1, 0) for _ in tiles])

    predict(Means(), Long("mean"), np.array([1, 500, 2]), torch.device("cpu"), done.append)
    assert max(made) <= TILES_PER_BATCH
    assert sum(made) == sum(done) == 2 + 501 + 3


def test_tiles_of_many_clips_share_a_batch():
    """argus-freesound predicts clip by clip, a few tiles at a time."""
    net, sizes = Means(), []
    net.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    rows, cpu = np.arange(80) % 3, torch.device("cpu")
    found = predict(net, Padded("mean"), rows, cpu)
    assert sum(sizes) == (rows + 1).sum()
    assert len(sizes) == 3
    predict_middles(net, Padded("mean"), rows, cpu)
    assert len(sizes) == 3 + 2
    np.testing.assert_allclose(found, predict(net, Padded("mean"), rows[:3], cpu)[rows], rtol=1e-6)
