"""What a loss is, and how those of auxiliary heads are added."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Loss(Protocol):
    """Logits (B, C), targets (B, C), noisy (B,) bool -> scalar."""

    def __call__(self, logits: Tensor, targets: Tensor, noisy: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class WithAuxiliaries:
    """A loss that also takes a tuple of logits and adds ``aux_weights[i]`` times the loss of the i-th.

    The first output is the main one. A single tensor has no auxiliary outputs, and its loss is not weighted.
    """

    loss: Loss
    aux_weights: tuple[float, ...]

    def __post_init__(self) -> None:
        check_weights(*self.aux_weights)

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


def _working(tensor: Tensor) -> torch.dtype:
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32


def check_weights(*weights: float) -> None:
    if min(weights) < 0:
        raise ValueError(f"weights of a loss must not be negative: {weights}")
