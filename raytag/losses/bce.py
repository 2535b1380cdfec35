"""Binary cross-entropy, as it is and with less weight on what is easy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

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


class Focal(LossOfLabels):
    """Binary cross-entropy of each cell times the ``gamma``-th power of the probability of the wrong answer.

    ``present (1 - p)^gamma softplus(-z) + absent p^gamma softplus(z)``, p = sigmoid(z), averaged over classes and
    clips. With gamma = 0 it is `BCE`.

    References
    ----------
    Lin, Goyal, Girshick, He, Dollar: Focal loss for dense object detection. ICCV 2017.
    """

    gamma: float = Field(2.0, ge=0)

    def of_labels(self, logits: Tensor, labels: Tensor, weights: Tensor | None, noisy: Tensor) -> Tensor:
        from torch.nn.functional import softplus

        missed, raised = softplus(-logits), softplus(logits)  # -log p and -log(1 - p)
        cells = (
            labels * (-self.gamma * raised).exp() * missed + (1 - labels) * (-self.gamma * missed).exp() * raised
        )
        return mean_of_classes(cells, weights).mean()
