"""The second-level network against reference arrays."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from raytag.ensemble.stackers.fcnet import FCNet


@pytest.mark.parametrize(("rule", "tolerance"), [("A", 1e-6), ("B", 1e-3)])
def test_reference_outputs(
    shared: Path, set_weights: Callable[[nn.Module, str], None], rule: str, tolerance: float
) -> None:
    arrays = np.load(shared / "golden" / "12_stacker_fcnet.npz")
    net = FCNet(560, 80, base_size=512, reduction_scale=1, dropout=0.1662788540244386)
    assert sum(p.numel() for p in net.parameters()) == int(arrays["n_params"])
    set_weights(net, rule)
    with torch.no_grad():
        output = net(torch.tensor(arrays["in_x"])).numpy()
    expected = arrays[f"{rule}_out"]
    scale = 1.0 if rule == "A" else float(expected.std())
    assert float(np.abs(output - expected).max()) <= tolerance * scale


def test_reference_shapes(shared: Path) -> None:
    entries = json.loads((shared / "golden" / "models.json").read_text())
    (entry,) = [e for e in entries if e["cls"] == "FCNet"]
    net = FCNet(560, 80, base_size=512, reduction_scale=1)
    shapes = sorted(list(p.shape) for p in net.parameters())
    assert shapes == entry["param_shapes_sorted"]


@pytest.mark.parametrize(("reduction_scale", "count"), [(16, 1_180_101), (2, 1_454_746), (1, 1_768_626)])
def test_published_parameter_counts(reduction_scale: int, count: int) -> None:
    net = FCNet(560, 80, base_size=512, reduction_scale=reduction_scale)
    assert sum(p.numel() for p in net.parameters()) == count


def test_small_inputs_and_gradients() -> None:
    net = FCNet(6, 3, base_size=4, reduction_scale=16, dropout=0.5)
    net(torch.rand(5, 6)).sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())
