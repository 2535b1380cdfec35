"""The plain network."""

from __future__ import annotations

import pytest
import torch

from raytag import models


def test_blocks_halve_the_image_and_the_classifier_reads_the_embedding() -> None:
    torch.manual_seed(0)
    net = models.build("PlainConv", num_classes=4, channels=1, base_size=4, blocks=3, hidden=8, dropout=0.0).eval()
    x = torch.randn(2, 1, 40, 33)
    with torch.no_grad():
        outputs = net(x)
        assert net.blocks(x).shape == (2, 16, 5, 4)  # type: ignore[operator]
        assert torch.equal(outputs.clip, net.head.layers(outputs.embedding))  # type: ignore[operator, union-attr]
    assert outputs.embedding.shape == (2, 16)
    with pytest.raises(
        ValueError, match="40 bands x 7 frames; this network halves them 3 times and needs at least 8"
    ):
        net(torch.randn(1, 1, 40, 7))
    with pytest.raises(ValueError, match="takes images, and gets waveforms: set front_end"):
        net(torch.randn(1, 4000))
