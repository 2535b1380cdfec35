"""What every loss keeps: a finite scalar at any logits, the right direction, no order, no wait for a GPU."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from raytag import parts
from raytag.batch import Outputs, Targets

#: What a class of `raytag.losses.LOSSES` is.
Loss = Callable[[Outputs, Targets], Tensor]

#: Logits at which a sigmoid has long rounded to 0 or 1.
_EXTREME = (-1e4, -100.0, -17.0, 0.0, 17.0, 100.0, 1e4)


def check_loss(loss: Loss | parts.Loss, *, compares_clips: bool = False) -> None:
    """Hold a loss to all that training relies on.

    Parameters
    ----------
    loss : raytag.parts.Loss or callable
        A member, which is built for as many classes as it is tried on; or as one builds it.
    compares_clips : bool
        Whether what a clip counts may depend on the other clips of the batch; a member says so itself.

    Raises
    ------
    AssertionError
        The first promise that is broken.
    """
    if isinstance(loss, parts.Loss):
        compares_clips, loss = loss.compares_clips, _built(loss)
    _check_scalar(loss)
    _check_extremes(loss)
    _check_precision(loss)
    _check_direction(loss)
    _check_order(loss)
    _check_no_wait(loss)
    if not compares_clips:
        _check_clips_apart(loss)
    _check_evidence(loss)


def _built(member: parts.Loss) -> Loss:
    """A member as one function of any number of classes, on any device."""

    def loss(outputs: Outputs, targets: Targets) -> Tensor:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # its weights, where it has some
            built = member.build(outputs.clip.shape[1])
        if isinstance(built, nn.Module):
            built = built.to(outputs.clip.device)
        return built(outputs, targets)

    return loss


def problem(seed: int = 0, batch: int = 12, classes: int = 7, scale: float = 3) -> tuple[Tensor, Tensor, Tensor]:
    """Random logits float32 (B, C), targets of zeros and ones float32 (B, C), noisy flags bool (B,)."""
    rng = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(batch, classes, generator=rng)
    targets = (torch.rand(batch, classes, generator=rng) < 0.3).float()
    return logits, targets, torch.rand(batch, generator=rng) < 0.5


def value_of(loss: Loss, logits: Tensor, targets: Tensor, noisy: Tensor, absent: Tensor | None = None) -> Tensor:
    """The loss of a network with one classifier."""
    return loss(Outputs(logits), Targets(targets, noisy, absent))


def value_and_grad(
    loss: Loss, logits: Tensor, targets: Tensor, noisy: Tensor, absent: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The same, and its gradient with respect to the logits."""
    logits = logits.detach().clone().requires_grad_()
    value = value_of(loss, logits, targets, noisy, absent)
    assert value.requires_grad, "no gradient flows from the loss to the logits"
    (grad,) = torch.autograd.grad(value, logits)
    return value.detach(), grad


def _flags(noisy: Tensor) -> dict[str, Tensor]:
    return {
        "some clips noisy": noisy,
        "all clips noisy": torch.ones_like(noisy),
        "no clip noisy": torch.zeros_like(noisy),
    }


def _check_scalar(loss: Loss) -> None:
    """A finite scalar, the same one twice, of inputs that stay as they are."""
    for batch, classes in ((12, 7), (1, 7), (5, 1), (1, 1)):
        logits, targets, some = problem(batch=batch, classes=classes)
        for kind, noisy in _flags(some).items():
            for labels in (targets, 0.3 * targets + 0.2):  # mixed samples have soft targets
                what = f"{batch} clips of {classes} classes, {kind}"
                copies = logits.clone(), labels.clone(), noisy.clone()
                value, grad = value_and_grad(loss, logits, labels, noisy)
                assert value.shape == (), f"{what}: the loss has the shape {tuple(value.shape)}, not ()"
                assert value.isfinite(), f"{what}: the loss is {value}"
                assert grad.isfinite().all(), f"{what}: the gradient is not finite"
                assert torch.equal(value, value_and_grad(loss, logits, labels, noisy)[0]), f"{what}: two values"
                kept = (torch.equal(a, b) for a, b in zip(copies, (logits, labels, noisy), strict=True))
                assert all(kept), f"{what}: the loss writes into its arguments"


def _check_extremes(loss: Loss) -> None:
    logits = torch.tensor([_EXTREME]).repeat(4, 1)
    for kind, noisy in _flags(torch.arange(4) % 2 == 0).items():
        for targets in (torch.zeros_like(logits), torch.ones_like(logits)):
            value, grad = value_and_grad(loss, logits, targets, noisy)
            assert value.isfinite(), f"extreme logits, {kind}: the loss is {value}"
            assert grad.isfinite().all(), f"extreme logits, {kind}: the gradient is not finite"
            diverged = logits.clone()
            diverged[1, 2] = torch.nan
            value = value_of(loss, diverged, targets, noisy)
            assert value.isnan(), (
                f"logits with a NaN, {kind}: the loss is {value}, which hides that training diverged"
            )


