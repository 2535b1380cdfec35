"""LSEP against the sum over all pairs: hard, unknown and soft labels, gradients, extreme logits, bfloat16."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from raytag import losses
from raytag.losses.lsep import lsep, of_any, of_hard
from raytag.testing.losses import problem, value_and_grad, value_of


def all_pairs(z: Tensor, present: Tensor, absent: Tensor) -> Tensor:
    """As it is published, in O(C²), and with the weights of pairs of evidence planes."""
    weight = (present[:, :, None] * absent[:, None, :] - present[:, None, :] * absent[:, :, None]).clamp_min(0)
    return (weight * (z[:, None, :] - z[:, :, None]).exp()).sum((1, 2)).log1p()


def planes(kind: str) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, and evidence for and against 9 classes, float64 (12, 9); ties among them."""
    logits, present, _ = problem(seed=4, classes=9)
    rng = torch.Generator().manual_seed(5)
    present[0], present[1], present[2, :3] = 0, 1, 1
    absent = 1 - present
    if kind == "soft":
        present = torch.randint(0, 5, present.shape, generator=rng) / 4
        absent = 1 - present
    if kind in ("unknown", "weighed"):
        known = torch.rand(present.shape, generator=rng) < 0.6
        known[3] = False
        present, absent = present * known, absent * known
    if kind == "weighed":  # half a positive, doubted ones, and negatives that count twice
        present, absent = present * torch.rand(present.shape, generator=rng), absent * 2
        present[5], absent[5] = 0.5 * present[5] + 0.3, 0.1
    return logits.double(), present.double(), absent.double()


def by_weights(of: Callable[..., Tensor], z: Tensor, present: Tensor, absent: Tensor) -> Tensor:
    weights = present + absent
    return of(z, present / weights.where(weights > 0, 1.0), weights)


@pytest.mark.parametrize("kind", ["hard", "unknown", "soft", "weighed"])
def test_it_is_the_sum_over_all_pairs(kind: str) -> None:
    z, present, absent = planes(kind)
    z.requires_grad_()
    expected = all_pairs(z, present, absent)
    (expected_grad,) = torch.autograd.grad(expected.sum(), z)
    ways = [lsep, of_any] + [of_hard] * (kind in ("hard", "unknown"))
    for way in ways:
        for found in [by_weights(way, z, present, absent)] + [way(z, present)] * (kind in ("hard", "soft")):
            torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-10)
            (grad,) = torch.autograd.grad(found.sum(), z, retain_graph=True)
            torch.testing.assert_close(grad, expected_grad, rtol=1e-8, atol=1e-10)
    value = value_of(losses.build("LSEP"), z, present, torch.zeros(12, dtype=torch.bool), absent)
    torch.testing.assert_close(value, expected.mean(), rtol=1e-8, atol=0)


@pytest.mark.parametrize("way", [of_hard, of_any])
def test_a_clip_without_positives_or_without_negatives_is_0_and_moves_nothing(way: Callable[..., Tensor]) -> None:
    """Published: their share of exponents is an empty sum; with weights of 0 autograd would give NaN."""
    labels = torch.tensor([[0.0, 0, 0], [1, 1, 1], [1, 0, 1], [1, 0, 0]])
    weights = torch.ones(4, 3)
    weights[2, 1] = weights[3, 0] = 0  # the only negative, and the only positive
    logits = torch.tensor([-50.0, 0, 200]).repeat(4, 1).requires_grad_()
    found = way(logits, labels, weights)
    (grad,) = torch.autograd.grad(found.sum(), logits)
    assert torch.equal(found, torch.zeros(4))
    assert torch.equal(grad, torch.zeros(4, 3))


@pytest.mark.parametrize("size", [100.0, 1e4])
@pytest.mark.parametrize("way", [of_hard, of_any])
def test_extreme_logits(way: Callable[..., Tensor], size: float) -> None:
    """The published sum overflows to infinity, and its gradient to NaN."""
    labels = torch.tensor([[1.0, 1, 0, 0], [0, 0, 1, 1], [1, 0, 0, 1]])
    logits = torch.tensor([[size, -size, size, -size]]).repeat(3, 1).requires_grad_()
    found = way(logits, labels)
    (grad,) = torch.autograd.grad(found.sum(), logits)
    torch.testing.assert_close(found, torch.tensor([2 * size] * 3), rtol=1e-4, atol=2.0)
    assert found.isfinite().all()
    torch.testing.assert_close(grad, torch.tensor([[0.0, -1, 1, 0], [1, 0, 0, -1], [0.0, 0, 1, -1]]))
    assert not all_pairs(logits, labels, 1 - labels).isfinite().all()


@pytest.mark.parametrize("soft", [False, True])
def test_bfloat16_logits_are_added_up_in_float32(soft: bool) -> None:
    logits, labels, noisy = problem(batch=8, classes=80)
    labels = 0.3 * labels + 0.2 if soft else labels
    rounded = logits.bfloat16()
    exact = all_pairs(rounded.double(), labels.double(), 1 - labels.double()).mean()
    with torch.autocast("cpu", torch.bfloat16):
        value, grad = value_and_grad(losses.build("LSEP"), rounded, labels, noisy)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(exact.item(), rel=1e-6)
    assert grad.dtype == torch.bfloat16
