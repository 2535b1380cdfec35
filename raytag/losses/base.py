"""How the losses of auxiliary heads are added."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from raytag.parts import Loss


@dataclass(frozen=True)
class WithAuxiliaries:
    """A loss that also takes a tuple of logits and adds ``aux_weights[i]`` times the loss of the i-th.

    The first output is the main one. A single tensor has no auxiliary outputs, and its loss is not weighted.
    """

    loss: Loss

    def __call__(self, logits: Tensor | Sequence[Tensor], targets: Tensor, noisy: Tensor) -> Tensor:
        outputs = [logits] if isinstance(logits, Tensor) else list(logits)
        weights = (1.0,) if isinstance(logits, Tensor) else self.loss.aux_weights
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


def _working(tensor: Tensor) -> torch.dtype:
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32
