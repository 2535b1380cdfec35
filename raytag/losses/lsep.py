"""Log-sum-exp of pairs: a smooth count of the pairs of classes that a network ranks the wrong way round.

References
----------
Li, Song, Luo: Improving pairwise ranking for multi-label image classification. CVPR 2017. It is the loss of
ex4sperans, third place of Freesound Audio Tagging 2019, which computes all pairs and overflows at large logits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from raytag.losses.base import LossOfLabels

if TYPE_CHECKING:
    from torch import Tensor


def lsep(logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """``log(1 + sum of w_pn exp(z_n - z_p))`` of each clip, (B,), over all ordered pairs of classes.

    The pair (p, n) weighs ``max(0, present_p absent_n - present_n absent_p)`` of `raytag.batch.Targets`; with
    labels y and weights w as they are here that is ``w_p w_n max(0, y_p - y_n)``. A clip without such a pair
    gives 0.

    Of labels that are 0 or 1 the sum is a product, see `of_hard`. Whether they are is looked up where that is free,
    on a CPU; `of_any` has the same values and asks nothing, so no GPU is waited for.
    """
    if labels.device.type == "cpu" and bool(((labels == 0) | (labels == 1)).all()):
        return of_hard(logits, labels, weights)
    return of_any(logits, labels, weights)


def of_hard(logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """`lsep` of labels that are 0 or 1, in O(C): ``softplus(LSE_neg(z + log w) + LSE_pos(log w - z))``."""
    from torch.nn.functional import softplus

    up, down, present, absent = logits, -logits, labels > 0, labels == 0
    if weights is not None:
        known = weights > 0
        share = weights.where(known, 1.0).log()
        up, down, present, absent = up + share, down + share, present & known, absent & known
    # an empty side is -inf, which softplus turns into 0 with a gradient of 0
    below, above = (x.masked_fill(~own, -float("inf")).logsumexp(1) for x, own in ((up, absent), (down, present)))
    return softplus(below + above)


def of_any(logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """`lsep` of labels in [0, 1], in O(C log C).

    Sorted by label, ``max(0, y_p - y_n)`` is the sum of the gaps between neighbours from n to p, so the sum over
    pairs is one over gaps: gap times all ``w exp(z)`` below it times all ``w exp(-z)`` above it. All of that is
    added up as logarithms, the gradient too, which autograd would make NaN where a weight is 0.
    """
    import torch
    from torch.nn.functional import pad, softplus

    with torch.no_grad():
        order = labels.argsort(dim=1)
        z = logits.gather(1, order)
        share = torch.zeros_like(z) if weights is None else weights.gather(1, order).log()
        up, down = share + z, share - z
        gaps = labels.gather(1, order).diff(dim=1).log()  # (B, C - 1), -inf between equal labels
        below, above = up.logcumsumexp(1)[:, :-1], _from_behind(down)[:, 1:]
        value = softplus((gaps + below + above).logsumexp(1))
        # what a class adds as the lower one of its pairs, and as the higher one, over 1 and the whole sum
        lower = pad((up[:, :-1] + _from_behind(gaps + above) - value[:, None]).exp(), (0, 1))
        higher = pad((down[:, 1:] + (gaps + below).logcumsumexp(1) - value[:, None]).exp(), (1, 0))
        gradient = torch.zeros_like(z).scatter(1, order, lower - higher)
    return value + (gradient * (logits - logits.detach())).sum(1)


def _from_behind(x: Tensor) -> Tensor:
    return x.flip(1).logcumsumexp(1).flip(1)


class LSEP(LossOfLabels):
    """Log-sum-exp of pairs, whoever labelled the clip; see `lsep`. The mean over the batch.

    It ranks: only differences between the classes of a clip count, so its probabilities are not calibrated.
    """

    def of_labels(self, logits: Tensor, labels: Tensor, weights: Tensor | None, noisy: Tensor) -> Tensor:
        return lsep(logits, labels, weights).mean()
