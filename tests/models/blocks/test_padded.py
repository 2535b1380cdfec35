"""Batch norm over what is sound, against torch's of the sound alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from raytag.models.blocks.fused import batch_norm
from raytag.models.blocks.padded import Sound, heard


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_in_training_statistics_and_gradients_are_those_of_the_sound(layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    lengths = torch.tensor([7, 1, 4])
    x = (3 + 2 * torch.randn(3, 4, 5, 7)).contiguous(memory_format=layout).requires_grad_()
    sound = Sound(lengths, 7)
    ours, theirs = nn.BatchNorm2d(4), nn.BatchNorm2d(4)
    for norm in (ours, theirs):
        nn.init.uniform_(norm.weight, 0.5, 1.5, generator=torch.Generator().manual_seed(1))
        nn.init.uniform_(norm.bias, -1, 1, generator=torch.Generator().manual_seed(2))
    kept = ~sound.padding.expand_as(x)
    found = batch_norm(x, ours, sound)
    pixels = x.transpose(0, 1)[kept.transpose(0, 1)].view(1, 4, -1, 1)
    expected = theirs(pixels)
    weight = torch.randn_like(x)
    (found * weight).masked_fill(sound.padding, 0).sum().backward()
    grad, x.grad = x.grad, None
    (expected * weight.transpose(0, 1)[kept.transpose(0, 1)].view(1, 4, -1, 1)).sum().backward()
    torch.testing.assert_close(found.transpose(0, 1)[kept.transpose(0, 1)], expected.flatten())
    torch.testing.assert_close(grad, x.grad)
    for name in ("weight", "bias"):
        torch.testing.assert_close(getattr(ours, name).grad, getattr(theirs, name).grad)
    for name, buffer in ours.named_buffers():
        torch.testing.assert_close(buffer, theirs.get_buffer(name))
    torch.testing.assert_close(batch_norm(x, ours.eval(), sound), ours(x).masked_fill(sound.padding, 0))


def test_short_clips_are_repeated_alone_and_in_a_batch() -> None:
    x = torch.arange(7.0).expand(2, 1, 1, 7)
    alone, sound = heard(x[:1, ..., :3], None, 8)
    assert sound.lengths is None
    assert alone[0, 0, 0].tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
    batch, sound = heard(x, torch.tensor([3, 6]), 5)
    assert sound.lengths is not None
    assert sound.lengths.tolist() == [5, 6]
    assert batch[~sound.padding.expand_as(batch)].tolist() == [0, 1, 2, 0, 1, 0, 1, 2, 3, 4, 5]
    assert heard(x, torch.tensor([7, 7]), 5)[1].lengths is None
