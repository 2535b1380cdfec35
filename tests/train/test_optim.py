"""Schedules against reference traces and torch's own; optimizer state across an interruption."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from torch import nn

from raytag import losses, models
from raytag.experiment import Optimizer, Schedule
from raytag.train.optim import (
    OneCycle,
    Plateau,
    build_optimizer,
    build_schedule,
    load_optimizer_tensors,
    optimizer_tensors,
)


def test_plateau_follows_the_reference_trace(shared: Path) -> None:
    arrays = np.load(shared / "golden" / "13_schedulers.npz")
    schedule = Plateau(9e-4, Schedule(patience=6, factor=0.6, threshold=1e-4, min_lr=1e-8))
    rates = []
    for metric in arrays["plateau_in_metric"]:
        schedule.epoch_end(float(metric))
        rates.append(schedule.lr_at(0))
    np.testing.assert_allclose(rates, arrays["plateau_lr_after_epoch"], rtol=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_plateau_is_torchs(seed: int) -> None:
    """Down to the floor, over many reductions, with ties and setbacks in the metric."""
    rng = np.random.default_rng(seed)
    settings = Schedule(patience=seed, factor=0.3, threshold=0.01 * seed, min_lr=1e-7)
    schedule = Plateau(1e-3, settings)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1e-3)
    reference = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, "max", patience=seed, factor=0.3, threshold=0.01 * seed, min_lr=1e-7
    )
    for metric in np.round(np.linspace(0.5, 0.6, 120) + 0.02 * rng.standard_normal(120), 3):
        schedule.epoch_end(float(metric))
        reference.step(float(metric))
        assert schedule.lr_at(0) == optimizer.param_groups[0]["lr"]
    assert schedule.lr_at(0) < 1e-5


def test_one_cycle_follows_the_reference_trace(shared: Path) -> None:
    expected = np.load(shared / "golden" / "13_schedulers.npz")["onecycle_lr_used_in_step"]
    settings = Schedule(name="one_cycle", warmup_share=0.3, start_factor=0.02, end_factor=2e-5)
    schedule = OneCycle(0.005, settings, len(expected))
    np.testing.assert_allclose([schedule.lr_at(i) for i in range(len(expected))], expected, rtol=1e-9)


@pytest.mark.parametrize("total", [1, 2, 3, 10, 1000])
def test_one_cycle_stays_within_its_bounds(total: int) -> None:
    settings = Schedule(name="one_cycle", warmup_share=0.3, start_factor=0.1, end_factor=0.01)
    schedule = OneCycle(1.0, settings, total)
    rates = np.array([schedule.lr_at(i) for i in range(total)])
    top = int(rates.argmax())
    assert rates[top] == 1.0
    assert top == round(0.3 * total)
    assert (np.diff(rates[: top + 1]) > 0).all()
    assert (np.diff(rates[top:]) < 0).all()
    assert rates.min() >= 0.01
    assert schedule.lr_at(total) == pytest.approx(0.01)
    for step in (-1, total + 1):
        with pytest.raises(ValueError, match=f"outside a training of {total} steps"):
            schedule.lr_at(step)


@pytest.mark.parametrize("name", ["plateau", "one_cycle"])
def test_schedules_continue_from_json(name: str) -> None:
    settings = Schedule(name=name, patience=1)
    metrics = [0.5, 0.6, 0.59, 0.6, 0.58, 0.57, 0.56, 0.55]
    whole = build_schedule(settings, 1e-3, 80)
    rates = []
    for epoch, metric in enumerate(metrics):
        rates.append([whole.lr_at(10 * epoch + i) for i in range(10)])
        whole.epoch_end(metric)
    for stop in range(len(metrics)):
        first, second = build_schedule(settings, 1e-3, 80), build_schedule(settings, 1e-3, 80)
        for metric in metrics[:stop]:
            first.epoch_end(metric)
        second.load(json.loads(json.dumps(first.state(), allow_nan=False)))
        for epoch in range(stop, len(metrics)):
            assert [second.lr_at(10 * epoch + i) for i in range(10)] == rates[epoch]
            second.epoch_end(metrics[epoch])


def test_schedules_refuse_a_foreign_state() -> None:
    plateau = build_schedule(Schedule(), 1e-3, 10)
    cycle = build_schedule(Schedule(name="one_cycle"), 1e-3, 10)
    with pytest.raises(ValueError, match="saved schedule is 'plateau', this one 'one_cycle'"):
        cycle.load(plateau.state())
    with pytest.raises(ValueError, match="saved schedule is 'one_cycle', this one 'plateau'"):
        plateau.load(cycle.state())
    with pytest.raises(ValueError, match="spans 10 steps, this one 20"):
        build_schedule(Schedule(name="one_cycle"), 1e-3, 20).load(cycle.state())
    with pytest.raises(ValueError, match="at least one step"):
        build_schedule(Schedule(name="one_cycle"), 1e-3, 0)


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
    loss = losses.build("BCE")
    for step in steps:
        torch.manual_seed(step)
        x = torch.randn(4, 3, 32, 32).to(memory_format=torch.channels_last)
        value = loss(model(x), torch.eye(3)[[0, 1, 2, 0]], torch.zeros(4, dtype=torch.bool))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()


@pytest.mark.parametrize("name", ["adam", "adamw"])
@pytest.mark.parametrize("stop", [0, 3])
def test_an_interrupted_optimizer_gives_the_same_bits(name: str, stop: int) -> None:
    def fresh() -> tuple[nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(7)
        model = models.build("SkipAttention", num_classes=3, base_size=2).to(memory_format=torch.channels_last)
        return model, build_optimizer(model.parameters(), Optimizer(name=name, lr=1e-2, weight_decay=0.1))

    model, optimizer = fresh()
    train(model, optimizer, range(stop))
    tensors = load(save(optimizer_tensors(optimizer, model)))
    weights = {key: value.clone() for key, value in model.state_dict().items()}
    assert bool(tensors) == (stop > 0)
    train(model, optimizer, range(stop, 6))

    other, other_optimizer = fresh()
    other.load_state_dict(weights)
    load_optimizer_tensors(other_optimizer, other, tensors)
    train(other, other_optimizer, range(stop, 6))
    for (key, value), restored in zip(model.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(value, restored), key
    exported = optimizer_tensors(other_optimizer, other)
    for key, value in optimizer_tensors(optimizer, model).items():
        assert torch.equal(value, exported[key]), key


def test_exported_state_is_a_copy() -> None:
    model = nn.Linear(3, 2)
    optimizer = build_optimizer(model.parameters(), Optimizer())
    for _ in range(2):
        model(torch.ones(1, 3)).sum().backward()
        optimizer.step()
        tensors = optimizer_tensors(optimizer, model)
    assert sorted(tensors) == [f"{p}.{k}" for p in ("bias", "weight") for k in ("exp_avg", "exp_avg_sq", "step")]
    before = {key: value.clone() for key, value in tensors.items()}
    optimizer.step()
    assert all(torch.equal(before[key], tensors[key]) for key in tensors)
    assert float(tensors["weight.step"]) == 2


def test_foreign_optimizer_state_is_named() -> None:
    model = nn.Linear(3, 2)
    optimizer = build_optimizer(model.parameters(), Optimizer())
    with pytest.raises(ValueError, match=r"'head\.weight\.exp_avg' belongs to no parameter"):
        load_optimizer_tensors(optimizer, model, {"head.weight.exp_avg": torch.zeros(2, 3)})
    with pytest.raises(ValueError, match=r"'weight\.exp_avg' is \(3, 2\), its parameter \(2, 3\)"):
        load_optimizer_tensors(optimizer, model, {"weight.exp_avg": torch.zeros(3, 2)})


def test_adam_decays_the_gradient_and_adamw_the_weight() -> None:
    steps = {}
    for name in ("adam", "adamw"):
        weight = nn.Parameter(torch.tensor([2.0]))
        optimizer = build_optimizer([weight], Optimizer(name=name, lr=0.1, weight_decay=0.5))
        weight.grad = torch.tensor([-3.0])
        optimizer.step()
        steps[name] = weight.item()
    assert steps["adam"] == pytest.approx(2 + 0.1, rel=1e-5)  # gradient -3 + 0.5 * 2 < 0: a step of lr
    assert steps["adamw"] == pytest.approx(2 * (1 - 0.1 * 0.5) + 0.1, rel=1e-5)
