"""The contract of a network: what training, prediction and checkpoints rely on."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

Build = Callable[[int], nn.Module]  # number of classes: a fresh network, without dropout
SIZES = ((32, 32), (64, 49), (128, 256))  # mel bands, frames
N_CLASSES = 5


def check_model(build: Build) -> None:
    """Hold a network for images (B, 3, n_mels, frames) to its contract.

    Raises
    ------
    AssertionError
        The network breaks it; the message says how.
    """
    check_logits(build)
    check_seed(build)
    check_batch_mates(build)
    check_gradients(build)
    check_state(build)


def logits_of(net: nn.Module, x: Tensor) -> tuple[Tensor, ...]:
    """The main logits, then those of auxiliary heads."""
    output = net(x)
    return (output,) if isinstance(output, Tensor) else tuple(output)


def check_logits(build: Build) -> None:
    """Finite logits (B, C) from images of any size, whatever the memory format."""
    net = _fresh(build).eval()
    for size in SIZES:
        x = torch.randn(2, 3, *size)
        with torch.no_grad():
            plain = logits_of(net, x)
            other = logits_of(net.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last))  # type: ignore[call-overload]
        for one, two in zip(plain, other, strict=True):
            assert one.shape == (2, N_CLASSES), f"images of {size} give logits {tuple(one.shape)}"
            assert one.isfinite().all(), f"images of {size} give logits that are not finite"
            assert torch.allclose(one, two, rtol=1e-3, atol=1e-4), "channels-last images give other logits"


def check_seed(build: Build) -> None:
    """Initial weights come from torch's global generator, and only from it."""
    one, two, other = _fresh(build).state_dict(), _fresh(build).state_dict(), _fresh(build, seed=1).state_dict()
    assert all(torch.equal(one[key], two[key]) for key in one), "the same seed gives other weights"
    assert any(not torch.equal(one[key], other[key]) for key in one), "another seed gives the same weights"


def check_batch_mates(build: Build) -> None:
    """A prediction does not depend on what else is in the batch."""
    net = _fresh(build)
    x = torch.randn(6, 3, 32, 48)
    net(x)  # training mode: moves running statistics, if there are any
    net.eval()
    with torch.no_grad():
        together = logits_of(net, x)[0]
        alone = torch.cat([logits_of(net, x[i : i + 1])[0] for i in range(len(x))])
    assert torch.allclose(together, alone, rtol=1e-4, atol=1e-5), "predictions depend on the rest of the batch"


def check_gradients(build: Build) -> None:
    """Every parameter learns, in float32 and inside bfloat16 autocast."""
    for enabled in (False, True):
        net = _fresh(build)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            outputs = logits_of(net, torch.randn(4, 3, 32, 32))
        sum(output.float().square().mean() for output in outputs).backward()  # type: ignore[union-attr]
        for name, parameter in net.named_parameters():
            assert parameter.grad is not None, f"no gradient reaches {name}"
            assert parameter.grad.isfinite().all(), f"the gradient of {name} is not finite"
            assert parameter.grad.dtype == parameter.dtype, f"the gradient of {name} is {parameter.grad.dtype}"


def check_state(build: Build) -> None:
    """The state dict is all there is: a network that loads it predicts the same bits."""
    net, x = _fresh(build), torch.randn(4, 3, 32, 32)
    net(x)
    other = _fresh(build, seed=1)
    other.load_state_dict(copy.deepcopy(net.state_dict()))
    with torch.no_grad():
        pairs = zip(logits_of(net.eval(), x), logits_of(other.eval(), x), strict=True)
        assert all(torch.equal(one, two) for one, two in pairs), "a loaded state dict predicts other bits"


def _fresh(build: Build, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return build(N_CLASSES)
