"""Second-level networks, which read the first level's probabilities."""

from __future__ import annotations

from torch import Tensor, nn


class FCNet(nn.Module):
    """Gated multilayer perceptron, the stacker of argus-freesound (Freesound Audio Tagging 2019).

    A squeeze-and-excitation gate scales each input in (0, 1); three linear layers follow, with PReLU and dropout
    between them: in_channels -> 2 base_size -> base_size -> num_classes.

    Parameters
    ----------
    in_channels
        Width of the input: number of first-level experiments times number of classes.
    num_classes
        Width of the logits.
    base_size
        Units of the last hidden layer.
    reduction_scale
        The gate's hidden layer has ``in_channels // reduction_scale`` units, at least one.
    dropout
        Probability, after either hidden layer.

    Notes
    -----
    Input (B, in_channels) probabilities, float32; output logits (B, num_classes).
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        base_size: int = 512,
        reduction_scale: int = 16,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        hidden = max(1, in_channels // reduction_scale)
        self.gate = nn.Sequential(
            nn.Linear(in_channels, hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, in_channels),
            nn.Sigmoid(),
        )
        self.layers = nn.Sequential(
            nn.Linear(in_channels, 2 * base_size),
            nn.PReLU(),
            nn.Dropout(dropout),
            nn.Linear(2 * base_size, base_size),
            nn.PReLU(),
            nn.Dropout(dropout),
            nn.Linear(base_size, num_classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x * self.gate(x))
