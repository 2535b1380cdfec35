"""The contract of `raytag.testing.losses` over all losses, and that each of its promises can be broken."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raytag import losses, parts
from raytag.batch import Outputs, Targets
from raytag.losses.base import LossOfLabels
from raytag.losses.bce import bce
from raytag.testing.losses import Loss, check_loss


@pytest.mark.parametrize("name", losses.LOSSES)
def test_every_loss_keeps_the_contract(name: str) -> None:
    check_loss(losses.build(name))


def by_hand(z: Tensor, y: Tensor, noisy: Tensor) -> Tensor:
    p = torch.sigmoid(z)
    return -(y * p.log() + (1 - y) * (1 - p).log()).mean()


def steep(z: Tensor, y: Tensor, noisy: Tensor) -> Tensor:
    """The gradient of |x|^½ at 0."""
    return bce(z, y).mean() + 1e-9 * z.abs().sqrt().mean()


def in_place(z: Tensor, y: Tensor, noisy: Tensor) -> Tensor:
    y *= ~noisy[:, None]
    return bce(z, y).mean()


def picked(z: Tensor, y: Tensor, noisy: Tensor) -> Tensor:
    clips = bce(z, y)
    return (clips[noisy].sum() + clips[~noisy].sum()) / len(clips)


def asked(z: Tensor, y: Tensor, noisy: Tensor) -> Tensor:
    return bce(z, y).mean() * (0.5 if noisy.all() else 1.0)


def by_row(z: Tensor, y: Tensor, noisy: Tensor) -> Tensor:
    return (bce(z, y) * torch.arange(1, len(z) + 1, device=z.device)).mean()


def by_column(z: Tensor, y: Tensor, noisy: Tensor) -> Tensor:
    return bce(z, y).mean() + F.softplus(z[:, 0] * (1 - 2 * y[:, 0])).mean()


def by_noisy_row(z: Tensor, y: Tensor, noisy: Tensor) -> Tensor:
    return (bce(z, y) * torch.where(noisy, torch.arange(1, len(z) + 1, device=z.device), 1)).mean()


def relative(z: Tensor, y: Tensor, noisy: Tensor) -> Tensor:
    return (bce(z, y) * torch.where(noisy, 0.5, 1.0)).sum() / torch.where(noisy, 0.5, 1.0).sum()


def on_the_cpu(z: Tensor, y: Tensor, noisy: Tensor) -> Tensor:
    return bce(z, y).mean() + bce(z, y).mean().cpu()


def of_labels(loss: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Loss:
    """A loss of logits, labels and flags as one of outputs and targets; what is unknown counts as absent."""
    return lambda outputs, targets: loss(outputs.clip, targets.present, targets.noisy)


BAD: dict[str, tuple[Callable[[Tensor, Tensor, Tensor], Tensor], str]] = {
    "a value a clip": (lambda z, y, n: bce(z, y).sum(0, keepdim=True), r"has the shape \(1,\), not \(\)"),
    "no gradient": (lambda z, y, n: bce(z.detach(), y).mean(), "no gradient flows"),
    "infinite gradient": (steep, "extreme logits, .*: the gradient is not finite"),
    "infinite": (lambda z, y, n: bce(z, y).mean() / (z.numel() > 1), r"1 clips of 1 classes, .*: the loss is"),
    "random": (lambda z, y, n: bce(z, y).mean() * torch.rand(()), "two values"),
    "writes": (in_place, "writes into its arguments"),
    "logarithm of a rounded probability": (by_hand, "extreme logits, .*: the loss is"),
    "hides divergence": (lambda z, y, n: bce(z.nan_to_num(), y).mean(), "hides that training diverged"),
    "rounds": (lambda z, y, n: bce(z.bfloat16(), y.bfloat16()).mean(), "float32 logits give torch.bfloat16"),
    "always float32": (lambda z, y, n: bce(z.float(), y.float()).mean(), "float64 logits give torch.float32"),
    "cancels": (lambda z, y, n: (bce(z, y) + 1e4).mean() - 1e4, "in float32 is not that in float64"),
    "upside down": (lambda z, y, n: -bce(z, y).mean(), "grows with the logit of a positive"),
    "raises all": (lambda z, y, n: F.softplus(-z).mean(), "falls with the logit of a negative"),
    "order of clips": (by_row, "depends on the order of clips"),
    "order of noisy clips": (by_noisy_row, "clips? noisy: the loss depends on the order of clips"),
    "order of classes": (by_column, "depends on the order of classes"),
    "index": (picked, "waits for a GPU"),
    "question": (asked, "waits for a GPU"),
    "flags of others": (relative, "the flag of one clip changes the gradient of others"),
    "unknown": (lambda z, y, n: bce(z, y).mean(), "an unknown label moves its logit"),
    "other device": (on_the_cpu, "waits for a GPU, or moves"),
}


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_loss_is_told_what_it_breaks(bad: str) -> None:
    loss, message = BAD[bad]
    with pytest.raises(AssertionError, match=message):
        check_loss(of_labels(loss))


def test_a_loss_that_compares_clips_may_say_so() -> None:
    class Relative(LossOfLabels):
        compares_clips: ClassVar[bool] = True

        def of_labels(self, logits: Tensor, labels: Tensor, weights: Tensor | None, noisy: Tensor) -> Tensor:
            shares = torch.where(noisy, 0.5, 1.0)
            return (bce(logits, labels, weights) * shares).sum() / shares.sum()

    check_loss(Relative())
    check_loss(Relative().__call__, compares_clips=True)


class PerClass(parts.Loss):
    """With weights of its own, one a class."""

    def build(self, num_classes: int) -> nn.Module:
        return PerClassLoss(num_classes)


class PerClassLoss(nn.Module):
    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.sharpness = nn.Parameter(torch.ones(num_classes))

    def forward(self, outputs: Outputs, targets: Targets) -> Tensor:
        labels, weights = targets.labels(outputs.clip.dtype)
        return bce(outputs.clip * self.sharpness.clamp_min(0.1), labels, weights).mean()


def test_a_loss_with_weights_is_built_for_as_many_classes_as_it_is_tried_on() -> None:
    check_loss(PerClass())
