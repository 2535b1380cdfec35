"""Losses for clips with several labels, some of them wrong, some unknown.

A loss takes what a network returns (`raytag.batch.Outputs`) and what is known of the clips
(`raytag.batch.Targets`), and returns a scalar.

All arithmetic is float32 (float64 if the logits are), also inside an autocast region: a bfloat16 sigmoid has
two decimal digits. Nothing is selected by index, so that a GPU is never waited for: the samples that a term
does not concern are masked.

A new loss is one file here, a `raytag.losses.base.LossOfLabels` or, where it reads more of a network than its
logits or has weights of its own, a `raytag.parts.Loss`, and its name in `LOSSES`.

Imports torch, when a loss is computed and not before, and the ground floor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from raytag.experiment import Loss

if TYPE_CHECKING:
    from torch import Tensor

    from raytag.batch import Outputs, Targets

#: Every loss that an experiment can name, and where its class stands.
LOSSES: Mapping[str, str] = {
    "OnlyNoisyLSoft": "raytag.losses.noisy:OnlyNoisyLSoft",
    "OnlyNoisyLq": "raytag.losses.noisy:OnlyNoisyLq",
    "BCE": "raytag.losses.bce:BCE",
    "BCEMaxOutlier": "raytag.losses.noisy:BCEMaxOutlier",
    "Focal": "raytag.losses.bce:Focal",
    "LSEP": "raytag.losses.lsep:LSEP",
}


def build(name: str = Loss.default, *, num_classes: int = 1, **fields: Any) -> Callable[[Outputs, Targets], Tensor]:
    """The loss of that name: ``(Outputs, Targets) -> scalar``.

    Parameters
    ----------
    name
        A name in `LOSSES`, ignoring case and underscores.
    num_classes
        Width of the logits, for losses with weights.
    fields
        Those of the loss.

    Raises
    ------
    ValueError
        Unknown name or field (the nearest are given), or a value out of range.
    """
    return Loss(name, **fields).build(num_classes)
