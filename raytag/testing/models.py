"""What every network keeps: shapes, repeatability, gradients, predictions that no other clip of a batch changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from safetensors.torch import load, save
from torch import Tensor, nn

from raytag import parts
from raytag.batch import Outputs

Build = Callable[[int], nn.Module]

#: Of what is tried: a number of samples, of waveforms; or bands x frames, of images.
Size = tuple[int, ...]
SIZES: Sequence[Size] = ((32, 48), (64, 31), (128, 256))
WAVES: Sequence[Size] = ((8000,), (7919,), (22050,))
CHANNELS = 3  # of images
_CLASSES = 5


def check_network(member: parts.Network) -> str:
    """`check_model` of a network as its fields build it: on waveforms where it takes no images.

    Where it takes neither at the sizes that are tried, its class says at which it does (``tried_on``).

    Returns
    -------
    str
        What it was tried on, in words.

    Raises
    ------
    AssertionError
        The first promise that is broken.
    """
    sizes = member.tried_on or SIZES
    if not member.tried_on:
        with torch.random.fork_rng(devices=[]), _one_thread(), torch.no_grad():
            refused = _refuses(member, SIZES[-1])
            if refused is not None and _refuses(member, WAVES[-1]) is None:
                sizes = WAVES
            elif refused is not None:
                raise refused
    check_model(lambda classes: member.build(classes, _channels(member, sizes[0])), sizes, member.takes_lengths)
    return ("waveforms of {}" if len(sizes[0]) == 1 else "images of {}").format(
        ", ".join(" x ".join(map(str, size)) for size in sizes)
    )


def _refuses(member: parts.Network, size: Size) -> Exception | None:
    """What a network says to samples of that size."""
    try:
        member.build(_CLASSES, _channels(member, size)).eval()(_samples(1, size))
    except Exception as error:
        return error
    return None


def check_model(build: Build, sizes: Sequence[Size] = SIZES, takes_lengths: bool = False) -> None:
    """Hold a network to all that training and prediction rely on.

    Parameters
    ----------
    build : callable
        Number of classes -> the network for three channels, or for waveforms, with fresh weights drawn from torch's
        global generator. A small one.
    sizes : sequence of (bands, frames) or (samples,)
        Of the samples that it has to take.
    takes_lengths : bool
        Whether it takes padded batches and their lengths too.

    Raises
    ------
    AssertionError
        The first promise that is broken.

    Examples
    --------
    >>> check_model(lambda n: models.build("MyNetwork", num_classes=n, dropout=0.0))  # doctest: +SKIP
    """
    with torch.random.fork_rng(devices=[]), _one_thread():
        for size in sizes:
            _check_shapes(build, size)
        images = _samples(6, sizes[0])
        _check_seed(build, images)
        _check_gradients(build, sizes[0])
        _check_state(build, images)
        _check_batch_mates(build, images)
        _check_layout(build, images)
        _check_autocast(build, sizes[0])
        if takes_lengths:
            _check_lengths(build, images)


def logits_of(outputs: Outputs) -> tuple[Tensor, ...]:
    """The logits of all classifiers of a network, the main one first."""
    assert isinstance(outputs, Outputs), f"the network returns {type(outputs).__name__}, not raytag.batch.Outputs"
    return outputs.clip, *outputs.aux


@contextmanager
def _one_thread() -> Iterator[None]:
    """Small images are computed in no time; on a busy machine threads would wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _channels(member: parts.Network, size: Size) -> int:
    return member.channels(size if len(size) == 1 else (CHANNELS, *size))


def _samples(batch: int, size: Size) -> Tensor:
    """Images of three channels, or waveforms."""
    noise = torch.Generator().manual_seed(0)
    if len(size) == 1:
        return 0.1 * torch.randn(batch, *size, generator=noise)
    return torch.randn(batch, CHANNELS, *size, generator=noise)


def _last(x: Tensor) -> Tensor:
    """Images as a training with ``channels_last`` lays them out."""
    return x.to(memory_format=torch.channels_last) if x.ndim == 4 else x


def _fresh(build: Build, seed: int = 0, classes: int = _CLASSES) -> nn.Module:
    torch.manual_seed(seed)
    return build(classes)


def _trained(build: Build, images: Tensor) -> nn.Module:
    """In evaluation mode, with running statistics that are not the initial ones."""
    net = _fresh(build).train()
    with torch.no_grad():
        net(images)
    return net.eval()


@torch.no_grad()
def _check_shapes(build: Build, size: Size) -> None:
    net = _fresh(build)
    for training, batch in ((True, 4), (False, 3), (False, 1)):
        net.train(training)
        samples = _samples(batch, size)
        silence = torch.full_like(samples, -80.0 if samples.ndim == 4 else 0.0)
        for x, kind in ((samples.clone(), "noise"), (silence, "silence")):
            before = x.clone()
            what = f"{batch} samples of {size} ({kind}, {'training' if training else 'evaluation'})"
            outputs = logits_of(net(x))
            for output in outputs:
                assert output.shape == (batch, _CLASSES), (
                    f"{what}: logits are {tuple(output.shape)}, not {(batch, _CLASSES)}"
                )
                assert output.dtype == torch.float32, f"{what}: logits are {output.dtype}, not float32"
                assert output.isfinite().all(), f"{what}: logits are not finite"
            assert torch.equal(x, before), f"{what}: the network writes into its input"


