"""Losses for clips with several labels, some of them wrong.

A loss takes logits ``(B, C)``, targets ``(B, C)`` in [0, 1] (mixed samples have soft targets) and a flag a clip,
``noisy (B,)`` bool, that says whose labels were not checked by people. It returns a scalar. Networks with
auxiliary heads return a tuple of logits, main output first; their losses are added with fixed weights.

All arithmetic is float32 (float64 if the logits are), also inside an autocast region: a bfloat16 sigmoid has
two decimal digits. Nothing is selected by index, so that a GPU is never waited for: the samples that a term
does not concern are masked.

A new loss is one class here and its name in `LOSSES`.

References
----------
Reed et al.: Training deep neural networks on noisy labels with bootstrapping. ICLR workshop 2015 (soft
bootstrapping). Zhang, Sabuncu: Generalized cross entropy loss for training deep neural networks with noisy
labels. NeurIPS 2018 (Lq). Fonseca, Font, Serra: Model-agnostic approaches to handling noisy labels when
training sound event classifiers. WASPAA 2019 (discarding outliers). The weights and the combination of clean
and noisy clips are argus-freesound's, first place of Freesound Audio Tagging 2019.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from raytag import registry

#: Floor of the probability in LSoft, and what Lq adds before it takes a power.
_EPSILON = 1e-7
#: What log(1 - p) is in LSoft where p has rounded to 1.
_LOG_ZERO = -100.0


class Loss(Protocol):
    """Logits (B, C), targets (B, C), noisy (B,) bool -> scalar."""

    def __call__(self, logits: Tensor, targets: Tensor, noisy: Tensor) -> Tensor: ...


def bce(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy of each clip, (B,): the mean over its classes."""
    return F.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(dim=1)


def lsoft(logits: Tensor, targets: Tensor, beta: float) -> Tensor:
    """Soft bootstrapping of each clip, (B,): cross-entropy with a mixture of the label and the prediction.

    ``p = clamp(sigmoid(z), 1e-7, 1)``; the target is ``beta * y + (1 - beta) * p``, through which no gradient
    flows; the loss is ``-(t log p + (1 - t) log(1 - p))`` averaged over classes, with log 0 = -100. The floors
    are the published system's: a float32 logit beyond about 16 from zero is on them and gets no gradient.
    """
    # Not F.binary_cross_entropy, which turns the NaN of a diverged network into a failed assertion; on a GPU
    # that ends the process, and with it the trials that share it.
    p = torch.sigmoid(logits).clamp(_EPSILON, 1.0)
    mixed = beta * targets + (1 - beta) * p.detach()
    certain = p == 1
    log_rest = torch.log1p(-p.masked_fill(certain, 0.0)).masked_fill(certain, _LOG_ZERO)
    return -(mixed * torch.log(p) + (1 - mixed) * log_rest).mean(dim=1)


def lq(logits: Tensor, targets: Tensor, q: float) -> Tensor:
    """Lq loss of each clip, (B,): ``(1 - (p y + 1e-7)^q) / q`` averaged over classes, p = sigmoid(z).

    Between the mean absolute error (q = 1), which shrugs at wrong labels, and cross-entropy (q -> 0). Only
    positive labels give a gradient; each negative adds the constant ``(1 - 1e-7^q) / q``.
    """
    p = torch.sigmoid(logits)
    return ((1 - (p * targets + _EPSILON) ** q) / q).mean(dim=1)


@dataclass(frozen=True)
class BCE:
    """Binary cross-entropy, whoever labelled the clip."""

    def __call__(self, logits: Tensor, targets: Tensor, noisy: Tensor) -> Tensor:
        return bce(logits, targets).mean()


@dataclass(frozen=True)
class OnlyNoisyLSoft:
    """Soft bootstrapping on noisy clips, binary cross-entropy on curated ones.

    Each clip's loss is multiplied by the weight of its kind, then averaged over the batch, so a kind counts by
    its share of the batch. With the default weights the loss is about half of a cross-entropy.
    """

    beta: float = 0.7  # weight of the given label; the rest is the prediction's
    noisy_weight: float = 0.5
    curated_weight: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.beta <= 1:
            raise ValueError(f"beta is a share in [0, 1], not {self.beta}")
        _check_weights(self.noisy_weight, self.curated_weight)

    def __call__(self, logits: Tensor, targets: Tensor, noisy: Tensor) -> Tensor:
        soft = self.noisy_weight * lsoft(logits, targets, self.beta)
        return torch.where(noisy, soft, self.curated_weight * bce(logits, targets)).mean()


