"""Schedules against reference traces and torch's own; optimizer state across an interruption."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from safetensors.torch import load, save
from torch import nn

from raytag import losses, models
from raytag.batch import Targets
from raytag.experiment import Optimizer
from raytag.train.optimizer_state import load_optimizer_tensors, optimizer_tensors


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
    loss = losses.build("BCE")
    for step in steps:
        torch.manual_seed(step)
        x = torch.randn(4, 3, 32, 32).to(memory_format=torch.channels_last)
        value = loss(model(x), Targets(torch.eye(3)[[0, 1, 2, 0]], torch.zeros(4, dtype=torch.bool)))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("Adam", {}),
        ("Adam", {"amsgrad": True}),
        ("AdamW", {"betas": (0.8, 0.95)}),
        ("SGD", {}),
        ("SGD", {"momentum": 0.9, "nesterov": True}),
    ],
)
@pytest.mark.parametrize("stop", [0, 3])
def test_an_interrupted_optimizer_gives_the_same_bits(name: str, fields: dict[str, Any], stop: int) -> None:
    def fresh() -> tuple[nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(7)
        model = models.build("SkipAttention", num_classes=3, base_size=2).to(memory_format=torch.channels_last)
        return model, Optimizer(name, lr=1e-2, weight_decay=0.1, **fields).build(model.parameters())

    model, optimizer = fresh()
    train(model, optimizer, range(stop))
    tensors = load(save(optimizer_tensors(optimizer, model)))
    weights = {key: value.clone() for key, value in model.state_dict().items()}
    assert bool(tensors) == (stop > 0 and (name, fields) != ("SGD", {}))
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
    optimizer = Optimizer().build(model.parameters())
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
    optimizer = Optimizer().build(model.parameters())
    with pytest.raises(ValueError, match=r"'head\.weight\.exp_avg' belongs to no parameter"):
        load_optimizer_tensors(optimizer, model, {"head.weight.exp_avg": torch.zeros(2, 3)})
    with pytest.raises(ValueError, match=r"'weight\.exp_avg' is \(3, 2\), its parameter \(2, 3\)"):
        load_optimizer_tensors(optimizer, model, {"weight.exp_avg": torch.zeros(3, 2)})


def test_adam_decays_the_gradient_and_adamw_the_weight() -> None:
    steps = {}
    for name in ("adam", "adamw"):
        weight = nn.Parameter(torch.tensor([2.0]))
        optimizer = Optimizer(name, lr=0.1, weight_decay=0.5).build([weight])
        weight.grad = torch.tensor([-3.0])
        optimizer.step()
        steps[name] = weight.item()
    assert steps["adam"] == pytest.approx(2 + 0.1, rel=1e-5)  # gradient -3 + 0.5 * 2 < 0: a step of lr
    assert steps["adamw"] == pytest.approx(2 * (1 - 0.1 * 0.5) + 0.1, rel=1e-5)


def test_sgd_is_torchs_with_momentum_only_where_it_is_asked_for() -> None:
    weight, other = nn.Parameter(torch.tensor([2.0])), nn.Parameter(torch.tensor([2.0]))
    ours = Optimizer("sgd", lr=0.1, momentum=0.9, nesterov=True).build([weight])
    torchs = torch.optim.SGD([other], lr=0.1, momentum=0.9, nesterov=True)
    for step in range(3):
        weight.grad = other.grad = torch.tensor([-3.0 + step])
        ours.step()
        torchs.step()
    assert weight.item() == pytest.approx(other.item(), rel=1e-6)
    with pytest.raises(ValueError, match="nesterov needs a momentum"):
        Optimizer("SGD", nesterov=True)
