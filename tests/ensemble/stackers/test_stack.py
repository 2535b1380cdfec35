"""Stacked networks compute what FCNet and autograd compute."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from raytag.ensemble.stackers.case import one_thread
from raytag.ensemble.stackers.stack import Shape, Stack, pack, parameters, unpack

SHAPES = [Shape(40, 7, 16, 4), Shape(12, 3, 8, 1), Shape(5, 1, 4, 16)]


@pytest.fixture(autouse=True)
def alone():
    with one_thread():
        yield


class Fixed(torch.nn.Module):
    """Dropout with given factors."""

    def __init__(self, factors):
        super().__init__()
        self.factors = factors

    def forward(self, x):
        return x * self.factors


def nets_of(shape, n):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        nets = [shape.build() for _ in range(n)]
        for net in nets:  # slopes of their own
            net.layers[1].weight.data.uniform_(0.1, 0.5)
            net.layers[4].weight.data.uniform_(-0.5, 0.9)
    return nets


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("n", [1, 3])
def test_forward_and_gradients_are_those_of_fcnet(shape, n):
    nets = nets_of(shape, n)
    stack = Stack(shape, [pack(shape, net.state_dict()) for net in nets])
    rng = torch.Generator().manual_seed(1)
    x = torch.randn(9, shape.in_channels, generator=rng)
    y = (torch.rand(9, shape.num_classes, generator=rng) > 0.7).float()
    keep = tuple(torch.bernoulli(torch.full((n, 9, h), 0.6), generator=rng) / 0.6 for h in shape.hidden)
    logits = stack.logits(x)
    stack.differentiate(x, y, keep)
    for g, net in enumerate(nets):
        torch.testing.assert_close(logits[g], net(x).detach())
        net.layers[2], net.layers[5] = Fixed(keep[0][g]), Fixed(keep[1][g])
        binary_cross_entropy_with_logits(net(x), y).backward()
        found = unpack(shape, stack.gradients[g])
        for name, parameter in net.named_parameters():
            torch.testing.assert_close(found[name], parameter.grad)


def test_rows_and_state_dicts():
    shape = SHAPES[0]
    (net,) = nets_of(shape, 1)
    row = pack(shape, net.state_dict())
    assert row.shape == (parameters(shape)[1],)
    again = unpack(shape, row)
    assert list(again) == list(net.state_dict())
    assert all(torch.equal(again[name], value) for name, value in net.state_dict().items())
    row.zero_()  # copies
    assert again["layers.0.weight"].any()
