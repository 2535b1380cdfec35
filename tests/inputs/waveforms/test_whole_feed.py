"""Whole clips: crops, lengths, what is mixed, and predictions in batches of similar length."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from raytag import predict as module
from raytag import space
from raytag.batch import Drawn, Outputs
from raytag.experiment import Experiment, Features, Input
from raytag.features.bank import Bank
from raytag.features.shards import compute_clip
from raytag.inputs.waveforms.whole_feed import WholeFeed, mix_waveforms
from raytag.models.tagger import tagger
from raytag.predict import Line, Windows, predict, predict_middles

RATE = 1000
FEATURES = Features("Waveforms", sample_rate=RATE)
CPU = torch.device("cpu")
ONE, OTHER = np.full(10, 0.5, np.float32), np.full(4, 0.25, np.float32)


def ramps(*lengths: int) -> Bank:
    """Clip i counts up from 1000 i + 1, so that a sample says where it comes from."""
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    samples = np.concatenate([1000 * i + 1 + np.arange(n) % 999 for i, n in enumerate(lengths)])
    return Bank(samples.astype(np.int16)[:, None], offsets, [str(i) for i in range(len(lengths))])


def feed(bank: Bank, **fields) -> WholeFeed:
    return Input("WholeWaveforms", **{"max_seconds": 0.5, **fields}).open(bank, FEATURES)


def drawn(rows, partners=None) -> Drawn:
    rows = np.array(rows)
    labels = np.eye(4, dtype=np.float32)
    partners = rows if partners is None else np.array(partners)
    return Drawn(rows, partners, labels[rows], labels[partners], rows == 1)


def steps(x: torch.Tensor) -> np.ndarray:
    return np.rint(x.numpy() * 32768).astype(np.int64)


def test_long_clips_are_cropped_anywhere_and_short_ones_padded_behind():
    batch = feed(ramps(502, 121, 500)).training(drawn([0] * 100 + [1, 2]), np.random.default_rng(0))
    x = steps(batch.x)
    assert x.shape == (102, 500)
    assert batch.lengths.tolist() == [500] * 100 + [121, 500]
    assert set(x[:100, 0]) == {1, 2, 3}
    assert (np.diff(x[:100]) == 1).all()
    assert x[100].tolist() == [*range(1001, 1122), *[0] * 379]
    assert x[101].tolist() == list(range(2001, 2501))
    assert batch.targets.present.tolist() == np.eye(4)[[0] * 100 + [1, 2]].tolist()
    short = feed(ramps(502, 121, 500)).training(drawn([1, 1]), np.random.default_rng(0))
    assert short.x.shape == (2, 121)


def test_unequal_clips_are_added_anywhere_and_equal_ones_have_their_shares():
    rng = np.random.default_rng(0)
    starts, shares = set(), []
    for one, other in [(ONE, OTHER), (OTHER, ONE)] * 100:
        mixed = mix_waveforms(one, other, rng)
        a = mixed.min() / 0.5  # of the longer one, heard alone somewhere
        inside = np.flatnonzero(mixed > mixed.min())
        starts.add(int(inside[0]))
        np.testing.assert_allclose(mixed[inside[0] :][:4], a * 0.5 + (1 - a) * 0.25, rtol=1e-5)
        assert len(inside) == 4
        shares.append(a)
    assert starts == set(range(7))
    assert 0.4 <= min(shares) < 0.41
    assert 0.59 < max(shares) <= 0.6
    equal = mix_waveforms(ONE, 2 * ONE, rng)
    assert np.ptp(equal) == 0
    assert 0.4 <= 2 - equal[0] / 0.5 <= 0.6
    assert (ONE == 0.5).all()
    assert (OTHER == 0.25).all()


def test_the_published_way_replaces_and_averages():
    """The published code says ``=+`` for ``+=``: where lengths differ, clips never overlap."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        mixed = mix_waveforms(ONE, OTHER, rng, replace=True)
        values, counts = np.unique(mixed, return_counts=True)
        assert counts.tolist() == [4, 6]
        assert values[0] / 0.25 == pytest.approx(1 - values[1] / 0.5)
        assert mix_waveforms(ONE, 2 * ONE, rng, replace=True).tolist() == [0.75] * 10


