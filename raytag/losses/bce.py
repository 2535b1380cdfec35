"""Binary cross-entropy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raytag.losses.base import LossOfLabels, mean_of_classes

if TYPE_CHECKING:
    from torch import Tensor


def bce(logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """Binary cross-entropy of each clip, (B,): the mean over its classes.

    With weights that is ``present · softplus(-x) + absent · softplus(x)`` of `raytag.batch.Targets`.
    """
    from torch.nn.functional import binary_cross_entropy_with_logits

    return mean_of_classes(binary_cross_entropy_with_logits(logits, labels, reduction="none"), weights)


class BCE(LossOfLabels):
    """Binary cross-entropy, whoever labelled the clip."""

    def of_labels(self, logits: Tensor, labels: Tensor, weights: Tensor | None, noisy: Tensor) -> Tensor:
        return bce(logits, labels, weights).mean()
