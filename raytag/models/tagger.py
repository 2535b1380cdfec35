"""What an experiment trains: its front end and its network as one module."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from raytag.batch import Outputs

if TYPE_CHECKING:
    from raytag.experiment import Experiment


class Tagger(nn.Module):
    """A network behind a front end: (B, samples) -> `Outputs`."""

    def __init__(self, front_end: nn.Module, network: nn.Module) -> None:
        super().__init__()
        self.front_end, self.network = front_end, network

    def forward(self, x: Tensor) -> Outputs:
        # it has no weights, and of bfloat16's eight bits quiet bands would keep nothing
        with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
            images = self.front_end(x)
        outputs: Outputs = self.network(images)
        return outputs


def tagger(experiment: Experiment, num_classes: int) -> nn.Module:
    """An experiment's network, its weights drawn from torch's global generator, behind its front end."""
    shape = experiment.sample_shape
    network = experiment.model.build(num_classes, shape[0] if len(shape) == 3 else 1)
    front_end = experiment.front_end.build(experiment.features)
    return network if front_end is None else Tagger(front_end, network)
