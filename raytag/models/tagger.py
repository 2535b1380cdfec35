"""What an experiment trains: its front end and its network as one module."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from raytag.batch import Outputs

if TYPE_CHECKING:
    from raytag.experiment import Experiment


class Tagger(nn.Module):
    """A network behind a front end: (B, samples), and how many of them are sound (B,) -> `Outputs`.

    Parameters
    ----------
    front_end, network
        Modules; the front end has no weights.
    takes_lengths
        Whether both take lengths. Else padding is sound to them, like the silence that it is.
    """

    def __init__(self, front_end: nn.Module, network: nn.Module, takes_lengths: bool = False) -> None:
        super().__init__()
        self.front_end, self.network, self.takes_lengths = front_end, network, takes_lengths

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Outputs:
        padded = lengths is not None and self.takes_lengths
        # it has no weights, and of bfloat16's eight bits quiet bands would keep nothing
        with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
            seen = self.front_end(x, lengths) if padded else (self.front_end(x),)
        outputs: Outputs = self.network(*seen)
        return outputs


def tagger(experiment: Experiment, num_classes: int) -> nn.Module:
    """An experiment's network, its weights drawn from torch's global generator, behind its front end."""
    network = experiment.model.build(num_classes, experiment.model.channels(experiment.sample_shape))
    front_end = experiment.front_end.build(experiment.features)
    if front_end is None:
        return network
    return Tagger(front_end, network, experiment.front_end.takes_lengths and experiment.model.takes_lengths)
