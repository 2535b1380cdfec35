"""Binary cross-entropy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raytag import parts

if TYPE_CHECKING:
    from torch import Tensor


def bce(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy of each clip, (B,): the mean over its classes."""
    from torch.nn.functional import binary_cross_entropy_with_logits

    return binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(dim=1)


class BCE(parts.Loss):
    """Binary cross-entropy, whoever labelled the clip."""

    def __call__(self, logits: Tensor, targets: Tensor, noisy: Tensor) -> Tensor:
        return bce(logits, targets).mean()
