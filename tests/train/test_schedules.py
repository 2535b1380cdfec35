"""Learning-rate schedules: traces, torch's own plateau, and states that continue."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from raytag import parts
from raytag.experiment import Schedule
from raytag.train.schedules import CosineRestarts, OneCycle, Plateau, StepDecay


def test_plateau_follows_the_reference_trace(shared: Path) -> None:
    arrays = np.load(shared / "golden" / "13_schedulers.npz")
    schedule = Plateau(patience=6, factor=0.6, threshold=1e-4, min_lr=1e-8).start(9e-4, 1)
    rates = []
    for metric in arrays["plateau_in_metric"]:
        schedule.epoch_end(float(metric))
        rates.append(schedule.lr_at(0))
    np.testing.assert_allclose(rates, arrays["plateau_lr_after_epoch"], rtol=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_plateau_is_torchs(seed: int) -> None:
    """Down to the floor, over many reductions, with ties and setbacks in the metric."""
    rng = np.random.default_rng(seed)
    schedule = Plateau(patience=seed, factor=0.3, threshold=0.01 * seed, min_lr=1e-7).start(1e-3, 1)
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
    schedule = OneCycle(warmup_share=0.3, start_factor=0.02, end_factor=2e-5).start(0.005, len(expected))
    np.testing.assert_allclose([schedule.lr_at(i) for i in range(len(expected))], expected, rtol=1e-9)


def test_cosine_restarts_follow_the_reference_trace(shared: Path) -> None:
    expected = np.load(shared / "golden" / "13_schedulers.npz")["argus_own_cosine_restarts_lr"][1:]  # of epochs
    rate = CosineRestarts(first_epochs=5, times=2, min_lr=1e-5).start(1e-3, 1)
    rates = []
    for _ in expected:
        rates.append(rate.lr_at(0))
        rate.epoch_end(0.0)
    np.testing.assert_allclose(rates, expected, rtol=1e-9)


@pytest.mark.parametrize("times", [1, 2])
def test_cosine_restarts_are_torchs_and_continue_from_their_state(times: int) -> None:
    settings = CosineRestarts(first_epochs=4, times=times, min_lr=1e-4)
    rate = settings.start(0.01, 1)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.01)
    reference = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 4, times, eta_min=1e-4)
    for _ in range(30):
        assert rate.lr_at(7) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
        rate.epoch_end(0.5)
        reference.step()
        state = json.loads(json.dumps(rate.state()))
        rate = settings.start(0.01, 1)
        rate.load(state)


@pytest.mark.parametrize(("every", "gamma"), [(1, 0.5), (3, 0.1)])
def test_step_decay_is_torchs(every: int, gamma: float) -> None:
    rate = StepDecay(every=every, gamma=gamma).start(0.01, 1)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.01)
    reference = torch.optim.lr_scheduler.StepLR(optimizer, every, gamma)
    for epoch in range(10):
        assert rate.lr_at(5 * epoch) == rate.lr_at(5 * epoch + 4)
        assert rate.lr_at(5 * epoch) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
        rate.epoch_end(0.5)
        optimizer.step()
        reference.step()


@pytest.mark.parametrize("total", [1, 2, 3, 10, 1000])
def test_one_cycle_stays_within_its_bounds(total: int) -> None:
    schedule = OneCycle(warmup_share=0.3, start_factor=0.1, end_factor=0.01).start(1.0, total)
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


@pytest.mark.parametrize("settings", [Plateau(patience=1), OneCycle(), StepDecay(every=2)])
def test_schedules_continue_from_json(settings: parts.Schedule) -> None:
    metrics = [0.5, 0.6, 0.59, 0.6, 0.58, 0.57, 0.56, 0.55]
    whole = settings.start(1e-3, 80)
    rates = []
    for epoch, metric in enumerate(metrics):
        rates.append([whole.lr_at(10 * epoch + i) for i in range(10)])
        whole.epoch_end(metric)
    for stop in range(len(metrics)):
        first, second = settings.start(1e-3, 80), settings.start(1e-3, 80)
        for metric in metrics[:stop]:
            first.epoch_end(metric)
        second.load(json.loads(json.dumps(first.state(), allow_nan=False)))
        for epoch in range(stop, len(metrics)):
            assert [second.lr_at(10 * epoch + i) for i in range(10)] == rates[epoch]
            second.epoch_end(metrics[epoch])


def test_schedules_refuse_a_foreign_state() -> None:
    plateau = Schedule("plateau").start(1e-3, 10)
    cycle = Schedule("one_cycle").start(1e-3, 10)
    with pytest.raises(ValueError, match="saved schedule is 'plateau', this one 'one_cycle'"):
        cycle.load(plateau.state())
    with pytest.raises(ValueError, match="saved schedule is 'one_cycle', this one 'plateau'"):
        plateau.load(cycle.state())
    with pytest.raises(ValueError, match="spans 10 steps, this one 20"):
        OneCycle().start(1e-3, 20).load(cycle.state())
    with pytest.raises(ValueError, match="at least one step"):
        OneCycle().start(1e-3, 0)
