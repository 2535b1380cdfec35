"""Networks that tag sound: (B, channels, bands, frames) or (B, samples) -> `raytag.batch.Outputs`.

A new network is a file of its family with its fields, a `raytag.parts.Network` that builds it, and its name in
`MODELS`. What turns waveforms into images stands in `front_ends`.

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
    "CNNBackbone": "raytag.models.resnet:CNNBackbone",
    "FeatureExtractor": "raytag.models.feature_extractor:FeatureExtractor",
    "HierarchicalCNN": "raytag.models.hierarchical:HierarchicalCNN",
    "PlainConv": "raytag.models.plain:PlainConv",
    "ResNet18": "raytag.models.resnet:ResNet18",
    "ResNet34": "raytag.models.resnet:ResNet34",
    "ResNet50": "raytag.models.resnet:ResNet50",
    "RnnAuxSkipAttention": "raytag.models.skip_attention:RnnAuxSkipAttention",
    "SEResNet50": "raytag.models.se_resnet:SEResNet50",
    "SEResNeXt50_32x4d": "raytag.models.se_resnet:SEResNeXt50_32x4d",
    "SimpleAttention": "raytag.models.simple:SimpleAttention",
    "SimpleKaggle": "raytag.models.simple:SimpleKaggle",
    "SkipAttention": "raytag.models.skip_attention:SkipAttention",
    "TwoDimensionalCNN": "raytag.models.hierarchical:TwoDimensionalCNN",
}


def build(name: str, *, num_classes: int, channels: int = 3, **fields: Any) -> nn.Module:
    """The network of that name, with fresh weights drawn from torch's global generator.

    Parameters
    ----------
    name
        A name in `MODELS`, ignoring case and underscores.
    num_classes
        Width of the logits.
    channels
        Of the images.
    fields
        Those of the network.

    Raises
    ------
    ValueError
        Unknown name or field (the nearest are given), or a value out of range.
    """
    return Model(name, **fields).build(num_classes, channels)
