"""The skip-attention networks against reference arrays, and what a trainer relies on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from raytag import models
from raytag.experiment import Model
from raytag.testing.models import logits_of

SetWeights = Callable[[nn.Module, str], None]

NAMES = ("AuxSkipAttention", "RnnAuxSkipAttention", "SkipAttention")
SMALL = {"base_size": 4, "dropout": 0.0, "last_fc": 2}


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(("rule", "tolerance"), [("A", 1e-6), ("B", 1e-3)])
def test_reference_outputs(
    shared: Path, set_weights: SetWeights, rule: str, tolerance: float, channels_last: bool
) -> None:
    arrays = np.load(shared / "golden" / "09_fwd_argus_auxskip.npz")
    net = Model().build(80, 3)
    assert sum(p.numel() for p in net.parameters()) == int(arrays["n_params"])
    set_weights(net, rule)
    x = torch.tensor(arrays["in_x"])
    if channels_last:
        net, x = net.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    with torch.no_grad():
        outputs = logits_of(net(x))
    assert len(outputs) == 4
    for i, output in enumerate(outputs):
        expected = arrays[f"{rule}_out{i}"]
        scale = 1.0 if rule == "A" else float(expected.std())
        assert float(np.abs(output.numpy() - expected).max()) <= tolerance * scale


@pytest.mark.parametrize("name", NAMES)
def test_one_channel_is_enough(name: str) -> None:
    torch.manual_seed(0)
    net = models.build(name, num_classes=5, base_size=1, dropout=0.0, last_filters=2, last_fc=2)
    torch.stack(logits_of(net(torch.randn(4, 3, 32, 32)))).sum().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(16, 16), (17, 100), (64, 31), (128, 256)])
def test_any_image_of_at_least_16(name: str, size: tuple[int, int]) -> None:
    net = models.build(name, num_classes=3, **SMALL).eval()
    x = torch.randn(2, 3, *size)
    with torch.no_grad():
        outputs = logits_of(net(x))
        cut = logits_of(net(x[:, :, : size[0] // 16 * 16, : size[1] // 16 * 16]))
    for output, other in zip(outputs, cut, strict=True):
        assert output.shape == (2, 3)
        assert torch.isfinite(output).all()
        if size[0] % 16 == size[1] % 16 == 0:
            torch.testing.assert_close(output, other)
    with pytest.raises(ValueError, match="15 bands x 40 frames"):
        net(torch.randn(1, 3, 15, 40))


def test_auxiliary_heads_read_their_skip_connection() -> None:
    torch.manual_seed(2)
    net = models.build("AuxSkipAttention", num_classes=3, **SMALL).eval()
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        before = logits_of(net(x))
        net.skip1.conv.weight.add_(1.0)  # type: ignore[operator, index, union-attr]
        after = logits_of(net(x))
    changed = [not torch.equal(a, b) for a, b in zip(before, after, strict=True)]
    assert changed == [True, False, False, True]  # main and, last, aux1


def test_autocast_gives_bfloat16_logits() -> None:
    net = models.build("AuxSkipAttention", num_classes=5, **SMALL)
    with torch.autocast("cpu", torch.bfloat16):
        assert {output.dtype for output in logits_of(net(torch.randn(2, 3, 32, 32)))} == {torch.bfloat16}


def test_convolutional_blocks_start_from_he_initialisation() -> None:
    torch.manual_seed(4)
    net = models.build("SkipAttention", num_classes=5)
    for block, fan_in in ((net.conv1.conv2, 64 * 9), (net.conv4.conv1, 256 * 9)):  # type: ignore[index]
        assert block.weight.std().item() == pytest.approx((2 / fan_in) ** 0.5, rel=0.02)
    assert net.skip3.conv.weight.abs().max().item() <= (256 * 9) ** -0.5  # type: ignore[index, union-attr]


def test_names_and_fields() -> None:
    for name in ("AuxSkipAttention", "aux_skip_attention", "auxskipattention", "SkipAttention"):
        net = Model(name, base_size=2).build(2, 3)
        assert type(net).__name__.lower() == name.replace("_", "").lower()
    with pytest.raises(ValueError, match="no model is called 'SkipAtention'; did you mean SkipAttention"):
        models.build("SkipAtention", num_classes=2)
    with pytest.raises(ValueError, match=r"SkipAttention has no field 'base_sise'; did you mean model\.base_size"):
        models.build("SkipAttention", num_classes=2, base_sise=3)
    with pytest.raises(ValueError, match=r"model\.kernel_size: Input should be 3 or 7"):
        models.build("SkipAttention", num_classes=2, kernel_size=5)
