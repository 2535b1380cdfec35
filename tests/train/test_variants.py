"""Training on variants of clips: all copies alike, in their clip's fold only, to the bit; predictions see none."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from raytag.features.bank import Bank
from raytag.train.fold import FoldTraining
from raytag.train.sources import draw_copies, draw_rows, split
from tests.train.test_fold import content, data, small, train  # noqa: F401 - data is a fixture

COPIES = 3


@pytest.fixture(scope="module")
def varied(data):  # noqa: F811
    """The clips of ``data`` with two variants of each: other lengths, other sound. Clip 3 lacks the first."""
    table, bank, folder = data
    frames, cells = bank.frames, [bank.buffer]
    lengths = [frames]
    for variant in (1, 2):
        own = np.where((table.clips["subset"] == "test").to_numpy(), 0, frames + 10 * variant)
        own[3] *= variant - 1
        lengths.append(own)
        rng = np.random.default_rng(variant)
        cells.append(rng.integers(-20000, 0, (own.sum(), bank.width)).astype(np.int16))
    offsets = np.concatenate([[0], np.cumsum(np.concatenate(lengths))])
    return table, Bank(np.concatenate(cells), offsets, bank.clips, COPIES), folder


def drawn_in(experiment, data, fold: int, steps: int = 60):  # noqa: F811
    """Rows of the bank, and of the clips without variants, that are trained on; partners too."""
    table, bank, _ = data
    sources, copies, clips = split(table, experiment.sampling, fold).sources, [], []
    for step in range(steps):
        keys = (0, fold, 0, step)
        drawn = draw_rows(sources, 64, *keys)
        with_copies = draw_copies(drawn, bank, *keys)
        assert with_copies.present is drawn.present
        clips += [drawn.rows, drawn.partners]
        copies += [with_copies.rows, with_copies.partners]
    return np.concatenate(copies), np.concatenate(clips)


def test_every_copy_of_a_clip_is_drawn_alike_and_as_its_clip_is(varied):
    _, bank, _ = varied
    copies, clips = drawn_in(small(sampling__noisy_prob=0.25), varied, 0)
    assert np.array_equal(copies % len(bank), clips)  # the same clips as without variants
    counts = np.bincount(copies, minlength=COPIES * len(bank)).reshape(COPIES, -1)
    assert counts[1, 3] == 0
    whole = counts[:, [i for i in np.unique(clips) if i != 3]]
    assert np.abs(whole.sum(axis=1) / whole.sum() - 1 / COPIES).max() < 0.02
    assert (whole > 0).all()
    assert (bank.frames[copies] > 0).all()


def test_no_copy_is_in_another_fold_than_its_clip(varied):
    table, _, _ = varied
    fold = np.tile(table.clips["fold"].to_numpy(), COPIES)
    subset = np.tile(table.clips["subset"].to_numpy(), COPIES)
    for left_out in (0, 1):
        copies, _ = drawn_in(small(sampling__noisy_prob=0.25), varied, left_out)
        assert (fold[copies] != left_out).all()
        assert set(subset[copies]) == {"curated", "noisy"}


def test_without_variants_nothing_is_drawn_otherwise(data):  # noqa: F811
    table, bank, _ = data
    drawn = draw_rows(split(table, small().sampling, 0).sources, 8, 0, 1)
    assert draw_copies(drawn, bank, 0, 1) is drawn


def test_a_fold_trains_on_copies_and_predicts_recordings(varied, data, tmp_path):  # noqa: F811
    experiment, asked = small(training__epochs=2), []
    plain, _ = train(experiment, data, tmp_path / "plain")
    whole, outcome = train(experiment, varied, tmp_path / "whole")
    again, _ = train(experiment, varied, tmp_path / "again")
    assert content(again) == content(whole)
    assert content(plain)["weights.safetensors"] != content(whole)["weights.safetensors"]
    train(experiment, varied, tmp_path / "parts", should_stop=lambda: asked.append(1) or len(asked) > 4)
    parts, _ = train(experiment, varied, tmp_path / "parts")
    assert content(parts) == content(whole)
    assert outcome.result["clips"] == (varied[0].clips["fold"] == 0).sum()
    one, other = (FoldTraining(experiment, 0, own[0], own[1], torch.device("cpu")) for own in (data, varied))
    for rows in (one.split.validation, one.split.oof, varied[0].rows("test")):
        assert torch.equal(one.feed.middles(rows).x, other.feed.middles(rows).x)
        assert torch.equal(one.feed.tiles(rows)[0].x, other.feed.tiles(rows)[0].x)
