"""Binary cross-entropy against its formula in float64."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import logsigmoid, softplus

from raytag import losses
from raytag.testing.losses import problem, value_and_grad, value_of


def test_float64_formula() -> None:
    logits, targets, noisy = problem()
    z, y = logits.double(), targets.double()
    expected = -(y * logsigmoid(z) + (1 - y) * logsigmoid(-z)).mean().item()
    assert value_of(losses.build("BCE"), logits, targets, noisy).item() == pytest.approx(expected, rel=1e-6)
    value, grad = value_and_grad(losses.build("BCE"), z, y, noisy)
    assert value.item() == pytest.approx(expected, rel=1e-12)
    torch.testing.assert_close(grad, (torch.sigmoid(z) - y) / z.numel())


def test_whoever_labelled_the_clip() -> None:
    logits, targets, noisy = problem()
    both = [value_and_grad(losses.build("BCE"), logits, targets, flags) for flags in (noisy, ~noisy)]
    assert all(torch.equal(a, b) for a, b in zip(*both, strict=True))


def test_evidence_is_the_masked_cross_entropy() -> None:
    """The formula of both planes, with weights that are no labels."""
    logits, present, noisy = problem()
    absent = torch.rand(present.shape, generator=torch.Generator().manual_seed(5)) * 2
    expected = (present * softplus(-logits) + absent * softplus(logits)).mean().item()
    assert value_of(losses.build("BCE"), logits, present, noisy, absent).item() == pytest.approx(expected, rel=1e-5)


def test_focal_weighs_cells_by_the_probability_of_the_wrong_answer() -> None:
    logits, targets, noisy = problem()
    z, y = logits.double(), 0.7 * targets.double() + 0.1
    p = z.sigmoid()
    cells = -(y * (1 - p) ** 1.5 * p.log() + (1 - y) * p**1.5 * (1 - p).log())
    found = value_of(losses.build("Focal", gamma=1.5), z, y, noisy)
    assert found.item() == pytest.approx(cells.mean().item(), rel=1e-10)
    plain = value_and_grad(losses.build("BCE"), z, y, noisy)
    for found, expected in zip(value_and_grad(losses.build("Focal", gamma=0), z, y, noisy), plain, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-12)