@torch.no_grad()
def _check_seed(build: Build, images: Tensor) -> None:
    first, again, other = (_fresh(build, seed) for seed in (1, 1, 2))
    assert _equal(first.state_dict(), again.state_dict()), "the same seed gives other weights"
    assert not _equal(first.state_dict(), other.state_dict()), "another seed gives the same weights"
    found = []
    for net in (first, again):
        torch.manual_seed(0)  # as before each step of a training: what dropout draws from
        found.append(logits_of(net.train()(images)))
    for a, b in zip(*found, strict=True):
        assert torch.equal(a, b), (
            "the same weights and the same torch.manual_seed give other logits in training mode: draw from torch's "
            "own generator"
        )


def _check_gradients(build: Build, size: Size) -> None:
    """A parameter that no draw moves is not part of the network."""
    still: set[str] | None = None
    for seed in range(3):
        net = _fresh(build, seed).train()
        _loss(net(_samples(8, size))).backward()
        for name, parameter in net.named_parameters():
            assert parameter.grad is not None, f"no gradient reaches {name}"
            assert parameter.grad.isfinite().all(), f"the gradient of {name} is not finite"
        zero = {name for name, parameter in net.named_parameters() if not parameter.grad.any()}  # type: ignore[union-attr]
        still = zero if still is None else still & zero
    assert not still, f"the gradient of {', '.join(sorted(still or ()))} is always 0"


@torch.no_grad()
def _check_state(build: Build, images: Tensor) -> None:
    """Weights go through safetensors, as the run store writes them."""
    net = _trained(build, images)
    state = {name: tensor.contiguous() for name, tensor in net.state_dict().items()}
    other = _fresh(build, seed=3).eval()
    other.load_state_dict(load(save(state)))
    assert _equal(net.state_dict(), other.state_dict()), "stored weights are not those that come back"
    for a, b in zip(logits_of(net(images)), logits_of(other(images)), strict=True):
        assert torch.equal(a, b), "stored weights predict otherwise: the network has a state outside state_dict"


@torch.no_grad()
def _check_batch_mates(build: Build, images: Tensor) -> None:
    net = _trained(build, images)
    state = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    together = logits_of(net(images))
    assert _equal(net.state_dict(), state), "prediction changes the network's state"
    for a, b in zip(together, logits_of(net(images)), strict=True):
        assert torch.equal(a, b), "the same images are predicted otherwise the second time"
    alone = [logits_of(net(image[None])) for image in images]
    for i, output in enumerate(together):
        _close(output, torch.cat([one[i] for one in alone]), "the prediction of a clip depends on its batch")


@torch.no_grad()
def _check_layout(build: Build, images: Tensor) -> None:
    net = _trained(build, images)
    plain = logits_of(net(images))
    last = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for a, b in zip(plain, logits_of(last(_last(images))), strict=True):
        _close(a, b, "the prediction depends on the memory layout")


def _check_autocast(build: Build, size: Size) -> None:
    net = _fresh(build).train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    with torch.autocast("cpu", torch.bfloat16):
        found = net(_last(_samples(8, size)))
    assert all(output.isfinite().all() for output in logits_of(found)), (
        "logits under bfloat16 autocast are not finite"
    )
    _loss(found).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, f"under autocast no gradient reaches {name}"
        assert parameter.grad.dtype == torch.float32, (
            f"under autocast the gradient of {name} is {parameter.grad.dtype}"
        )
        assert parameter.grad.isfinite().all(), f"under autocast the gradient of {name} is not finite"


def _check_lengths(build: Build, images: Tensor) -> None:
    """Of a padded batch; what stands in the padding must not matter."""
    net, frames = _trained(build, images), images.shape[-1]
    lengths = torch.tensor([frames, frames - 1, frames // 2 + 1, frames // 3, 2, 1])
    with torch.no_grad():
        together = logits_of(net(images, lengths))
        alone = [logits_of(net(image[None, ..., :n])) for image, n in zip(images, lengths.tolist(), strict=True)]
    for i, output in enumerate(together):
        expected = torch.cat([one[i] for one in alone])
        _close(output, expected, "the prediction of a clip depends on its padding or on its batch")
    padding = (torch.arange(frames) >= lengths[:, None]).view(len(images), *[1] * (images.ndim - 2), frames)
    for x in (images, images.masked_fill(padding, 3.0)):
        torch.manual_seed(0)
        net = _fresh(build).train()
        torch.manual_seed(0)
        found = net(x, lengths)
        _loss(found).backward()
        now = [*logits_of(found), *(p.grad for p in net.parameters() if p.grad is not None)]
        if x is images:
            before = now
    for a, b in zip(before, now, strict=True):
        _close(a.detach(), b.detach(), "what is learned from a clip depends on its padding")


def _loss(output: Outputs) -> Tensor:
    outputs = logits_of(output)
    targets = torch.eye(_CLASSES).repeat(2, 1)[: len(outputs[0])]
    return torch.stack([F.binary_cross_entropy_with_logits(o.float(), targets) for o in outputs]).sum()


def _equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def _close(a: Tensor, b: Tensor, message: str) -> None:
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5, msg=lambda found: f"{message}: {found}")
