"""torch's optimizers by their own names, each with its own fields and, but for the rate, torch's defaults."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, model_validator

from raytag import parts

if TYPE_CHECKING:
    import torch
    from torch import nn

Share = Annotated[float, Field(ge=0, lt=1)]


class TorchOptimizer(parts.Optimizer):
    """What all have in common."""

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """With the fused kernel, the fastest on CPU and GPU alike, which gives the same bits every time."""
        from torch import optim

        found: torch.optim.Optimizer = getattr(optim, self.name)(parameters, **self.fields(), fused=True)
        return found


class Adam(TorchOptimizer):
    """Weight decay is an L2 term of the gradient."""

    betas: tuple[Share, Share] = (0.9, 0.999)
    eps: float = Field(1e-8, gt=0)
    amsgrad: bool = False


class AdamW(Adam):
    """Weight decay is apart from the gradient."""


class SGD(TorchOptimizer):
    """Gradient descent, with momentum where that is not 0."""

    momentum: float = Field(0.0, ge=0, lt=1)
    nesterov: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0")
        return self


#: Every optimizer that an experiment can name, and where its fields stand.
OPTIMIZERS: Mapping[str, str] = {
    "Adam": "raytag.train.optimizers:Adam",
    "AdamW": "raytag.train.optimizers:AdamW",
    "SGD": "raytag.train.optimizers:SGD",
}