@dataclass(frozen=True)
class OnlyNoisyLq:
    """Lq on noisy clips, binary cross-entropy on curated ones; weights as in `OnlyNoisyLSoft`."""

    q: float = 0.5
    noisy_weight: float = 0.5
    curated_weight: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.q <= 1:
            raise ValueError(f"q is an exponent in (0, 1], not {self.q}")
        _check_weights(self.noisy_weight, self.curated_weight)

    def __call__(self, logits: Tensor, targets: Tensor, noisy: Tensor) -> Tensor:
        robust = self.noisy_weight * lq(logits, targets, self.q)
        return torch.where(noisy, robust, self.curated_weight * bce(logits, targets)).mean()


@dataclass(frozen=True)
class BCEMaxOutlier:
    """Binary cross-entropy without the noisy clips whose loss exceeds ``alpha`` times the batch's largest.

    The mean is over the clips that are left. A batch of noisy clips that are all about equally bad would leave
    none (the published system returns NaN there): no clip stands out, so all of them are kept.
    """

    alpha: float = 0.8

    def __post_init__(self) -> None:
        if not 0 < self.alpha <= 1:
            raise ValueError(f"alpha is a share in (0, 1], not {self.alpha}")

    def __call__(self, logits: Tensor, targets: Tensor, noisy: Tensor) -> Tensor:
        clips = bce(logits, targets)
        kept = ~(noisy & (clips.detach() > self.alpha * clips.detach().max()))
        kept = kept | ~kept.any()
        return torch.where(kept, clips, 0).sum() / kept.sum()


#: Every loss that an experiment can name.
LOSSES: Mapping[str, type[Loss]] = {
    "OnlyNoisyLSoft": OnlyNoisyLSoft,
    "OnlyNoisyLq": OnlyNoisyLq,
    "BCE": BCE,
    "BCEMaxOutlier": BCEMaxOutlier,
}


@dataclass(frozen=True)
class WithAuxiliaries:
    """A loss that also takes a tuple of logits and adds ``aux_weights[i]`` times the loss of the i-th.

    The first output is the main one. A single tensor has no auxiliary outputs, and its loss is not weighted.
    """

    loss: Loss
    aux_weights: tuple[float, ...]

    def __post_init__(self) -> None:
        _check_weights(*self.aux_weights)

    def __call__(self, logits: Tensor | Sequence[Tensor], targets: Tensor, noisy: Tensor) -> Tensor:
        outputs = [logits] if isinstance(logits, Tensor) else list(logits)
        weights = (1.0,) if isinstance(logits, Tensor) else self.aux_weights
        if len(weights) < len(outputs):
            raise ValueError(
                f"the network has {len(outputs)} outputs but loss.aux_weights has {len(weights)} numbers; "
                f"give one a output, the main one first"
            )
        with torch.autocast(outputs[0].device.type, enabled=False):
            total = outputs[0].new_zeros((), dtype=_working(outputs[0]))
            for weight, output in zip(weights, outputs, strict=False):
                dtype = _working(output)
                total = total + weight * self.loss(output.to(dtype), targets.to(dtype), noisy)
        return total


def build(name: str = "OnlyNoisyLSoft", **fields: Any) -> WithAuxiliaries:
    """The loss of that name, for single logits and for tuples of them.

    Parameters
    ----------
    name
        A name in `LOSSES`, ignoring case and underscores.
    fields
        Those of `raytag.experiment.Loss` (a loss takes what it needs of them). ``aux_weights``
        weighs the outputs of a network with auxiliary heads, main output first; default (1, 0.4, 0.2, 0.1).

    Returns
    -------
    callable
        ``(logits (B, C) or tuple of such, targets (B, C), noisy (B,) bool) -> scalar``.

    Raises
    ------
    ValueError
        Unknown name or field (the nearest are given), or a value out of range.
    """
    aux_weights = tuple(fields.get("aux_weights", (1.0, 0.4, 0.2, 0.1)))
    return WithAuxiliaries(registry.build("loss", LOSSES, name, fields, also=["aux_weights"]), aux_weights)


def _working(tensor: Tensor) -> torch.dtype:
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32


def _check_weights(*weights: float) -> None:
    if min(weights) < 0:
        raise ValueError(f"weights of a loss must not be negative: {weights}")
