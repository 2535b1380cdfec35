"""Residual blocks against their definitions."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from raytag.models.blocks.residual import (
    BasicBlock,
    Bottleneck,
    Pointwise,
    Shortcut,
    SqueezeExcitation,
    stages,
    widened,
)


def test_squeeze_and_excitation_scales_channels_by_a_gate_of_their_means() -> None:
    torch.manual_seed(0)
    block, x = SqueezeExcitation(32, ratio=8), torch.randn(2, 32, 5, 7)
    gate = torch.sigmoid(block.excite(F.relu(block.squeeze(x.mean((2, 3), keepdim=True)))))
    torch.testing.assert_close(block(x), x * gate)
    assert SqueezeExcitation(8).squeeze.out_channels == 1


def test_a_bottleneck_scales_its_result_before_it_adds_its_input() -> None:
    torch.manual_seed(0)
    block, x = Bottleneck(16, 4, squeeze=True).eval(), torch.randn(2, 16, 6, 5)
    y = F.relu(block.norm1(block.conv1(x)))
    y = block.norm3(block.conv3(F.relu(block.norm2(block.conv2(y)))))
    gate = torch.sigmoid(block.squeeze.excite(F.relu(block.squeeze.squeeze(y.mean((2, 3), keepdim=True)))))  # type: ignore[operator, union-attr]
    assert isinstance(block.shortcut, nn.Identity)
    torch.testing.assert_close(block(x), F.relu(y * gate + x))


@pytest.mark.parametrize(("early", "first", "second"), [(False, 1, 2), (True, 2, 1)])
def test_the_stride_of_a_bottleneck_is_where_it_is_asked_for(early: bool, first: int, second: int) -> None:
    block = Bottleneck(8, 4, 2, middle=6, groups=3, early_stride=early)
    assert (block.conv1.stride[0], block.conv2.stride[0], block.conv3.stride[0]) == (first, second, 1)
    assert block.conv2.weight.shape == (6, 2, 3, 3)
    assert isinstance(block.shortcut, Shortcut)
    assert block(torch.randn(2, 8, 9, 6)).shape == (2, 16, 5, 3)


@pytest.mark.parametrize(("block", "made"), [(BasicBlock, 1), (Bottleneck, 4)])
def test_all_stages_but_the_first_halve_the_image(block: type[BasicBlock | Bottleneck], made: int) -> None:
    net = stages(block, 4, (4, 6, 8), (1, 2, 1))
    sizes, x = [], torch.randn(2, 4, 16, 9)
    for stage in net:
        x = stage(x)
        sizes.append(tuple(x.shape[1:]))
    assert sizes == [(4 * made, 16, 9), (6 * made, 8, 5), (8 * made, 4, 3)]
    assert [len(stage) for stage in net] == [1, 2, 1]  # type: ignore[arg-type]


def test_a_width_is_never_less_than_one_channel() -> None:
    assert [widened(64, width) for width in (1.0, 0.75, 0.001)] == [64, 48, 1]


@pytest.mark.parametrize("in_channels", [1, 3, 4, 7, 8, 12, 16, 20])
def test_strided_convolutions_of_few_channels_have_the_right_gradients(in_channels):
    """oneDNN's own write beyond their buffers: gradients were wrong, or the process died."""
    torch.manual_seed(0)
    layer = Pointwise(in_channels, 8, 2).to(memory_format=torch.channels_last)
    x = torch.randn(4, in_channels, 16, 16).to(memory_format=torch.channels_last).requires_grad_()
    weight, there = layer.weight.detach().double().requires_grad_(), x.detach().double().requires_grad_()
    expected = torch.einsum("bift,oi->boft", there[:, :, ::2, ::2], weight[:, :, 0, 0])
    upstream = torch.randn(expected.shape).to(memory_format=torch.channels_last)
    (expected * upstream).sum().backward()
    for _ in range(3):
        layer.zero_grad()
        x.grad = None
        (layer(x) * upstream).sum().backward()
        torch.testing.assert_close(layer.weight.grad.double(), weight.grad, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(x.grad.double(), there.grad, rtol=1e-4, atol=1e-4)
