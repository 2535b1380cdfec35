"""What every front end keeps: the shape that it promises, no weights, samples that do not depend on each other."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from raytag.experiment import Features
from raytag.parts import FrontEnd

#: What inputs give: waveforms, images of log-mels.
SHAPES: Sequence[tuple[int, ...]] = ((22050,), (8000,), (3, 128, 256), (3, 64, 31), (1, 40, 50))


def check_front_end(member: FrontEnd, shapes: Sequence[tuple[int, ...]] = SHAPES) -> str:
    """Hold a front end to all that training and prediction rely on.

    Parameters
    ----------
    member : FrontEnd
    shapes : sequence of (samples,) or (channels, bands, frames)
        What is tried. It need not take all of them; what it does not take, its ``shape`` refuses with a
        ``ValueError``.

    Returns
    -------
    str
        What it was tried on, in words.

    Raises
    ------
    AssertionError
        The first promise that is broken.
    """
    taken = []
    for shape in shapes:
        features = Features("Waveforms" if len(shape) == 1 else "LogMels")
        try:
            promised = member.shape(features, shape)
        except ValueError:
            continue
        taken.append(" x ".join(map(str, shape)))
        module = member.build(features)
        if module is None:
            assert promised == shape, f"builds nothing, and promises {promised} of {shape}"
            continue
        _check_module(module, shape, promised)
        if member.takes_lengths:
            _check_lengths(module, shape)
        again = member.build(features)
        x = _samples(2, shape)
        assert again is not None
        assert torch.equal(module(x), again(x)), f"{shape}: another one with the same fields gives other numbers"
    assert taken, f"takes none of {', '.join(map(str, shapes))}"
    return ", ".join(taken)


def _samples(batch: int, shape: tuple[int, ...]) -> Tensor:
    noise = torch.randn(batch, *shape, generator=torch.Generator().manual_seed(0))
    return 0.1 * noise if len(shape) == 1 else 10 * noise - 40


@torch.no_grad()
def _check_module(module: nn.Module, shape: tuple[int, ...], promised: tuple[int, ...]) -> None:
    weights = ", ".join([name for name, _ in module.named_parameters()] + list(module.state_dict()))
    assert not weights, f"{shape}: {weights}: a front end has no weights (buffers: persistent=False)"
    x = _samples(3, shape)
    for samples, kind in ((x, "noise"), (torch.full_like(x, 0.0 if len(shape) == 1 else -80.0), "silence")):
        before = samples.clone()
        found = module(samples)
        what = f"{shape} ({kind})"
        assert found.shape == (3, *promised), f"{what}: gives {tuple(found.shape)}, and promises {(3, *promised)}"
        assert found.dtype == torch.float32, f"{what}: gives {found.dtype}, not float32"
        assert found.isfinite().all(), f"{what}: is not finite"
        assert torch.equal(samples, before), f"{what}: writes into its input"
    for training in (True, False):
        again = module.train(training)(x)
        assert torch.equal(again, module(x)), f"{shape}: gives other numbers the second time"
    for i, sample in enumerate(x):
        alone = module(sample[None])[0]
        torch.testing.assert_close(
            again[i], alone, rtol=1e-4, atol=1e-5, msg=lambda words: f"{shape}: depends on its batch: {words}"
        )


@torch.no_grad()
def _check_lengths(module: nn.Module, shape: tuple[int, ...]) -> None:
    n = shape[-1]
    lengths = torch.tensor([n, n - 1, n // 3, 100, 2, 1]).clamp_max(n)
    x = _samples(len(lengths), shape)
    for sample, length in zip(x, lengths.tolist(), strict=True):
        sample[..., length:] = 0.0
    together, frames = module(x, lengths)
    assert together.shape == module(x).shape, f"{shape}: with lengths it gives another shape"
    assert frames.dtype == torch.int64, f"{shape}: numbers of frames are {frames.dtype}, not int64"
    for i, length in enumerate(lengths.tolist()):
        alone = module(x[i : i + 1, ..., :length])[0]
        assert frames[i] == alone.shape[-1], (
            f"{shape}: {int(frames[i])} frames of {length}, and alone {alone.shape[-1]}"
        )
        found = together[i, ..., : alone.shape[-1]]
        torch.testing.assert_close(
            found, alone, rtol=1e-4, atol=1e-5, msg=lambda words: f"{shape}: depends on its padding: {words}"
        )
