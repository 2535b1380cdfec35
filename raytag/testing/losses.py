"""The contract of a loss: what training relies on, whatever it makes of noisy clips."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]  # logits (B, C), targets (B, C), noisy (B,) bool: a scalar


def check_loss(loss: Loss) -> None:
    """Hold a loss to its contract.

    Raises
    ------
    AssertionError
        The loss breaks it; the message says how.
    """
    check_scalar(loss)
    check_order(loss)
    check_saturated(loss)
    check_divergence(loss)
    check_precision(loss)


def problem(seed: int = 0, batch: int = 12, classes: int = 7) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, targets and noisy flags of a batch in which half the clips are noisy."""
    rng = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(batch, classes, generator=rng)
    targets = (torch.rand(batch, classes, generator=rng) < 0.3).float()
    return logits, targets, torch.arange(batch) % 2 == 0


def check_scalar(loss: Loss) -> None:
    """A finite float32 scalar whose gradient reaches the logits; float64 where these are."""
    logits, targets, noisy = problem()
    for dtype in (torch.float32, torch.float64):
        z = logits.detach().to(dtype, copy=True).requires_grad_()
        value = loss(z, targets.to(dtype), noisy)
        assert value.shape == (), f"the loss has shape {tuple(value.shape)}, not that of a number"
        assert value.dtype == dtype, f"the loss of {dtype} logits is {value.dtype}"
        value.backward()
        assert z.grad is not None, "no gradient reaches the logits"
        assert z.grad.isfinite().all(), "the gradient is not finite"
        assert z.grad.any(), "the gradient is zero everywhere"


def check_order(loss: Loss) -> None:
    """Neither the order of clips nor that of classes matters."""
    logits, targets, noisy = (t.double() if t.is_floating_point() else t for t in problem())
    value = loss(logits, targets, noisy)
    rows, columns = torch.arange(len(noisy)).flip(0), torch.arange(logits.shape[1]).roll(2)
    for what, permuted in (
        ("clips", loss(logits[rows], targets[rows], noisy[rows])),
        ("classes", loss(logits[:, columns], targets[:, columns], noisy)),
    ):
        assert torch.allclose(value, permuted, rtol=1e-12), f"another order of {what} gives another loss"


def check_saturated(loss: Loss) -> None:
    """Logits far from zero, all clips noisy or none: finite values and gradients."""
    row = torch.tensor([-1e4, -100.0, -17.0, 0.0, 17.0, 100.0, 1e4])
    for flag in (True, False):
        for target in (0.0, 1.0):
            z = row.repeat(4, 1).requires_grad_()
            value = loss(z, torch.full((4, 7), target), torch.full((4,), flag))
            value.backward()
            assert value.isfinite(), "the loss of large logits is not finite"
            assert z.grad is not None
            assert z.grad.isfinite().all(), "the gradient at large logits is not finite"


def check_divergence(loss: Loss) -> None:
    """A NaN shows in the loss; it is neither masked nor raised."""
    logits, targets, noisy = problem()
    logits[1, 2] = torch.nan
    assert loss(logits, targets, noisy).isnan(), "the loss of a diverged network is a number"


def check_precision(loss: Loss) -> None:
    """Inside an autocast region it is still computed in float32."""
    logits, targets, noisy = problem()
    expected = loss(logits, targets, noisy)
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(logits, targets, noisy)
    assert value.dtype == torch.float32, f"inside autocast the loss is {value.dtype}"
    assert torch.allclose(value, expected, rtol=1e-5), "inside autocast the loss is another one"
