"""The fused kernels against torch's separate operations in float64, and where they step aside."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raytag import losses, models
from raytag.batch import Targets
from raytag.models.blocks import fused, kernels
from raytag.models.blocks.padded import Sound

Operation = Callable[[Tensor, nn.BatchNorm2d, int], Tensor]


def separate(x: Tensor, norm: nn.BatchNorm2d, pool: int) -> Tensor:
    y = F.relu(norm(x))
    return F.avg_pool2d(y, pool) if pool > 1 else y


def norm_of(channels: int) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels)
    with torch.no_grad():
        norm.weight.copy_(torch.linspace(-0.5, 1.5, channels))
        norm.bias.copy_(torch.linspace(0.5, -0.5, channels))
        norm.running_mean.copy_(torch.linspace(0, 1, channels))  # type: ignore[union-attr]
    return norm


def run(operation: Operation, x: Tensor, grad: Tensor, norm: nn.BatchNorm2d, pool: int) -> dict[str, Tensor]:
    x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    y = operation(x, norm, pool)
    y.backward(grad.to(y.dtype))
    results = {"y": y, "x": x.grad, "weight": norm.weight.grad, "bias": norm.bias.grad}
    return results | {f"running {k}": v for k, v in norm.state_dict().items() if k not in ("weight", "bias")}


def error(value: Tensor, reference: Tensor) -> float:
    """Relative to the size of the reference, in the Euclidean norm."""
    return ((value.double() - reference.double()).norm() / reference.double().norm()).item()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("pool", [1, 2])
@pytest.mark.parametrize("shape", [(4, 16, 32, 64), (3, 5, 6, 10), (2, 1, 2, 2), (5, 300, 4, 2), (1, 8, 64, 64)])
def test_equal_to_the_separate_operations(shape: tuple[int, ...], pool: int, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x = (2 * torch.randn(shape) + 3).to(dtype).to(memory_format=torch.channels_last)
    grad = torch.randn(shape[0], shape[1], shape[2] // pool, shape[3] // pool).to(dtype)
    norm = norm_of(shape[1])
    assert fused._applies(x, norm, pool)
    reference = run(separate, x.double(), grad, copy.deepcopy(norm).double(), pool)
    rounding = 4e-3 if dtype == torch.bfloat16 else 1e-6
    for name, value in run(fused.batch_norm_relu, x, grad, norm, pool).items():
        if reference[name].any():
            stored = dtype if name in ("y", "x") else torch.float32
            assert error(value, reference[name]) < (rounding if stored == dtype else 2e-6), name
        assert value.dtype == (torch.int64 if "batches" in name else stored)
    assert norm.num_batches_tracked == 1


@pytest.mark.parametrize("pool", [1, 2])
def test_more_accurate_than_torch_in_bfloat16(pool: int) -> None:
    """The separate operations round to bfloat16 three times, the fused one once."""
    torch.manual_seed(1)
    x = torch.randn(4, 16, 64, 64).bfloat16().to(memory_format=torch.channels_last)
    grad = torch.randn(4, 16, 64 // pool, 64 // pool).bfloat16()
    norm = norm_of(16)
    reference = run(separate, x.double(), grad, copy.deepcopy(norm).double(), pool)
    theirs = run(separate, x, grad, copy.deepcopy(norm), pool)
    ours = run(fused.batch_norm_relu, x, grad, norm, pool)
    for name in ("y", "x", "weight", "bias"):
        assert error(ours[name], reference[name]) < 1.02 * error(theirs[name], reference[name]), name


def test_a_large_mean_costs_no_digits() -> None:
    torch.manual_seed(2)
    x = (1000 + 0.1 * torch.randn(8, 4, 32, 32)).to(memory_format=torch.channels_last)
    norm = nn.BatchNorm2d(4, momentum=1.0)
    y = fused.batch_norm_relu(x, norm)
    exact = x.double().transpose(0, 1).flatten(1)
    torch.testing.assert_close(norm.running_mean, exact.mean(dim=1).float())
    torch.testing.assert_close(norm.running_var, exact.var(dim=1).float())
    # one unit in the last place of 1000 is 6e-5, of which the normalised value is ten times as much
    torch.testing.assert_close(y.double(), separate(x.double(), nn.BatchNorm2d(4).double(), 1), atol=3e-3, rtol=0)


def test_bfloat16_is_rounded_to_nearest_even() -> None:
    rng = np.random.default_rng(3)
    bits = rng.integers(0, 0x7F800000, 1 << 16).astype(np.uint32)  # all finite positive floats
    bits[: 1 << 15] = (bits[: 1 << 15] & 0xFFFF0000) | 0x8000  # ties
    values = bits.view(np.float32)
    values = values[values < 3e38]
    values = np.ascontiguousarray(values[: len(values) // 64 * 64])
    out = np.empty(len(values), np.uint16)
    one, zero = np.ones(64, np.float32), np.zeros(64, np.float32)
    kernels.activate(values[None], None, np.array([len(values)]), one, zero, None, out[None])
    np.testing.assert_array_equal(out, torch.from_numpy(values).bfloat16().view(torch.uint16).numpy())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("pool", [1, 2])
def test_nan_is_passed_on(dtype: torch.dtype, pool: int) -> None:
    x = torch.randn(2, 3, 8, 8).to(dtype).to(memory_format=torch.channels_last)
    x[1, 1, 2, 3] = torch.nan
    norm = nn.BatchNorm2d(3)
    results = run(fused.batch_norm_relu, x, torch.ones(2, 3, 8 // pool, 8 // pool), norm, pool)
    for name in ("y", "x"):
        assert results[name][:, 1].isnan().all(), name
        assert not results[name][:, [0, 2]].isnan().any(), name
    assert norm.running_mean.isnan().tolist() == [False, True, False]  # type: ignore[union-attr]


def test_gradients_of_any_layout_are_taken() -> None:
    torch.manual_seed(4)
    x = torch.randn(2, 6, 8, 8).to(memory_format=torch.channels_last)
    grad = torch.randn(2, 6, 4, 4)
    layouts = [
        grad,
        grad.to(memory_format=torch.channels_last),
        torch.cat([grad, grad], dim=1).to(memory_format=torch.channels_last)[:, :6],
    ]
    results = [run(fused.batch_norm_relu, x, g, norm_of(6), 2)["x"] for g in layouts]
    assert all(torch.equal(results[0], other) for other in results)
    flat = torch.ones(1).expand(2, 6, 4, 4)
    assert torch.equal(
        run(fused.batch_norm_relu, x, flat, norm_of(6), 2)["x"],
        run(fused.batch_norm_relu, x, flat.clone(), norm_of(6), 2)["x"],
    )


@pytest.mark.parametrize("pool", [1, 2])
def test_evaluation_uses_the_running_statistics(pool: int) -> None:
    torch.manual_seed(7)
    x = (3 * torch.randn(2, 5, 6, 8)).to(memory_format=torch.channels_last)
    norm = norm_of(5)
    norm(x)
    norm.eval()
    state = {key: value.clone() for key, value in norm.state_dict().items()}
    expected = separate(x.double(), copy.deepcopy(norm).double(), pool)
    with torch.no_grad():
        y = fused.batch_norm_relu(x, norm, pool)
        one = fused.batch_norm_relu(x[:1, :, :1, :1], norm)
    assert error(y, expected) < 1e-6
    assert one.shape == (1, 5, 1, 1)
    assert all(torch.equal(value, state[key]) for key, value in norm.state_dict().items())
    leaf = x.clone(memory_format=torch.preserve_format).requires_grad_()
    fused.batch_norm_relu(leaf, norm, pool).sum().backward()  # fine-tuning with frozen statistics
    assert leaf.grad is not None
    assert leaf.grad.any()


def test_torch_does_what_the_kernels_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(5)
    last = torch.randn(2, 4, 6, 9).to(memory_format=torch.channels_last)
    untracked = nn.BatchNorm2d(4, track_running_stats=False)
    plain = nn.BatchNorm2d(4, affine=False)
    cases = [
        (last.contiguous(), norm_of(4), 1),
        (last, norm_of(4), 2),  # nine frames
        (last, untracked, 1),
        (last, plain, 1),
        (last.double(), norm_of(4).double(), 1),
    ]
    for x, norm, pool in cases:
        assert not fused._applies(x, norm, pool)
        expected = separate(x, copy.deepcopy(norm), pool)
        assert torch.equal(fused.batch_norm_relu(x, norm, pool), expected)
    assert fused._applies(last, norm_of(4), 1)
    monkeypatch.setattr(fused, "MAX_THREADS", 0)
    assert not fused._applies(last, norm_of(4), 1)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_network_gets_the_same_gradients(monkeypatch: pytest.MonkeyPatch, precision: str) -> None:
    torch.manual_seed(6)
    model = models.build("AuxSkipAttention", num_classes=5, base_size=4, dropout=0.0)
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = torch.randn(8, 3, 32, 64).to(memory_format=torch.channels_last)
    targets, noisy = torch.eye(5).repeat(2, 1)[:8], torch.arange(8) % 2 == 0

    def gradients(net: nn.Module, images: Tensor, autocast: bool) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            outputs = net(images)
        losses.build()(outputs, Targets(targets, noisy)).backward()
        return torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])

    ours = [gradients(copy.deepcopy(model), x, precision == "bf16") for _ in range(2)]
    assert torch.equal(*ours)
    monkeypatch.setattr(fused, "MAX_THREADS", 0)
    exact = gradients(copy.deepcopy(model).double(), x.double(), False)
    theirs = gradients(copy.deepcopy(model), x, precision == "bf16")
    assert error(ours[0], exact) < 1.2 * error(theirs, exact)
    assert error(ours[0], exact) < (0.2 if precision == "bf16" else 1e-4)


def results_of(
    x: Tensor, grad: Tensor, sound: Sound, kind: str, residual: Tensor | None, double: bool = False
) -> dict[str, Tensor]:
    """Of `fused.batch_norm`; in double precision it is torch's operations."""
    channels, wide = x.shape[1], torch.float64 if double else torch.float32
    norm = norm_of(channels).to(wide)
    slopes: Tensor | float = {"none": 1.0, "relu": 0.0}.get(kind, 0.0)
    if kind == "prelu":
        slopes = torch.linspace(-0.5, 0.5, channels, dtype=wide).requires_grad_()
    leaves = [None if v is None else v.detach().to(wide if double else v.dtype, copy=True) for v in (x, residual)]
    for leaf in leaves:
        if leaf is not None:
            leaf.requires_grad_()
    y = fused.batch_norm(leaves[0], norm, sound, slopes, leaves[1])  # type: ignore[arg-type]
    assert (type(y.grad_fn).__name__ == "_NormalisedBackward") is not double
    y.backward(grad.to(y.dtype))
    results = {"y": y, "weight": norm.weight.grad, "bias": norm.bias.grad}
    results |= {name: leaf.grad for name, leaf in zip(("x", "residual"), leaves, strict=True) if leaf is not None}
    if isinstance(slopes, Tensor):
        results["slopes"] = slopes.grad
    return results | {k: v for k, v in norm.state_dict().items() if k not in ("weight", "bias")}  # type: ignore[return-value]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("added", [False, True])
