"""Every network of the table keeps the contract, and the contract finds networks that do not."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from raytag import models
from raytag.testing.models import check_model


@pytest.mark.parametrize("base_size", [1, 4, 16])
@pytest.mark.parametrize("name", models.MODELS)
def test_it_keeps_the_contract(name, base_size):
    fields = {"base_size": base_size, "dropout": 0.0, "last_filters": 2, "last_fc": 2}
    check_model(lambda classes: models.build(name, num_classes=classes, **fields))


class Plain(nn.Module):
    """What the others break."""

    def __init__(self, num_classes):
        super().__init__()
        self.linear = nn.Linear(3, num_classes)
        self.offset = 0.0

    def forward(self, x):
        return self.linear(x.mean(dim=(2, 3))) + self.offset


class OneClassTooMany(Plain):
    def __init__(self, num_classes):
        super().__init__(num_classes + 1)


class Infinite(Plain):
    def forward(self, x):
        return super().forward(x) / 0


class Unseeded(Plain):
    def __init__(self, num_classes):
        super().__init__(num_classes)
        self.linear.weight.data = torch.randn(num_classes, 3, generator=torch.Generator().manual_seed(5))
        self.linear.bias.data.zero_()


class Crowded(Plain):
    def forward(self, x):
        return super().forward(x) - x.mean()


class Idle(Plain):
    def __init__(self, num_classes):
        super().__init__(num_classes)
        self.idle = nn.Linear(2, 2)


class Forgetful(Plain):
    def forward(self, x):
        self.offset += float(self.training) * float(x.mean())
        return super().forward(x)


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (OneClassTooMany, "logits"),
        (Infinite, "not finite"),
        (Unseeded, "another seed gives the same"),
        (Crowded, "rest of the batch"),
        (Idle, "no gradient reaches idle"),
        (Forgetful, "predicts other bits"),
    ],
)
def test_it_finds_a_network_that_breaks_it(network, words):
    check_model(Plain)
    with pytest.raises(AssertionError, match=words):
        check_model(network)
