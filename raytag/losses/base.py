"""Losses of labels: of each classifier of a network, for every cell of its logits."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field

from raytag import parts
from raytag.batch import Outputs, Targets

if TYPE_CHECKING:
    from torch import Tensor


class LossOfLabels(parts.Loss):
    """A loss of logits and labels, added up over the classifiers of a network.

    The main classifier's counts ``aux_weights[0]`` where there are others, and 1 where there is none.
    """

    #: of networks with auxiliary classifiers: main output first, then deep to shallow
    aux_weights: tuple[Annotated[float, Field(ge=0)], ...] = (1.0, 0.4, 0.2, 0.1)

    @abstractmethod
    def of_labels(self, logits: Tensor, labels: Tensor, weights: Tensor | None, noisy: Tensor) -> Tensor:
        """A scalar.

        Parameters
        ----------
        logits, labels : (B, C)
            float32 or float64, labels in [0, 1].
        weights : (B, C), optional
            What each label weighs, 0 where it is unknown; None: all are known and weigh 1.
        noisy : bool (B,)
        """

    def build(self, num_classes: int) -> Self:
        return self

    def __call__(self, outputs: Outputs, targets: Targets) -> Tensor:
        """The sum over the classifiers; it is computed in float32 at least.

        Raises
        ------
        ValueError
            The network has more classifiers than ``aux_weights`` has numbers.
        """
        import torch

        heads = (outputs.clip, *outputs.aux)
        head_weights = self.aux_weights if outputs.aux else (1.0,)
        if len(head_weights) < len(heads):
            raise ValueError(
                f"the network has {len(heads)} outputs but loss.aux_weights has {len(head_weights)} numbers; "
                f"give one a output, the main one first"
            )
        kind = outputs.clip.device.type
        with torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext():
            dtype = torch.float64 if outputs.clip.dtype == torch.float64 else torch.float32
            labels, weights = targets.labels(dtype)
            total = outputs.clip.new_zeros((), dtype=dtype)
            for head_weight, logits in zip(head_weights, heads, strict=False):
                total = total + head_weight * self.of_labels(logits.to(dtype), labels, weights, targets.noisy)
        return total


def mean_of_classes(cells: Tensor, weights: Tensor | None) -> Tensor:
    """Of each clip, (B,): the mean over its classes, each as often as its label weighs."""
    return (cells if weights is None else cells * weights).mean(dim=1)
