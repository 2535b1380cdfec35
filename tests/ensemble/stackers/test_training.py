"""Second-level networks in training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from raytag.ensemble.stackers import training
from raytag.ensemble.stackers.case import one_thread
from raytag.ensemble.stackers.fcnet import FCNet
from raytag.ensemble.stackers.grid import StackerConfig
from raytag.ensemble.stackers.training import Task, limits, train, train_grid
from raytag.metrics import lwlrap
from tests.ensemble.fakes import simulate


@pytest.fixture(autouse=True)
def alone():
    with one_thread():
        yield


CONFIG = StackerConfig("s", 16, 4, 0.3, 2e-3, 3, 0.5, 16, epochs=5, stop=50)


@pytest.fixture(scope="module")
def task() -> Task:
    probabilities, targets = simulate(3, 60, 5, signal=2.5)
    x = torch.from_numpy(np.log(probabilities / (1 - probabilities)).transpose(1, 0, 2).reshape(60, -1)).clone()
    inner = np.arange(60) % 4 == 0
    return Task(x[~inner], torch.from_numpy(targets[~inner]), x[inner], targets[inner], (0, 1))


def outputs(network, x):
    net = FCNet(x.shape[1], 5, network.config.base_size, network.config.reduction_scale)
    net.load_state_dict(network.weights)
    with torch.inference_mode():
        return torch.sigmoid(net.eval()(x)).numpy()


def equal(a, b):
    return all(torch.equal(a.weights[name], value) for name, value in b.weights.items())


def test_a_training_is_a_function_of_its_number_and_case(task):
    state = torch.get_rng_state()
    first, again = (train(CONFIG, 0, task) for _ in range(2))
    assert equal(first, again)
    assert not equal(first, train(CONFIG, 1, task))
    assert not equal(first, train(CONFIG, 0, replace(task, key=(0, 2))))
    assert torch.equal(state, torch.get_rng_state())


def test_steps_are_those_of_a_plain_loop(task):
    """torch's Adam and plateau schedule, clip orders and dropout drawn anew."""
    config = replace(CONFIG, lr=0.02, patience=0, epochs=8)
    torch.manual_seed(training.torch_seed(0, 1, 1, 0, 0))
    net = FCNet(15, 5, 16, 4, 0.3)
    net.layers[-1].bias.data = torch.logit((task.y.sum(dim=0) + 0.5) / (len(task.y) + 1))
    optimizer = torch.optim.Adam(net.parameters(), lr=config.lr, fused=True)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, mode="max", factor=0.5, patience=0, min_lr=1e-8
    )
    best, kept, rates = -1.0, {}, set()
    for epoch in range(1, 9):
        order = torch.from_numpy(training.generator(0, 1, 2, 0, epoch).permutation(45))
        torch.manual_seed(training.torch_seed(0, 1, 3, 0, epoch))
        net.train()
        for rows in order.split(16):
            optimizer.zero_grad()
            torch.nn.BCEWithLogitsLoss()(net(task.x[rows]), task.y[rows]).backward()
            optimizer.step()
        with torch.inference_mode():
            value = lwlrap(task.inner_y, torch.sigmoid(net.eval()(task.inner_x)).numpy())
        schedule.step(value)
        rates.add(optimizer.param_groups[0]["lr"])
        if value > best:
            best, best_epoch, kept = value, epoch, {k: v.clone() for k, v in net.state_dict().items()}
    found = train(config, 0, task)
    assert len(rates) > 2
    assert (found.inner_lwlrap, found.best_epoch, found.epochs) == (best, best_epoch, 8)
    assert all(torch.equal(found.weights[name], value) for name, value in kept.items())


def test_the_weights_are_those_of_the_best_epoch(task):
    found = train(replace(CONFIG, lr=0.02, epochs=30, stop=4), 0, task)
    assert 1 < found.best_epoch < found.epochs == found.best_epoch + 4 < 30
    assert equal(found, train(replace(CONFIG, lr=0.02, epochs=found.best_epoch), 0, task))
    assert lwlrap(task.inner_y, outputs(found, task.inner_x)) == found.inner_lwlrap


def test_first_outputs_are_the_frequencies_of_classes_or_about_a_half(task):
    still = replace(CONFIG, lr=1e-12, dropout=0.0, epochs=1)
    frequencies = (task.y.sum(dim=0) + 0.5) / (len(task.y) + 1)
    bias = train(still, 0, task).weights["layers.6.bias"]
    torch.testing.assert_close(torch.sigmoid(bias), frequencies, atol=1e-6, rtol=0)
    published = train(replace(still, reads="probabilities"), 0, task)
    assert np.abs(outputs(published, torch.rand(9, 15)) - 0.5).max() < 0.15


def test_a_diverged_network_is_no_error(task):
    found = train(replace(CONFIG, stop=3), 0, replace(task, x=task.x * float("nan")))
    assert (found.inner_lwlrap, found.best_epoch, found.epochs) == (-1.0, 0, 3)
    assert np.isfinite(outputs(found, task.inner_x)).all()


def test_the_best_three_of_a_grid_and_of_equals_the_first(task):
    configs = [replace(CONFIG, name=str(i), lr=lr, epochs=3) for i, lr in enumerate([1e-5, 8e-3, 1e-4, 4e-3, 2e-3])]
    finalists, tried = train_grid(configs, task)
    assert [n.config for n in tried] == configs
    assert [n.inner_lwlrap for n in finalists] == sorted((n.inner_lwlrap for n in tried), reverse=True)[:3]
    best = finalists[0]
    assert equal(best, train(best.config, configs.index(best.config), task))
    perfect = replace(task, inner_y=np.ones((15, 5), np.float32))  # whatever the ranking
    assert [n.config.name for n in train_grid(configs, perfect)[0]] == ["0", "1", "2"]
    assert len(train_grid(configs[:2], perfect)[0]) == 2


def test_draws_come_with_replacement_and_are_trained_on_as_augmented(task):
    seen = []

    def augment(rows, rng):
        seen.append(rows)
        return task.x[rows].numpy() + rng.random((len(rows), 1), np.float32)

    other = replace(task, augment=augment)
    batches = [*other.batches(replace(CONFIG, draws=2100), 1)]
    assert [len(x) for x, _ in batches] == [16] * 131 + [4]
    rows = np.concatenate(seen)
    assert [len(part) for part in seen] == [1024, 1024, 52]
    assert np.bincount(rows).min() > 15  # of 47 on average
    assert torch.equal(torch.cat([y for _, y in batches]), task.y[rows])
    added = torch.cat([x for x, _ in batches]) - task.x[rows]
    assert 0 < added.min() < 0.01
    assert 0.99 < added.max() < 1.001
    again = [*other.batches(replace(CONFIG, draws=2100, batch_size=64), 1)]
    assert torch.equal(torch.cat([x for x, _ in again]), torch.cat([x for x, _ in batches]))
    assert not torch.equal(next(other.batches(CONFIG, 1))[0], next(other.batches(CONFIG, 2))[0])


def test_limits():
    plain = replace(CONFIG, epochs=0, stop=0)
    assert [limits(plain, n)[0] for n in (10, 200, 1000, 3181, 50_000)] == [100, 100, 50, 16, 16]
    assert [limits(plain, n)[1] for n in (10, 1000, 3181)] == [20, 10, 6]
    assert limits(replace(plain, draws=1000), 10) == (50, 10)
    assert limits(CONFIG, 10) == (5, 50)
