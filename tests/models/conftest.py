"""Closed-form weights of the reference arrays, which any implementation of a network can be given.

Rule A: ``0.02 cos i``. Rule B: uniform in +-sqrt(6 / fan_in) from a 32-bit integer hash of i. Both for the
i-th element of every convolution's and linear layer's weight in row-major order; their biases are 0.01.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:  # where torch is not installed, the tests beside this file are skipped one by one
    from torch import nn


def hash32(n: int) -> np.ndarray:
    h = np.arange(n, dtype=np.uint32)
    h ^= h >> np.uint32(16)
    h *= np.uint32(0x7FEB352D)
    h ^= h >> np.uint32(15)
    h *= np.uint32(0x846CA68B)
    return h ^ (h >> np.uint32(16))


@pytest.fixture
def set_weights() -> Callable[[nn.Module, str], None]:
    """Fill the weights of a freshly built network in place by rule A or B, and put it in evaluation mode."""
    import torch
    from torch import nn

    assert hash32(5).tolist() == [0, 1753845952, 3507691905, 1408362973, 3648937681]

    def fill(net: nn.Module, rule: str) -> None:
        for module in net.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                n, fan_in = module.weight.numel(), module.weight[0].numel()
                if rule == "A":
                    flat = 0.02 * np.cos(np.arange(n, dtype=np.float64))
                else:
                    flat = (2 * (hash32(n).astype(np.float64) / 2**32) - 1) * np.sqrt(6 / fan_in)
                with torch.no_grad():
                    module.weight.copy_(torch.tensor(flat.astype(np.float32)).view_as(module.weight))
                    if module.bias is not None:
                        module.bias.fill_(0.01)
        net.eval()

    return fill