@pytest.mark.parametrize("overlap", ["add", "replace"])
def test_a_mixed_sample_has_the_labels_of_both(overlap):
    batch = feed(ramps(700, 200), mix_prob=0.5, overlap=overlap).training(
        drawn([1] * 300, [0] * 300), np.random.default_rng(1)
    )
    both = batch.targets.present[:, 0] == 1
    assert 0.4 < both.float().mean() < 0.6
    assert (batch.targets.present[:, 1] == 1).all()
    assert torch.equal(batch.lengths == 500, both)


def test_the_last_epochs_are_plain():
    own = Input("WholeWaveforms", max_seconds=0.5, plain_share=0.25, mix_prob=1.0, effects_prob=1.0, noise_prob=1.0)
    assert [own.in_epoch(e, 20) is own for e in range(20)] == [True] * 15 + [False] * 5
    bank, given = ramps(700, 200), drawn([0, 1], [1, 0])
    plain = own.in_epoch(15, 20).open(bank, FEATURES).training(given, np.random.default_rng(0))
    expected = feed(bank).training(given, np.random.default_rng(0))
    assert torch.equal(plain.x, expected.x)
    assert torch.equal(plain.targets.present, expected.targets.present)
    assert plain.lengths.tolist() == [500, 200]
    assert not own.open_ended
    assert Input("WholeWaveforms", mix_prob=1.0).in_epoch(99, 100).open_ended


def test_clips_are_predicted_whole_and_long_ones_in_tiles_that_lie_in_them():
    bank = ramps(1, 300, 600, 601, 1500)
    made = feed(bank, whole_seconds=0.6)
    rows = np.arange(5)
    assert made.count_tiles(rows).tolist() == [1, 1, 1, 2, 3]
    first, owner = made.first_frames(rows)
    assert first.tolist() == [0, 0, 0, 0, 1, 0, 450, 900]
    batch, of = made.tiles(rows)
    assert of.tolist() == owner.tolist()
    assert batch.lengths.tolist() == [1, 300, 600, 600, 600, 600, 600, 600]
    for row, start, clip, length in zip(steps(batch.x), first, owner, batch.lengths, strict=True):
        assert row[:length].tolist() == [1000 * clip + 1 + (start + i) % 999 for i in range(length)]
        assert not row[length:].any()
    assert made.middles(np.array([4])).x.shape == (1, 600)
    with pytest.raises(ValueError, match=r"batch_seconds 20 is below whole_seconds 30: a prediction batch has"):
        Input("WholeWaveforms", batch_seconds=20)


