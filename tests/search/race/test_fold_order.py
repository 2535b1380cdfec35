"""The order of folds: a fold made harder on purpose comes last, whatever the features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import raytag.search.race.fold_order as fold_order
from raytag import datasets
from raytag.datasets.table import ClipTable
from raytag.experiment import Features
from raytag.features import Bank, extract
from raytag.features import look as pooling
from raytag.search.race.fold_order import typical_first

CLASSES = ("a", "b", "c", "d")


def difficulty(table, bank, n_folds):
    return fold_order.difficulty(table, bank, Features(), n_folds)


def make_table(labels, folds, subset=None, classes=CLASSES) -> ClipTable:
    ids = [f"clip{i}" for i in range(len(labels))]
    clips = pd.DataFrame({"clip": ids, "fname": ids, "path": ids, "labels": labels})
    clips["subset"] = subset or "curated"
    return ClipTable(
        clips.assign(fold=np.asarray(folds, np.int64), group="", duration=1.0, rate=44100),
        classes,
        Path("."),
        "test",
    )


def make_bank(targets, noise, seed=0, bands=16) -> Bank:
    """Clips of 5 to 40 frames whose level in some bands tells their classes, under noise of so many dB."""
    rng = np.random.default_rng(seed)
    patterns = rng.normal(0, 3, (targets.shape[1], bands))
    spectra = targets @ patterns - 50 + rng.normal(0, 1, (len(targets), bands)) * np.asarray(noise)[:, None]
    logmels = [(s[:, None] + rng.normal(0, 2, (bands, rng.integers(5, 40)))).astype(np.float32) for s in spectra]
    return Bank.from_logmels([f"clip{i}" for i in range(len(targets))], logmels)


def four_folds(hard: int | None, n: int = 240):
    rng = np.random.default_rng(1)
    labels = [",".join(sorted(rng.choice(CLASSES, rng.integers(1, 3), replace=False))) for _ in range(n)]
    folds = np.arange(n) % 4
    table = make_table(labels, folds)
    return table, make_bank(table.targets(), np.where(folds == hard, 12.0, 3.0))


@pytest.mark.parametrize("hard", range(4))
def test_a_fold_made_harder_comes_last(hard):
    table, bank = four_folds(hard)
    scores = difficulty(table, bank, 4)
    assert scores.dtype == np.float64
    assert scores.shape == (4,)
    assert scores.argmin() == hard
    assert scores[hard] < np.delete(scores, hard).min() - 0.05
    assert typical_first(scores)[-1] == hard


def test_a_learnable_set_scores_far_above_chance():
    table, bank = four_folds(None)
    shuffled = Bank(bank.buffer, bank.offsets, np.random.default_rng(0).permutation(bank.clips).tolist())
    assert difficulty(table, bank, 4).min() > difficulty(table, shuffled, 4).max() + 0.1


def test_the_same_twice_and_for_any_unit_or_order_of_the_bank():
    table, bank = four_folds(2)
    scores = difficulty(table, bank, 4)
    assert difficulty(table, bank, 4).tolist() == scores.tolist()
    # bands in reverse, half the level, other clips first
    order = np.random.default_rng(3).permutation(len(bank))
    logmels = [np.ascontiguousarray(bank.logmel(i)[::-1] / 2 + 20) for i in order]
    other = Bank.from_logmels([bank.clips[i] for i in order], logmels)
    assert difficulty(table, other, 4) == pytest.approx(scores, abs=0.005)


def test_a_bank_that_is_no_logmel():
    """Magnitudes of many bins, most of them nought, in a unit of their own."""
    table, _ = four_folds(None)
    rng, targets = np.random.default_rng(0), table.targets()
    hard = table.clips["fold"].to_numpy() == 1
    buffer = np.zeros((len(table) * 7, 1025), np.int16)
    for i, row in enumerate(targets):
        frames = rng.integers(0, 3, (7, 1025))
        for c in np.flatnonzero(row) if not hard[i] else rng.integers(0, 4, 1):
            frames[:, 200 * c : 200 * c + 60] += rng.integers(0, 9)
        frames[:, 900:] = 0
        buffer[7 * i : 7 * i + 7] = frames
    bank = Bank(buffer, np.arange(len(table) + 1) * 7, [f"clip{i}" for i in range(len(table))])
    assert typical_first(difficulty(table, bank, 4))[-1] == 1


def test_pooling_is_the_mean_and_deviation_of_every_band(monkeypatch):
    _, bank = four_folds(None)
    pooled = pooling.pool(bank, np.array([5, 0]))
    frames = bank.buffer[bank.offsets[5] : bank.offsets[6]].astype(np.float64)
    np.testing.assert_allclose(pooled[0], np.r_[frames.mean(axis=0), frames.std(axis=0)], rtol=1e-9)
    monkeypatch.setattr(pooling, "MAX_BANDS", 4)
    few = pooling.pool(bank, np.array([5]))[0]
    np.testing.assert_allclose(few, pooled[0].reshape(8, 4).mean(axis=1))


def test_large_data_are_drawn_and_thinned(monkeypatch):
    table, bank = four_folds(2, n=800)
    monkeypatch.setattr(fold_order, "MAX_CLIPS", 400)
    monkeypatch.setattr(pooling, "MAX_VALUES", 400 * 16 * 10)
    rows, folds = fold_order._drawn(table, bank, 4)
    assert np.bincount(folds).tolist() == [100] * 4
    assert len(set(rows.tolist())) == 400
    assert np.array_equal(folds, table.clips["fold"].to_numpy()[rows])
    assert fold_order._drawn(table, bank, 4)[0].tolist() == rows.tolist()
    scores = difficulty(table, bank, 4)
    assert typical_first(scores)[-1] == 2
    assert difficulty(table, bank, 4).tolist() == scores.tolist()


def test_only_labelled_curated_clips_of_a_fold_take_part():
    table, bank = four_folds(3)
    scores = difficulty(table, bank, 4)
    n = len(table)
    labels = [*table.clips["labels"], *["d"] * 40, *[""] * 40, *[""] * 20]
    subset = ["curated"] * n + ["noisy"] * 40 + ["test"] * 40 + ["curated"] * 20
    folds = [*table.clips["fold"], *[-1] * 80, *[0] * 20]
    more = make_table(labels, folds, subset)
    frames = np.full((16, 3), -20, np.float32)
    extra = Bank.from_logmels(
        [*bank.clips, *more.clips["clip"][n:]], [*map(bank.logmel, range(n)), *[frames] * (len(more) - n)]
    )
    assert difficulty(more, extra, 4).tolist() == scores.tolist()


def test_folds_without_labelled_clips_have_no_score_and_come_last():
    table, bank = four_folds(None)
    labels = np.where(table.clips["fold"] == 1, "", table.clips["labels"]).tolist()
    scores = difficulty(make_table(labels, table.clips["fold"]), bank, 6)
    assert np.isnan(scores).tolist() == [False, True, False, False, True, True]
    assert typical_first(scores)[-3:] == [1, 4, 5]


def test_nothing_to_train_on():
    table, bank = four_folds(None)
    one = make_table(table.clips["labels"].tolist(), np.zeros(len(table), np.int64))
    assert np.isnan(difficulty(one, bank, 1)).all()  # no other folds
    none = make_table([""] * len(table), table.clips["fold"])
    assert np.isnan(difficulty(none, bank, 4)).all()
    assert typical_first([np.nan] * 3) == [0, 1, 2]


def test_a_clip_without_frames_is_left_out():
    table, bank = four_folds(None)
    offsets = bank.offsets.copy()
    offsets[1] = 0  # its frames go to the second clip
    scores = difficulty(table, Bank(bank.buffer, offsets, bank.clips), 4)
    assert np.isfinite(scores).all()


def test_a_class_that_no_training_clip_carries_ranks_last():
    table = make_table(["a", "b", "a", "b", "a,c"], [0, 0, 0, 0, 1], classes=("a", "b", "c"))
    spectrum = table.targets() @ np.array([[1.0, 0], [0, 1], [0, 0]])
    spectrum[4] *= 10  # so far from b that its prediction is below c's, which is 0
    bank = Bank.from_logmels(
        [f"clip{i}" for i in range(5)], [np.repeat(s[:, None], 4, 1).astype(np.float32) for s in spectrum]
    )
    # a is first of one label; c, never seen, is third of three, with both labels at or above it
    assert difficulty(table, bank, 2)[1] == pytest.approx((1 + 2 / 3) / 2)


def test_a_single_class():
    _, bank = four_folds(None)
    table = make_table(["a"] * len(bank), np.arange(len(bank)) % 4, classes=("a",))
    scores = difficulty(table, bank, 4)
    assert scores.tolist() == [1.0] * 4
    assert typical_first(scores) == [0, 1, 2, 3]


def test_silent_clips_that_are_all_alike():
    table = make_table(["a", "b"] * 10, np.arange(20) // 10)
    bank = Bank(np.full((60, 8), -20480, np.int16), np.arange(21) * 3, [f"clip{i}" for i in range(20)])
    assert np.isfinite(difficulty(table, bank, 2)).all()


def test_a_bank_without_a_curated_clip_is_refused():
    table, bank = four_folds(None)
    with pytest.raises(KeyError, match="clip239"):
        difficulty(table, Bank(bank.buffer[: bank.offsets[-2]], bank.offsets[:-1], bank.clips[:-1]), 4)


@pytest.mark.parametrize(
    ("scores", "order"),
    [
        ([0.79, 0.84, 0.84, 0.88, 0.83], [1, 2, 4, 3, 0]),
        ([0.3, 0.1], [0, 1]),  # both are equally far from the middle
        ([0.1, 0.7, 0.3], [2, 0, 1]),
        ([0.9, 0.1, 0.3, 0.6], [2, 3, 1, 0]),  # the middle two first, though 0.45 - 0.3 > 0.6 - 0.45 in float64
        ([0.5, np.nan, 0.2, 0.4], [3, 0, 2, 1]),
        ([0.5], [0]),
        ([], []),
    ],
)
def test_typical_first(scores, order):
    assert typical_first(scores) == order


def test_real_recordings(shared):
    """ESC-10, whose fold 0 is the hardest for every network trained on it."""
    table = datasets.load(shared / "data" / "esc10")
    clips = table.clips
    bank = Bank.from_logmels(clips["clip"].tolist(), [extract(path, Features()) for path in clips["path"]])
    scores = difficulty(table, bank, 5)
    assert scores.argmin() == 0
    assert typical_first(scores)[-1] == 0
    assert (scores[1:] - scores[0]).min() > 0.08
