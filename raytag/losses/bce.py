"""Binary cross-entropy."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor


def bce(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy of each clip, (B,): the mean over its classes."""
    return F.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(dim=1)


@dataclass(frozen=True)
class BCE:
    """Binary cross-entropy, whoever labelled the clip."""

    def __call__(self, logits: Tensor, targets: Tensor, noisy: Tensor) -> Tensor:
        return bce(logits, targets).mean()
