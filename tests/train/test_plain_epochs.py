"""Whole waveforms are trained on, with effects but in the last epochs; lengths reach the network."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from raytag import models, parts
from raytag.batch import Outputs
from raytag.datasets.table import ClipTable
from raytag.experiment import Experiment
from raytag.features.bank import Bank
from raytag.inputs.waveforms.whole_feed import WholeFeed
from raytag.search.prepare import estimate, preflight
from raytag.space import Space
from raytag.store.files import Storage
from raytag.store.fold import FoldStore
from raytag.store.run import RunStore
from raytag.train.fold import train_fold
from raytag.train.stages.lineage import Cell
from raytag.train.twins import shorter_twin

RATE, CLASSES = 1000, ("a", "b", "c")


class Loudness(parts.Network):
    takes_lengths = True

    def build(self, num_classes, channels):
        return LoudnessNet(num_classes)


class LoudnessNet(torch.nn.Module):
    """A linear classifier of how loud two bands of a clip are, in what is sound of it."""

    def __init__(self, num_classes) -> None:
        super().__init__()
        self.head = torch.nn.Linear(2, num_classes)

    def forward(self, x, lengths=None):
        lengths = torch.full((len(x),), x.shape[1]) if lengths is None else lengths
        sound = torch.arange(x.shape[1]) < lengths[:, None]
        bands = x.abs(), x.diff(dim=1, prepend=x[:, :1]).abs()
        return Outputs(self.head(torch.stack([(10 * b * sound).sum(1) / lengths for b in bands], 1)))


@pytest.fixture
def loudness(monkeypatch):
    monkeypatch.setitem(models.MODELS, "Loudness", f"{__name__}:Loudness")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """18 clips of two folds and 4 test clips, 0.1 to 0.7 s of tones."""
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("data")
    lengths = rng.integers(100, 700, 22)
    tones = [np.sin(np.arange(n) * (0.2 + 0.5 * (i % 3))) * 9000 for i, n in enumerate(lengths)]
    clips = pd.DataFrame({"clip": [f"{i}.wav" for i in range(22)]})
    clips = clips.assign(fname=clips["clip"], path=clips["clip"], group="", duration=lengths / RATE, rate=RATE)
    clips["labels"] = ["abc"[i % 3] if i < 18 else "" for i in range(22)]
    clips["subset"] = ["curated"] * 18 + ["test"] * 4
    clips["fold"] = [i // 3 % 2 if i < 18 else -1 for i in range(22)]
    bank = Bank(np.concatenate(tones).astype(np.int16)[:, None], np.cumsum([0, *lengths]), clips["clip"].tolist())
    return ClipTable(clips, CLASSES, None, folder, "test"), bank


def small(**changes) -> Experiment:
    fields = {
        "features.name": "Waveforms",
        "features.sample_rate": RATE,
        "input.name": "WholeWaveforms",
        "input.max_seconds": 0.4,
        "input.whole_seconds": 0.5,
        "input.batch_seconds": 1.0,
        "input.mix_prob": 0.5,
        "input.noise_prob": 0.5,
        "model.name": "Loudness",
        "training.epochs": 4,
        "training.batch_size": 3,
        "training.early_stopping": None,
        "training.keep_epoch": "last",
        "schedule.name": "Plateau",
    }
    return Experiment().replace(fields | {k.replace("__", "."): v for k, v in changes.items()})


def train(experiment, data, store, **options):
    return train_fold(experiment, 0, *data, store, **options)


def content(store):
    return {name: store.storage.read(name) for name in ("oof.parquet", "test.parquet", "weights.safetensors")}


def test_the_last_share_of_epochs_reads_clips_as_they_are_also_after_an_interruption(
    data, tmp_path, loudness, monkeypatch
):
    seen = []
    training = WholeFeed.training

    def watched(feed, drawn, rng):
        seen.append(feed.settings.noise_prob)
        return training(feed, drawn, rng)

    monkeypatch.setattr(WholeFeed, "training", watched)
    experiment = small(input__plain_share=0.5)
    whole = FoldStore(Storage(tmp_path / "whole"))
    train(experiment, data, whole)
    assert seen == [0.5] * 6 + [0.0] * 6  # steps of four epochs
    for stop_at in (5, 8):  # before and after the change
        store, asked = FoldStore(Storage(tmp_path / f"{stop_at}")), []
        train(experiment, data, store, should_stop=lambda: asked.append(1) or len(asked) > stop_at)  # noqa: B023
        train(experiment, data, store)
        assert content(store) == content(whole)


def test_a_longer_training_with_plain_epochs_starts_afresh(data, tmp_path, loudness):
    run = RunStore.open_for(str(tmp_path / "runs"), "r", data[0], "here")
    for share in (0.0, 0.5):
        shorter, longer = (small(input__plain_share=share, training__epochs=n) for n in (1, 2))
        run.add(shorter)
        store = run.fold(shorter.id, 0)
        train(shorter, data, store)
        assert (shorter_twin(run, longer, 0, "cpu") is not None) == (share == 0)
        assert any(name.startswith("checkpoint") for name in store.storage.files()) == (share == 0)


def check(experiment, table) -> None:
    preflight.check_space(Space.of("small", "small.py", experiment, {}), table, [0, 1])


def test_preflight_asks_for_a_network_that_takes_lengths(data, loudness):
    check(small(), data[0])
    pair = {"model__name": "TwoDimensionalCNN", "model__base_size": 4, "front_end__fmax": 500}
    check(small(**pair, front_end__name="MagnitudeMel"), data[0])
    for wrong in (
        {"model__name": "PlainConv", "front_end__name": "Mel", "front_end__fmax": 500},
        pair | {"front_end__name": "Mel"},  # the one would not tell the other
        pair | {"model__name": "PlainConv", "front_end__name": "MagnitudeMel"},
    ):
        with pytest.raises(
            preflight.PreflightError,
            match=r"pads clips to the longest of their batch, and model\.name=\w+ with front_end",
        ):
            check(small(**wrong), data[0])


def test_the_estimate_times_clips_of_the_lengths_that_there_are(data, loudness, monkeypatch):
    frames = []
    training = WholeFeed.training

    def watched(feed, drawn, rng):
        frames.extend(feed.bank.frames)
        return training(feed, drawn, rng)

    monkeypatch.setattr(WholeFeed, "training", watched)
    assert estimate.predicted_seconds([(small(), Cell(0))], data[0]) > 0
    curated = data[1].frames[:18]
    assert set(frames) == set(curated)
