"""Losses for clips with several labels, some of them wrong.

A loss takes logits ``(B, C)``, targets ``(B, C)`` in [0, 1] (mixed samples have soft targets) and a flag a clip,
``noisy (B,)`` bool, that says whose labels were not checked by people. It returns a scalar. Networks with
auxiliary heads return a tuple of logits, main output first; their losses are added with fixed weights.

All arithmetic is float32 (float64 if the logits are), also inside an autocast region: a bfloat16 sigmoid has
two decimal digits. Nothing is selected by index, so that a GPU is never waited for: the samples that a term
does not concern are masked.

A new loss is one file here, a `raytag.parts.Loss`, and its name in `LOSSES`.

Imports torch, when a loss is computed and not before, and the ground floor.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from raytag.experiment import Loss

if TYPE_CHECKING:
    from raytag.losses.base import WithAuxiliaries

#: Every loss that an experiment can name, and where its class stands.
LOSSES: Mapping[str, str] = {
    "OnlyNoisyLSoft": "raytag.losses.noisy:OnlyNoisyLSoft",
    "OnlyNoisyLq": "raytag.losses.noisy:OnlyNoisyLq",
    "BCE": "raytag.losses.bce:BCE",
    "BCEMaxOutlier": "raytag.losses.noisy:BCEMaxOutlier",
}


def build(name: str = Loss.default, **fields: Any) -> WithAuxiliaries:
    """The loss of that name, for single logits and for tuples of them.

    Parameters
    ----------
    name
        A name in `LOSSES`, ignoring case and underscores.
    fields
        Those of the loss. ``aux_weights``, which all have, weighs the outputs of a network with auxiliary heads,
        main output first.

    Returns
    -------
    callable
        ``(logits (B, C) or tuple of such, targets (B, C), noisy (B,) bool) -> scalar``.

    Raises
    ------
    ValueError
        Unknown name or field (the nearest are given), or a value out of range.
    """
    from raytag.losses.base import WithAuxiliaries

    return WithAuxiliaries(Loss(name, **fields))
