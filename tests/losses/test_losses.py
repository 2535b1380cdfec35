"""Losses against reference arrays, against float64 formulas, and at their edges."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from raytag import losses
from raytag.experiment import Loss
from raytag.losses.bce import bce
from raytag.losses.noisy import lq, lsoft

PUBLISHED: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "lsoft": lambda z, y, noisy: lsoft(z, y, 0.7).mean(),
    "lq": lambda z, y, noisy: lq(z, y, 0.5).mean(),
    "only_noisy_lsoft": losses.build("OnlyNoisyLSoft", beta=0.7, noisy_weight=0.5, curated_weight=0.5),
    "only_noisy_lq": losses.build("OnlyNoisyLq", q=0.5, noisy_weight=0.5, curated_weight=0.5),
    "bce_max_outlier": losses.build("BCEMaxOutlier", alpha=0.8),
}


def problem(seed: int = 0, batch: int = 12, classes: int = 7, scale: float = 3) -> tuple[Tensor, Tensor, Tensor]:
    rng = np.random.default_rng(seed)
    logits = torch.tensor(scale * rng.standard_normal((batch, classes)), dtype=torch.float32)
    targets = torch.tensor(rng.random((batch, classes)) < 0.3, dtype=torch.float32)
    return logits, targets, torch.tensor(rng.random(batch) < 0.5)


def value_and_grad(loss: Callable[..., Tensor], logits: Tensor, *rest: Tensor) -> tuple[float, np.ndarray]:
    logits = logits.clone().requires_grad_()
    value = loss(logits, *rest)
    value.backward()
    assert logits.grad is not None
    return value.item(), logits.grad.numpy()


@pytest.mark.parametrize("mask", ["mix", "allcur", "allnoisy"])
@pytest.mark.parametrize("prefix", ["", "soft_", "sat_"])
@pytest.mark.parametrize("name", PUBLISHED)
def test_reference_arrays(shared: Path, name: str, prefix: str, mask: str) -> None:
    arrays = np.load(shared / "golden" / "07_losses_argus.npz")
    logits = torch.tensor(arrays["in_sat_logits" if prefix == "sat_" else "in_logits"])
    targets = {"": "in_targets", "soft_": "in_soft_targets", "sat_": "in_sat_targets"}[prefix]
    noisy = torch.tensor(arrays["in_noisy"]).bool()
    noisy = {"mix": noisy, "allcur": torch.zeros_like(noisy), "allnoisy": torch.ones_like(noisy)}[mask]
    value, grad = value_and_grad(PUBLISHED[name], logits, torch.tensor(arrays[targets]), noisy)

    key = f"{prefix}{name}" if name in ("lsoft", "lq") else f"{prefix}{name}_{mask}"
    expected = float(arrays[f"{key}_value"])
    if np.isnan(expected):  # every clip dropped: raytag keeps them all instead
        assert key == "bce_max_outlier_allnoisy"
        value_kept, grad_kept = value_and_grad(losses.build("BCE"), logits, torch.tensor(arrays[targets]), noisy)
        assert value == pytest.approx(value_kept, rel=1e-6)
        np.testing.assert_allclose(grad, grad_kept, rtol=1e-6)
        return
    assert value == pytest.approx(expected, rel=1e-4 if prefix == "sat_" else 1e-5)
    np.testing.assert_allclose(grad, arrays[f"{key}_grad"], atol=1e-6, rtol=1e-4)


def float64_bce(z: np.ndarray, t: np.ndarray) -> np.ndarray:
    p = 1 / (1 + np.exp(-z))
    return -(t * np.log(p) + (1 - t) * np.log(1 - p)).mean(axis=1)


def test_float64_formulas() -> None:
    logits, targets, noisy = problem()
    z, y, n = logits.double().numpy(), targets.double().numpy(), noisy.numpy()
    p = 1 / (1 + np.exp(-z))
    soft, robust = float64_bce(z, 0.6 * y + 0.4 * p), ((1 - (p * y + 1e-7) ** 0.3) / 0.3).mean(axis=1)
    plain = float64_bce(z, y)
    kept = ~(n & (plain > 0.7 * plain.max()))
    weights = {"noisy_weight": 0.8, "curated_weight": 0.3}
    expected = {
        losses.build("BCE"): plain.mean(),
        losses.build("OnlyNoisyLSoft", beta=0.6, **weights): np.where(n, 0.8 * soft, 0.3 * plain).mean(),
        losses.build("OnlyNoisyLq", q=0.3, **weights): np.where(n, 0.8 * robust, 0.3 * plain).mean(),
        losses.build("BCEMaxOutlier", alpha=0.7): plain[kept].mean(),
    }
    assert 0 < kept.sum() < len(kept)
    for loss, value in expected.items():
        assert float(loss(logits, targets, noisy)) == pytest.approx(value, rel=1e-6)
        assert float(loss(logits.double(), targets.double(), noisy)) == pytest.approx(value, rel=1e-12)


def test_lsoft_gradient_is_beta_times_the_residual() -> None:
    logits, targets, noisy = problem(scale=2)
    _, grad = value_and_grad(lambda z, y, n: lsoft(z, y, 0.7).sum(), logits.double(), targets.double(), noisy)
    expected = 0.7 * (torch.sigmoid(logits.double()) - targets) / logits.shape[1]
    np.testing.assert_allclose(grad, expected.numpy(), rtol=1e-9)


@pytest.mark.parametrize("name", [name for name in losses.LOSSES if name != "BCEMaxOutlier"])
def test_kinds_do_not_leak(name: str) -> None:
    """Flipping one clip's flag leaves the other clips' gradients alone (BCEMaxOutlier compares clips)."""
    loss = losses.build(name)
    logits, targets, noisy = problem()
    _, before = value_and_grad(loss, logits, targets, noisy)
    flipped = noisy.clone()
    flipped[3] = ~flipped[3]
    _, after = value_and_grad(loss, logits, targets, flipped)
    np.testing.assert_array_equal(np.delete(before, 3, 0), np.delete(after, 3, 0))
    assert (name == "BCE") == bool((before[3] == after[3]).all())


def test_max_outlier_keeps_curated_clips_however_bad() -> None:
    logits = torch.tensor([[-9.0], [-9.0], [-1.0], [0.0]])
    targets = torch.ones(4, 1)
    loss = losses.build("BCEMaxOutlier", alpha=0.8)
    clips = bce(logits, targets)
    noisy = torch.tensor([True, False, True, False])
    assert float(loss(logits, targets, noisy)) == pytest.approx(float(clips[1:].mean()))
    assert float(loss(logits, targets, torch.zeros(4, dtype=torch.bool))) == pytest.approx(float(clips.mean()))
    equal, everyone = torch.zeros(4, 1), torch.ones(4, dtype=torch.bool)
    assert float(loss(equal, targets, everyone)) == pytest.approx(float(bce(equal, targets).mean()))


def test_auxiliary_outputs_are_weighted_and_added() -> None:
    logits, targets, noisy = problem()
    outputs = (logits, logits * 0.5, logits + 1, -logits)
    single = losses.build("OnlyNoisyLSoft")
    parts = [float(single(output, targets, noisy)) for output in outputs]
    total = losses.build("OnlyNoisyLSoft", aux_weights=(1, 0.4, 0.2, 0.1))(outputs, targets, noisy)
    assert float(total) == pytest.approx(np.dot(parts, [1, 0.4, 0.2, 0.1]), rel=1e-6)
    main = losses.build("OnlyNoisyLSoft", aux_weights=(2.0,))
    assert float(main(outputs[:1], targets, noisy)) == pytest.approx(2 * parts[0], rel=1e-6)
    assert float(main(logits, targets, noisy)) == pytest.approx(parts[0], rel=1e-6)
    with pytest.raises(ValueError, match=r"4 outputs but loss\.aux_weights has 1"):
        main(outputs, targets, noisy)


@pytest.mark.parametrize("name", losses.LOSSES)
def test_autocast_does_not_reach_the_loss(name: str) -> None:
    logits, targets, noisy = problem()
    loss = losses.build(name)
    rounded = logits.bfloat16()
    expected = loss(rounded.float(), targets, noisy)
    with torch.autocast("cpu", torch.bfloat16):
        value = loss((rounded, rounded), targets, noisy)
    assert value.dtype == torch.float32
    assert float(value) == pytest.approx(1.4 * float(expected), rel=1e-6)


@pytest.mark.parametrize("name", ["onlynoisylsoft", "Only_Noisy_LSoft", "bce", "bce_max_outlier", "OnlyNoisyLq"])
def test_names_ignore_case_and_underscores_and_fields_come_from_an_experiment(name: str) -> None:
    part = Loss(name=name, beta=0.25, q=0.75, noisy_weight=0.125, aux_weights=(1.0, 0.5))
    built = losses.build(part.name, **part.model_dump(exclude={"name"}))
    assert built.aux_weights == (1.0, 0.5)
    for field in ("beta", "q", "noisy_weight"):
        assert getattr(built.loss, field, getattr(part, field)) == getattr(part, field)


def test_unknown_names_fields_and_values() -> None:
    with pytest.raises(ValueError, match="no loss is called 'OnlyNoisyLSofd'; did you mean OnlyNoisyLSoft"):
        losses.build("OnlyNoisyLSofd")
    with pytest.raises(ValueError, match="there are OnlyNoisyLSoft, OnlyNoisyLq, BCE, BCEMaxOutlier"):
        losses.build("hinge")
    with pytest.raises(ValueError, match="no loss has a field 'noisy_wait'; did you mean noisy_weight"):
        losses.build("BCE", noisy_wait=1.0)
    with pytest.raises(ValueError, match="did you mean aux_weights"):
        losses.build("BCE", aux_weigths=(1.0,))
    for fields in ({"beta": 1.5}, {"noisy_weight": -1.0}, {"aux_weights": (1.0, -0.1)}):
        with pytest.raises(ValueError, match=r"not|negative"):
            losses.build("OnlyNoisyLSoft", **fields)
    with pytest.raises(ValueError, match="q is an exponent"):
        losses.build("OnlyNoisyLq", q=0.0)
    with pytest.raises(ValueError, match="alpha is a share"):
        losses.build("BCEMaxOutlier", alpha=0.0)