def _check_precision(loss: Loss) -> None:
    """float32 logits give float32, float64 logits float64, and both agree."""
    logits, targets, some = problem()
    for kind, noisy in _flags(some).items():
        value, grad = value_and_grad(loss, logits, targets, noisy)
        exact, exact_grad = value_and_grad(loss, logits.double(), targets.double(), noisy)
        assert value.dtype == torch.float32, f"{kind}: float32 logits give {value.dtype}"
        assert exact.dtype == torch.float64, f"{kind}: float64 logits give {exact.dtype}"
        _close(value.double(), exact, 1e-5, f"{kind}: the loss in float32 is not that in float64")
        _close(grad.double(), exact_grad, 1e-4, f"{kind}: the gradient in float32 is not that in float64")


def _check_direction(loss: Loss) -> None:
    """Of labels that people checked: a positive's logit is raised and a negative's lowered, if either moves."""
    logits, targets, noisy = problem()
    _, grad = value_and_grad(loss, logits, targets, torch.zeros_like(noisy))
    assert grad.any(), "no clip noisy: the gradient is 0"
    assert (grad[targets == 1] <= 0).all(), "no clip noisy: the loss grows with the logit of a positive label"
    assert (grad[targets == 0] >= 0).all(), "no clip noisy: the loss falls with the logit of a negative label"


def _check_order(loss: Loss) -> None:
    logits, targets, some = problem()
    clips = torch.randperm(logits.shape[0], generator=torch.Generator().manual_seed(1))
    classes = torch.randperm(logits.shape[1], generator=torch.Generator().manual_seed(2))
    for kind, noisy in _flags(some).items():
        value, grad = value_and_grad(loss, logits, targets, noisy)
        moved, moved_grad = value_and_grad(loss, logits[clips], targets[clips], noisy[clips])
        _close(moved, value, 1e-5, f"{kind}: the loss depends on the order of clips")
        _close(moved_grad, grad[clips], 1e-5, f"{kind}: the gradient depends on the order of clips")
        moved, moved_grad = value_and_grad(loss, logits[:, classes], targets[:, classes], noisy)
        _close(moved, value, 1e-5, f"{kind}: the loss depends on the order of classes")
        _close(moved_grad, grad[:, classes], 1e-5, f"{kind}: the gradient depends on the order of classes")


def _check_evidence(loss: Loss) -> None:
    """Known labels may be given as two planes, and an unknown one moves no logit."""
    logits, targets, some = problem()
    soft = 0.3 * targets + 0.2
    unknown = torch.rand(targets.shape, generator=torch.Generator().manual_seed(3)) < 0.4
    for kind, noisy in _flags(some).items():
        for labels in (targets, soft):
            value, grad = value_and_grad(loss, logits, labels, noisy)
            both, both_grad = value_and_grad(loss, logits, labels, noisy, 1 - labels)
            _close(both, value, 1e-6, f"{kind}: the loss of present and absent is not that of the labels")
            _close(both_grad, grad, 1e-6, f"{kind}: the gradient of present and absent is not that of the labels")
            present, absent = labels.masked_fill(unknown, 0), (1 - labels).masked_fill(unknown, 0)
            value, grad = value_and_grad(loss, logits, present, noisy, absent)
            assert value.isfinite(), f"{kind}: with unknown labels the loss is {value}"
            assert not grad[unknown].any(), f"{kind}: an unknown label moves its logit"


def _check_no_wait(loss: Loss) -> None:
    """Tensors without content: whatever needs a number on the CPU (an index, ``if``, ``item``) fails."""
    logits, targets, noisy = (tensor.to("meta") for tensor in problem())
    try:
        value = value_of(loss, logits.requires_grad_(), targets, noisy)
        value.backward()
    except (RuntimeError, NotImplementedError) as error:
        raise AssertionError(f"the loss waits for a GPU, or moves tensors between devices: {error}") from error
    assert value.device.type == "meta", f"the loss leaves the device of its logits for {value.device}"


def _check_clips_apart(loss: Loss) -> None:
    logits, targets, noisy = problem()
    _, before = value_and_grad(loss, logits, targets, noisy)
    flipped = noisy.clone()
    flipped[3] = ~flipped[3]
    _, after = value_and_grad(loss, logits, targets, flipped)
    others = torch.arange(len(noisy)) != 3
    assert torch.equal(before[others], after[others]), (
        "the flag of one clip changes the gradient of others (compares_clips says that it may)"
    )


def _close(found: Tensor, expected: Tensor, tolerance: float, message: str) -> None:
    atol = tolerance * float(expected.abs().max())
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=atol, msg=lambda text: f"{message}: {text}")