@pytest.mark.parametrize("kind", ["none", "relu", "prelu"])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("shape", [(4, 16, 8, 64), (3, 5, 1, 10), (5, 300, 4, 3)])
def test_all_of_it_is_torchs(
    shape: tuple[int, ...], padded: bool, kind: str, added: bool, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    draws = [torch.randn(shape).to(dtype).to(memory_format=torch.channels_last) for _ in range(3)]
    x, grad, residual = draws[0] * 2 + 3, draws[1], draws[2] if added else None
    lengths = torch.randint(1, shape[3], shape[:1]) if padded else None
    sound = Sound(lengths, shape[3])
    expected = results_of(x, grad, sound, kind, residual, double=True)
    if sound.padding is not None:  # is not read
        for v in (x, *draws[1:]):
            v.masked_fill_(sound.padding, torch.nan)
    found = results_of(x, grad, sound, kind, residual)
    assert found.keys() == expected.keys()
    for name, value in found.items():
        images = name in ("y", "x", "residual")
        assert value.dtype == (dtype if images else torch.int64 if "tracked" in name else torch.float32)
        # the residual's gradient is rounded before that of x is made of it
        rounding = (6e-3 if images else 1e-4) if dtype == torch.bfloat16 else 3e-6
        assert error(value, expected[name]) < rounding, name
        if images and sound.padding is not None:
            assert not value.masked_select(sound.padding).any()


def test_prediction_of_padded_batches_is_torchs() -> None:
    torch.manual_seed(8)
    x, residual = (torch.randn(3, 4, 5, 7).to(memory_format=torch.channels_last) for _ in range(2))
    sound, norm, slopes = Sound(torch.tensor([7, 1, 4]), 7), norm_of(4).eval(), torch.linspace(-1, 1, 4)
    for added in (None, residual):
        expected = fused.batch_norm(x, norm, sound, slopes, added)  # with gradients
        assert "Normalised" not in type(expected.grad_fn).__name__
        with torch.no_grad():
            torch.testing.assert_close(fused.batch_norm(x, norm, sound, slopes, added), expected)


def test_a_batch_of_one_pixel_is_torchs_error() -> None:
    one = torch.randn(1, 4, 1, 1).to(memory_format=torch.channels_last)
    with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
        fused.batch_norm(one, norm_of(4), Sound(None, 1), 0.0, one)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("high", [1, 2])
@pytest.mark.parametrize("scale", [0.7, 20.0])
def test_maximum_pooling_is_torchs_to_the_bit(scale: float, high: int, dtype: torch.dtype) -> None:
    torch.manual_seed(9)
    x = (scale * torch.randn(3, 5, 7, 9)).round().to(dtype).to(memory_format=torch.channels_last)  # many are equal
    x[0, 0, 0, 1] = torch.nan
    x.requires_grad_()
    found, expected = fused.max_pool(x, high, Sound(None, 4)), F.max_pool2d(x, (high, 2))
    assert type(found.grad_fn).__name__ == "_MaxPoolBackward"
    assert torch.equal(found.nan_to_num(1e4), expected.nan_to_num(1e4))
    weight = torch.randn_like(expected)
    weight[0, 0, 0, 0] = 0  # of NaN
    ours, theirs = (torch.autograd.grad(y, x, weight)[0] for y in (found, expected))
    assert torch.equal(ours, theirs)


def test_maximum_pooling_leaves_padding_out() -> None:
    x = torch.randn(2, 3, 4, 9).to(memory_format=torch.channels_last).requires_grad_()
    found = fused.max_pool(x, 2, Sound(torch.tensor([4, 2]), 4))
    assert torch.equal(found[..., :2], F.max_pool2d(x, 2)[..., :2])
    found.sum().backward()
    assert x.grad is not None
    assert [g[..., :8].any(dim=(0, 1)).tolist() for g in x.grad] == [[True] * 8, [True] * 4 + [False] * 4]
    assert not x.grad[..., 8].any()