class Masked(nn.Module):
    """Means of what is sound; the shapes that it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, ...]] = []

    def forward(self, x, lengths):
        self.seen.append(tuple(x.shape))
        sound = torch.arange(x.shape[1]) < lengths[:, None]
        mean = (x * sound).sum(1) / lengths
        return Outputs(torch.stack([20 * mean, -mean], 1))


def clips(n: int, rng: np.random.Generator) -> Bank:
    lengths = np.exp(rng.uniform(np.log(20), np.log(2000), n)).astype(int)
    samples = np.concatenate([rng.integers(-500, 500, k) + rng.integers(-9999, 9999) for k in lengths])
    return Bank(samples.astype(np.int16)[:, None], np.cumsum([0, *lengths]), [str(i) for i in range(n)])


def test_batches_are_of_similar_lengths_and_bounded_and_results_come_in_order():
    bank = clips(300, np.random.default_rng(0))
    made, rows, net = feed(bank, whole_seconds=1.0, batch_seconds=8.0), np.arange(300)[::-1].copy(), Masked()
    tiles, done = [], []
    found = predict(net, made, rows, CPU, done.append, tiles)
    assert sum(done) == made.count_tiles(rows).sum()
    assert max(b * n for b, n in net.seen) <= 8000
    assert max(b for b, _ in net.seen) <= module.TILES_PER_BATCH
    sound = (made.sample_frames(rows) * made.count_tiles(rows)).sum()
    assert sum(b * n for b, n in net.seen) < 1.25 * sound  # as they come they would be padded to 1.9 times that
    alone = np.concatenate([predict(net, made, rows[i : i + 1], CPU) for i in range(300)])
    np.testing.assert_allclose(found, alone, rtol=1e-5)
    windows = Windows.of(Experiment().replace(WHOLE), made, rows, np.concatenate(tiles))
    frames = bank.frames[rows]
    for i in range(300):
        own = windows.owner == i
        np.testing.assert_allclose(windows.probabilities[own].mean(0), found[i], rtol=1e-5)
        assert windows.start[own][0] == 0
        assert windows.end[own][-1] == pytest.approx(frames[i] / RATE)
    net.seen.clear()
    np.testing.assert_allclose(
        predict_middles(net, made, rows, CPU)[frames <= 1000], found[frames <= 1000], rtol=1e-5
    )
    assert max(b * n for b, n in net.seen) <= 8000


WHOLE = {
    "features.name": "Waveforms",
    "features.sample_rate": RATE,
    "input.name": "WholeWaveforms",
    "input.whole_seconds": 1.0,
    "input.batch_seconds": 3.0,
}


def test_clips_that_come_a_few_at_a_time_get_the_same_batches():
    bank, experiment, net = clips(200, np.random.default_rng(1)), Experiment().replace(WHOLE), Masked()
    rows = np.arange(200)
    whole = predict(net, experiment.input.open(bank, experiment.features), rows, CPU)
    shapes, net.seen = net.seen, []
    line, found = Line(experiment), []
    for start in range(0, 200, 7):
        some = [bank.buffer[bank.offsets[i] : bank.offsets[i + 1]] for i in rows[start : start + 7]]
        opened, ready = line.add(some, start + 7 >= 200)
        if len(ready):
            found.append(predict(net, opened, ready, CPU))
    assert len(found) > 3
    assert net.seen == shapes
    assert np.array_equal(np.concatenate(found), whole)


def test_recordings_joined_to_half_a_minute_train_in_crops_and_are_predicted_whole(shared):
    features = Features("Waveforms", trim_db=None)
    files = sorted((shared / "data/esc10/audio").glob("*.ogg"))[:11]
    cells = [compute_clip(file.name, str(file), (), features)["features"] for file in files]
    joined = [np.frombuffer(b"".join(own), "<i2") for own in (cells[:6], cells[6:9], cells[9:10], cells[10:])]
    bank = Bank(np.concatenate(joined)[:, None], np.cumsum([0, *map(len, joined)]), list("abcd"))
    assert bank.frames[0] > 29 * features.sample_rate
    _, recipe = space.load("ex4sperans_2d").firsts
    experiment = recipe.replace({"model.base_size": 4, "input.whole_seconds": 20.0})
    made, net = experiment.input.open(bank, features), tagger(experiment, 4)
    batch = made.training(drawn([0, 1, 2, 3], [1, 2, 3, 0]), np.random.default_rng(0))
    most = 15 * features.sample_rate
    assert most < 1.12 * batch.x.shape[1] < 1.25 * most  # a crop of 15 s, at a speed of 0.9 to 1.1
    loss = experiment.loss.build(4)(batch.through(net.train()), batch.targets)
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters())
    rows = np.arange(4)
    assert made.count_tiles(rows).tolist() == [2, 1, 1, 1]
    together, alone = predict(net, made, rows, CPU), [predict(net, made, rows[i : i + 1], CPU)[0] for i in rows]
    np.testing.assert_allclose(together, alone, atol=1e-6)
