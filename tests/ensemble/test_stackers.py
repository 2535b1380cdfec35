"""Stackers never see the fold that they predict."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from raytag.ensemble import stackers
from raytag.ensemble.oof import EnsembleError
from raytag.ensemble.stackers import draw_configs, inner_split, select, train_stacker
from raytag.metrics import lwlrap
from tests.ensemble.fakes import simulate

CONFIG = replace(draw_configs(1, 0)[0], base_size=16, lr=5e-3)
NO_GROUPS = np.full(80, "", dtype=object)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def data():
    probabilities, targets = simulate(3, 90, 5, signal=2.5)
    return probabilities[:, :80], targets[:80], np.arange(80) % 4, probabilities[:, 80:]


def test_labels_of_the_left_out_fold_change_no_bit(data):
    probabilities, targets, fold, test = data
    changed = targets.copy()
    changed[fold == 2] = 1 - changed[fold == 2]
    a, b = (train_stacker(CONFIG, probabilities, t, fold, NO_GROUPS, 2, test, 0) for t in (targets, changed))
    assert a.oof.tobytes() == b.oof.tobytes()
    assert a.test.tobytes() == b.test.tobytes()
    assert (a.inner_lwlrap, a.epochs) == (b.inner_lwlrap, b.epochs)
    # the test can fail: another fold's labels do change it
    changed = targets.copy()
    changed[fold == 1] = 1 - changed[fold == 1]
    c = train_stacker(CONFIG, probabilities, changed, fold, NO_GROUPS, 2, test, 0)
    assert a.oof.tobytes() != c.oof.tobytes()


def test_predictions_of_the_left_out_fold_do_not_enter_its_training(data):
    probabilities, targets, fold, test = data
    changed = probabilities.copy()
    changed[:, fold == 2] = 0.5
    a, b = (train_stacker(CONFIG, p, targets, fold, NO_GROUPS, 2, test, 0) for p in (probabilities, changed))
    assert a.test.tobytes() == b.test.tobytes()


def test_stackers_learn_and_repeat_themselves(data):
    probabilities, targets, fold, test = data
    oof = np.zeros_like(targets)
    state = torch.get_rng_state()
    for k in range(4):
        first = train_stacker(CONFIG, probabilities, targets, fold, NO_GROUPS, k, test, 0)
        again = train_stacker(CONFIG, probabilities, targets, fold, NO_GROUPS, k, test, 0)
        assert first.oof.tobytes() == again.oof.tobytes()
        assert first.oof.dtype == np.float32
        assert first.test.shape == (10, 5)
        oof[fold == k] = first.oof
    assert lwlrap(targets, oof) > 0.75  # members: 0.75 to 0.85; chance: 0.46
    assert torch.equal(state, torch.get_rng_state())


def test_inner_splits_keep_groups_together(data):
    _, targets, fold, _ = data
    group = np.array([f"g{i // 5}" for i in range(80)], dtype=object)
    rows = np.flatnonzero(fold != 1)
    fit, inner = inner_split(rows, targets, group, 0, 1)
    assert sorted([*fit, *inner]) == rows.tolist()
    assert not set(group[fit]) & set(group[inner])
    assert 0 < len(inner) < len(fit)
    assert fit.tolist() != inner_split(rows, targets, group, 1, 1)[0].tolist()


def test_too_few_labels_for_an_inner_split():
    targets = np.zeros((6, 2), np.float32)
    targets[:2, 0] = 1
    with pytest.raises(EnsembleError, match="--stackers 0"):
        inner_split(np.arange(1, 6), targets, NO_GROUPS[:6], 0, 0)
    fit, inner = inner_split(np.arange(6), targets, NO_GROUPS[:6], 0, 0)
    assert targets[inner].sum() == targets[fit].sum() == 1


def test_a_larger_grid_starts_with_the_smaller():
    assert draw_configs(8, 3)[:3] == draw_configs(3, 3)
    assert draw_configs(3, 3) != draw_configs(3, 4)
    for config in draw_configs(50, 0):
        assert config.base_size in (64, 128, 256, 512)
        assert config.reduction_scale in (1, 2, 4, 8, 16)
        assert 0 <= config.dropout <= 0.7
        assert 3e-4 <= config.lr <= 3e-3
        assert 3 <= config.patience <= 11
        assert 0.5 <= config.factor <= 0.8
        assert config.batch_size in (32, 64, 128)


def test_saturated_inputs_stay_finite(data):
    probabilities, targets, fold, _ = data
    hard = (probabilities > 0.5).astype(np.float32)
    result = train_stacker(CONFIG, hard, targets, fold, NO_GROUPS, 0, None, 0)
    assert np.isfinite(result.oof).all()
    assert result.test is None


def test_selection_prefers_the_first_of_equals():
    assert select([0.5, 0.7, 0.7, 0.1], 3) == [1, 2, 0]
    assert select([0.5], 3) == [0]


def test_training_stops_early(data, monkeypatch):
    probabilities, targets, fold, _ = data
    monkeypatch.setattr(stackers, "EARLY_STOPPING", 1)
    monkeypatch.setattr(stackers, "MAX_EPOCHS", 3)
    assert train_stacker(CONFIG, probabilities, targets, fold, NO_GROUPS, 0, None, 0).epochs <= 3
