"""Networks that tag images of sound: (B, 3, n_mels, frames) -> logits (B, num_classes), or a tuple of them.

A new network is a file of its family with its fields, a `raytag.parts.Network` that builds it, and its name in
`MODELS`.

Imports torch, when a network is built and not before, and the ground floor.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from raytag.experiment import Model

if TYPE_CHECKING:
    from torch import nn

#: Every network that an experiment can name, and where its fields stand.
MODELS: Mapping[str, str] = {
    "AuxSkipAttention": "raytag.models.skip_attention:AuxSkipAttention",
    "SkipAttention": "raytag.models.skip_attention:SkipAttention",
}


def build(name: str, *, num_classes: int, **fields: Any) -> nn.Module:
    """The network of that name, with fresh weights drawn from torch's global generator.

    Parameters
    ----------
    name
        A name in `MODELS`, ignoring case and underscores.
    num_classes
        Width of the logits.
    fields
        Those of the network.

    Raises
    ------
    ValueError
        Unknown name or field (the nearest are given), or a value out of range.
    """
    return Model(name, **fields).build(num_classes)
