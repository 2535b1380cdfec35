"""From feature maps to logits."""

from __future__ import annotations

from torch import Tensor, nn

from raytag.models.blocks.attention import pixels


class Head(nn.Module):
    """Global average pooling and a two-layer classifier. (B, in_channels, F, T) -> logits (B, num_classes)."""

    def __init__(self, in_channels: int, hidden: int, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(in_channels, hidden),
            nn.PReLU(),
            nn.BatchNorm1d(hidden),
            nn.Dropout(dropout / 2),
            nn.Linear(hidden, num_classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(pixels(x).mean(dim=1))


class NormalisedHead(nn.Sequential):
    """A classifier of two layers, batch norm before each. (B, in_features) -> logits (B, num_classes)."""

    def __init__(self, in_features: int, num_classes: int, dropout: float) -> None:
        super().__init__(
            nn.BatchNorm1d(in_features),
            nn.Linear(in_features, in_features),
            nn.BatchNorm1d(in_features),
            nn.PReLU(in_features),
            nn.Dropout(dropout),
            nn.Linear(in_features, num_classes),
        )
