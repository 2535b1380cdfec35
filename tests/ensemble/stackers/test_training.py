"""Training does not depend on company or interruptions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from raytag.ensemble.stackers import training
from raytag.ensemble.stackers.case import one_thread
from raytag.ensemble.stackers.grid import StackerConfig
from raytag.ensemble.stackers.stack import unpack
from raytag.ensemble.stackers.training import Network, Task, groups, train
from tests.ensemble.fakes import simulate


@pytest.fixture(autouse=True)
def alone():
    with one_thread():
        yield


def config(i=0, *, lr=2e-3, dropout=0.3, batch_size=16, base_size=16):
    return StackerConfig(f"s{i}", base_size, 4, dropout, lr, 3, 0.5, batch_size)


def task_of(tolerance=50, n=60):
    probabilities, targets = simulate(3, n, 5, signal=2.5)
    x = torch.from_numpy(np.log(probabilities / (1 - probabilities)).transpose(1, 0, 2).reshape(n, -1)).clone()
    inner = np.arange(n) % 4 == 0
    return Task(x[~inner], torch.from_numpy(targets[~inner]), x[inner], targets[inner], (0, 1), tolerance)


CONFIGS = [config(0), config(1, lr=8e-3, dropout=0.0), config(2, lr=1e-3, dropout=0.6)]


def test_a_group_gives_what_groups_of_one_give():
    task = task_of()
    together = [Network(c, i, task) for i, c in enumerate(CONFIGS)]
    alone = [Network(c, i, task) for i, c in enumerate(CONFIGS)]
    train(together, 5)
    for network in alone:
        train([network], 5)
    for a, b in zip(together, alone, strict=True):
        torch.testing.assert_close(a.row, b.row, rtol=1e-3, atol=1e-5)
        assert a.best == pytest.approx(b.best, abs=0.02)
    assert not torch.allclose(together[0].row, together[1].row, atol=1e-2)


def test_an_interrupted_training_goes_on_to_the_bit():
    task = task_of()
    whole, parts = [Network(CONFIGS[0], 0, task)], [Network(CONFIGS[0], 0, task)]
    train(whole, 6)
    for until in (1, 4, 6):
        train(parts, until)
    assert torch.equal(whole[0].row, parts[0].row)
    assert torch.equal(whole[0].best_row, parts[0].best_row)
    assert (whole[0].best, whole[0].best_epoch) == (parts[0].best, parts[0].best_epoch)


def test_dropout_in_chunks_is_the_same_dropout(monkeypatch):
    task = task_of()
    rows = []
    for values in (1 << 21, 1):  # a chunk is at least a batch
        monkeypatch.setattr(training, "_MASK_VALUES", values)
        network = Network(CONFIGS[2], 2, task)
        train([network], 2)
        rows.append(network.row)
    assert torch.equal(*rows)


def test_a_stopped_network_leaves_the_group():
    task = task_of(tolerance=2)
    hopeless = config(0, lr=1e-12, dropout=0.0)  # its first epoch stays its best
    group = [Network(hopeless, 0, task), Network(config(1), 1, task)]
    train(group, 8)
    first, second = group
    assert (first.epoch, first.best_epoch, first.stopped) == (3, 1, True)
    assert second.epoch > 3
    before = first.row.clone()
    train(group, 9)
    assert first.epoch == 3
    assert torch.equal(before, first.row)


def test_steps_and_rates_are_those_of_torch():
    task, rng = task_of(tolerance=99), np.random.default_rng(0)
    for c in (config(lr=1e-3), config(lr=3e-8)):
        network = Network(c, 0, task)
        row = torch.nn.Parameter(network.row.clone())
        optimizer = torch.optim.Adam([row], lr=c.lr, fused=True)
        schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, mode="max", factor=c.factor, patience=c.patience, threshold=1e-4, min_lr=1e-8, eps=0
        )
        for value in [0.5, 0.6, 0.60005, 0.6001, *rng.uniform(0.5, 0.65, 40)]:
            gradient = torch.from_numpy(rng.normal(size=len(row)).astype(np.float32))
            row.grad = gradient.clone()
            optimizer.step()
            network.step(gradient)
            torch.testing.assert_close(network.row, row.detach())
            network.judge(value)
            schedule.step(value)
            assert network.lr == optimizer.param_groups[0]["lr"]
        assert network.lr < c.lr


def test_best_weights_are_those_of_the_best_epoch():
    task = task_of()
    network, again = (Network(config(lr=0.02), 0, task) for _ in range(2))
    train([network], 30)
    train([again], network.best_epoch)
    assert 1 < network.best_epoch < 30
    assert torch.equal(again.row, network.best_row)


def test_first_outputs_are_the_frequencies_of_classes():
    task = task_of()
    network = Network(CONFIGS[0], 0, task)
    bias = unpack(network.shape, network.best_row)["layers.6.bias"]
    frequencies = (task.y.sum(dim=0) + 0.5) / (len(task.y) + 1)
    torch.testing.assert_close(torch.sigmoid(bias), frequencies)


def test_a_diverged_network_is_no_error():
    task = task_of(tolerance=3)
    network = Network(CONFIGS[0], 0, task)
    network.row.fill_(float("nan"))
    train([network], 10)
    assert (network.best, network.best_epoch, network.epoch, network.stopped) == (-1.0, 0, 3, True)


def test_groups_have_one_shape_and_a_limit(monkeypatch):
    task = task_of()
    configs = [config(base_size=b, batch_size=s) for b, s in [(16, 16), (8, 16), (16, 16), (16, 32), (16, 16)]]
    kinds = [(task.shape(c), c.batch_size) for c in configs]
    assert groups(kinds) == [[0, 2, 4], [1], [3]]
    size = training.parameters(kinds[0][0])[1]
    monkeypatch.setattr(training, "GROUP_PARAMETERS", 2 * size)
    assert groups(kinds) == [[0, 2], [4], [1], [3]]
    monkeypatch.setattr(training, "GROUP_PARAMETERS", 1)
    assert groups(kinds) == [[0], [2], [4], [1], [3]]
