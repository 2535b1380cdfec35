"""Binary cross-entropy against its formula in float64."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import logsigmoid

from raytag import losses
from raytag.testing.losses import problem, value_and_grad


def test_float64_formula() -> None:
    logits, targets, noisy = problem()
    z, y = logits.double(), targets.double()
    expected = -(y * logsigmoid(z) + (1 - y) * logsigmoid(-z)).mean().item()
    assert losses.build("BCE")(logits, targets, noisy).item() == pytest.approx(expected, rel=1e-6)
    value, grad = value_and_grad(losses.build("BCE"), z, y, noisy)
    assert value.item() == pytest.approx(expected, rel=1e-12)
    torch.testing.assert_close(grad, (torch.sigmoid(z) - y) / z.numel())


def test_whoever_labelled_the_clip() -> None:
    logits, targets, noisy = problem()
    both = [value_and_grad(losses.build("BCE"), logits, targets, flags) for flags in (noisy, ~noisy)]
    assert all(torch.equal(a, b) for a, b in zip(*both, strict=True))
