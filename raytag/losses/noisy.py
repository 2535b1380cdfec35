"""Losses that trust clips less whose labels were not checked by people.

References
----------
Reed et al.: Training deep neural networks on noisy labels with bootstrapping. ICLR workshop 2015 (soft
bootstrapping). Zhang, Sabuncu: Generalized cross entropy loss for training deep neural networks with noisy
labels. NeurIPS 2018 (Lq). Fonseca, Font, Serra: Model-agnostic approaches to handling noisy labels when
training sound event classifiers. WASPAA 2019 (discarding outliers). The weights and the combination of clean
and noisy clips are argus-freesound's, first place of Freesound Audio Tagging 2019.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field, model_validator

from raytag.losses.base import LossOfLabels, mean_of_classes
from raytag.losses.bce import bce
from raytag.space.distributions import Distribution, uniform

if TYPE_CHECKING:
    from torch import Tensor

#: Floor of the probability in LSoft, and what Lq adds before it takes a power.
_EPSILON = 1e-7
#: What log(1 - p) is in LSoft where p has rounded to 1.
_LOG_ZERO = -100.0


def lsoft(logits: Tensor, labels: Tensor, beta: float, weights: Tensor | None = None) -> Tensor:
    """Soft bootstrapping of each clip, (B,): cross-entropy with a mixture of the label and the prediction.

    ``p = clamp(sigmoid(z), 1e-7, 1)``; the target is ``beta * y + (1 - beta) * p``, through which no gradient
    flows; the loss is ``-(t log p + (1 - t) log(1 - p))`` averaged over classes, with log 0 = -100. The floors
    are the published system's: a float32 logit beyond about 16 from zero is on them and gets no gradient.
    """
    # Not F.binary_cross_entropy, which turns the NaN of a diverged network into a failed assertion; on a GPU
    # that ends the process, and with it the trials that share it.
    p = logits.sigmoid().clamp(_EPSILON, 1.0)
    mixed = beta * labels + (1 - beta) * p.detach()
    certain = p == 1
    log_rest = (-p.masked_fill(certain, 0.0)).log1p().masked_fill(certain, _LOG_ZERO)
    return -mean_of_classes(mixed * p.log() + (1 - mixed) * log_rest, weights)


def lq(logits: Tensor, labels: Tensor, q: float, weights: Tensor | None = None) -> Tensor:
    """Lq loss of each clip, (B,): ``(1 - (p y + 1e-7)^q) / q`` averaged over classes, p = sigmoid(z).

    Between the mean absolute error (q = 1), which shrugs at wrong labels, and cross-entropy (q -> 0). Only
    positive labels give a gradient; each negative adds the constant ``(1 - 1e-7^q) / q``.
    """
    p = logits.sigmoid()
    return mean_of_classes((1 - (p * labels + _EPSILON) ** q) / q, weights)


class OnlyNoisy(LossOfLabels):
    """A loss of noisy clips, binary cross-entropy on curated ones.

    Each clip's loss is multiplied by the weight of its kind, then averaged over the batch, so a kind counts by
    its share of the batch. With the default weights the loss is about half of a cross-entropy.
    """

    noisy_weight: float = Field(0.5, ge=0)
    curated_weight: float | None = Field(0.5, ge=0)  # None: what noisy_weight leaves of 1

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.curated_weight is None and self.noisy_weight > 1:
            raise ValueError(f"noisy_weight {self.noisy_weight:g} leaves nothing of 1 for curated_weight=none")
        return self

    @abstractmethod
    def of_noisy(self, logits: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
        """Of each clip, (B,)."""

    def of_labels(self, logits: Tensor, labels: Tensor, weights: Tensor | None, noisy: Tensor) -> Tensor:
        curated_weight = 1 - self.noisy_weight if self.curated_weight is None else self.curated_weight
        robust = self.noisy_weight * self.of_noisy(logits, labels, weights)
        return robust.where(noisy, curated_weight * bce(logits, labels, weights)).mean()


class OnlyNoisyLSoft(OnlyNoisy):
    """Soft bootstrapping on noisy clips, binary cross-entropy on curated ones; weights as in `OnlyNoisy`."""

    beta: float = Field(0.7, ge=0, le=1)  # weight of the given label; the rest is the prediction's

    def of_noisy(self, logits: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
        return lsoft(logits, labels, self.beta, weights)


class OnlyNoisyLq(OnlyNoisy):
    """Lq on noisy clips, binary cross-entropy on curated ones; weights as in `OnlyNoisy`."""

    worth_varying: ClassVar[Mapping[str, Distribution]] = {"q": uniform(0.3, 0.8)}

    q: float = Field(0.5, gt=0, le=1)  # exponent

    def of_noisy(self, logits: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
        return lq(logits, labels, self.q, weights)


class BCEMaxOutlier(LossOfLabels):
    """Binary cross-entropy without the noisy clips whose loss exceeds ``alpha`` times the batch's largest.

    The mean is over the clips that are left. A batch of noisy clips that are all about equally bad would leave
    none (the published system returns NaN there): no clip stands out, so all of them are kept.
    """

    compares_clips: ClassVar[bool] = True
    worth_varying: ClassVar[Mapping[str, Distribution]] = {"alpha": uniform(0.6, 0.95)}

    alpha: float = Field(0.8, gt=0, le=1)

    def of_labels(self, logits: Tensor, labels: Tensor, weights: Tensor | None, noisy: Tensor) -> Tensor:
        clips = bce(logits, labels, weights)
        kept = ~(noisy & (clips.detach() > self.alpha * clips.detach().max()))
        kept = kept | ~kept.any()
        return clips.where(kept, 0).sum() / kept.sum()
