"""Losses that trust noisy clips less: against reference arrays, against float64 formulas, and at their edges."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from raytag import losses
from raytag.batch import Outputs, Targets
from raytag.losses.bce import bce
from raytag.losses.noisy import lq, lsoft
from raytag.testing.losses import Loss, problem, value_and_grad, value_of

PUBLISHED: dict[str, Loss] = {
    "lsoft": lambda outputs, targets: lsoft(outputs.clip, targets.present, 0.7).mean(),
    "lq": lambda outputs, targets: lq(outputs.clip, targets.present, 0.5).mean(),
    "only_noisy_lsoft": losses.build("OnlyNoisyLSoft", beta=0.7, noisy_weight=0.5, curated_weight=0.5),
    "only_noisy_lq": losses.build("OnlyNoisyLq", q=0.5, noisy_weight=0.5, curated_weight=0.5),
    "bce_max_outlier": losses.build("BCEMaxOutlier", alpha=0.8),
}


@pytest.mark.parametrize("mask", ["mix", "allcur", "allnoisy"])
@pytest.mark.parametrize("prefix", ["", "soft_", "sat_"])
@pytest.mark.parametrize("name", PUBLISHED)
def test_reference_arrays(shared: Path, name: str, prefix: str, mask: str) -> None:
    arrays = np.load(shared / "golden" / "07_losses_argus.npz")
    logits = torch.tensor(arrays["in_sat_logits" if prefix == "sat_" else "in_logits"])
    targets = {"": "in_targets", "soft_": "in_soft_targets", "sat_": "in_sat_targets"}[prefix]
    noisy = torch.tensor(arrays["in_noisy"]).bool()
    noisy = {"mix": noisy, "allcur": torch.zeros_like(noisy), "allnoisy": torch.ones_like(noisy)}[mask]
    labels = torch.tensor(arrays[targets])
    value, grad = value_and_grad(PUBLISHED[name], logits, labels, noisy)

    key = f"{prefix}{name}" if name in ("lsoft", "lq") else f"{prefix}{name}_{mask}"
    expected = float(arrays[f"{key}_value"])
    if np.isnan(expected):  # every clip dropped: raytag keeps them all instead
        assert key == "bce_max_outlier_allnoisy"
        value_kept, grad_kept = value_and_grad(losses.build("BCE"), logits, labels, noisy)
        assert value.item() == pytest.approx(value_kept.item(), rel=1e-6)
        np.testing.assert_allclose(grad, grad_kept, rtol=1e-6)
        return
    assert value.item() == pytest.approx(expected, rel=1e-4 if prefix == "sat_" else 1e-5)
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
    expected = [
        (losses.build("OnlyNoisyLSoft", beta=0.6, **weights), np.where(n, 0.8 * soft, 0.3 * plain).mean()),
        (losses.build("OnlyNoisyLq", q=0.3, **weights), np.where(n, 0.8 * robust, 0.3 * plain).mean()),
        (losses.build("BCEMaxOutlier", alpha=0.7), plain[kept].mean()),
    ]
    assert 0 < kept.sum() < len(kept)
    for loss, value in expected:
        assert float(value_of(loss, logits, targets, noisy)) == pytest.approx(value, rel=1e-6)
        assert float(value_of(loss, logits.double(), targets.double(), noisy)) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("flags", ["some", "none", "all"])
@pytest.mark.parametrize("name", ["OnlyNoisyLSoft", "OnlyNoisyLq"])
def test_weights_of_clips_give_the_sum_of_two_losses_that_picks_clips_out(name: str, flags: str) -> None:
    """argus-freesound picks noisy and curated clips out of a batch, which makes a GPU wait, and weighs the mean
    loss of either by its share of the batch."""
    logits, targets, noisy = problem()
    logits, targets = logits.double(), targets.double()
    noisy = {"some": noisy, "none": torch.zeros_like(noisy), "all": torch.ones_like(noisy)}[flags]
    fields = {"noisy_weight": 0.8, "curated_weight": 0.3}

    def picked(outputs: Outputs, given: Targets) -> Tensor:
        z, y, n = outputs.clip, given.present, given.noisy
        total = z.new_zeros(())
        if n.any():
            robust = lsoft(z[n], y[n], 0.7) if name == "OnlyNoisyLSoft" else lq(z[n], y[n], 0.5)
            total = total + 0.8 * (n.sum() / len(n)) * robust.mean()
        if (~n).any():
            total = total + 0.3 * ((~n).sum() / len(n)) * bce(z[~n], y[~n]).mean()
        return total

    value, grad = value_and_grad(losses.build(name, **fields), logits, targets, noisy)
    expected, expected_grad = value_and_grad(picked, logits, targets, noisy)
    assert value.item() == pytest.approx(expected.item(), rel=1e-6)  # shares of a batch are float32
    np.testing.assert_allclose(grad, expected_grad, rtol=1e-6)


def test_lsoft_gradient_is_beta_times_the_residual() -> None:
    logits, targets, noisy = problem(scale=2)
    soft: Loss = lambda outputs, given: lsoft(outputs.clip, given.present, 0.7).sum()  # noqa: E731
    _, grad = value_and_grad(soft, logits.double(), targets.double(), noisy)
    expected = 0.7 * (torch.sigmoid(logits.double()) - targets) / logits.shape[1]
    np.testing.assert_allclose(grad, expected.numpy(), rtol=1e-9)


@pytest.mark.parametrize("name", ["OnlyNoisyLSoft", "OnlyNoisyLq"])
def test_a_clip_heeds_its_own_flag(name: str) -> None:
    logits, targets, noisy = problem()
    before, after = (value_and_grad(losses.build(name), logits, targets, flags)[1] for flags in (noisy, ~noisy))
    assert (before != after).any(dim=1).all()


def test_max_outlier_keeps_curated_clips_however_bad() -> None:
    logits = torch.tensor([[-9.0], [-9.0], [-1.0], [0.0]])
    targets = torch.ones(4, 1)
    loss = losses.build("BCEMaxOutlier", alpha=0.8)
    clips = bce(logits, targets)
    noisy = torch.tensor([True, False, True, False])
    assert float(value_of(loss, logits, targets, noisy)) == pytest.approx(float(clips[1:].mean()))
    assert float(value_of(loss, logits, targets, torch.zeros(4, dtype=torch.bool))) == pytest.approx(
        float(clips.mean())
    )
    equal, everyone = torch.zeros(4, 1), torch.ones(4, dtype=torch.bool)
    assert float(value_of(loss, equal, targets, everyone)) == pytest.approx(float(bce(equal, targets).mean()))


def test_values_out_of_range() -> None:
    for fields in ({"beta": 1.5}, {"noisy_weight": -1.0}):
        with pytest.raises(ValueError, match=r"less than or equal to 1|greater than or equal to 0"):
            losses.build("OnlyNoisyLSoft", **fields)
    with pytest.raises(ValueError, match=r"loss\.q: "):
        losses.build("OnlyNoisyLq", q=0.0)
    with pytest.raises(ValueError, match=r"loss\.alpha: "):
        losses.build("BCEMaxOutlier", alpha=0.0)
