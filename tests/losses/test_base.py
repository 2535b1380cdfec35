"""Losses by name, auxiliary heads, and the arithmetic inside an autocast region."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from raytag import losses
from raytag.experiment import Experiment, Loss
from raytag.testing.losses import problem


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


@pytest.mark.parametrize("name", ["onlynoisylsoft", "Only_Noisy_LSoft", "OnlyNoisyLq"])
def test_names_ignore_case_and_underscores_and_an_experiment_has_the_loss_itself(name: str) -> None:
    part = Loss(name, noisy_weight=0.125, aux_weights=(1.0, 0.5))
    built = losses.build(name, noisy_weight=0.125, aux_weights=(1.0, 0.5))
    assert built.loss == part
    assert Experiment().replace({"loss.name": name, "loss.noisy_weight": "0.125"}).loss.name == part.name


def test_unknown_names_fields_and_weights() -> None:
    with pytest.raises(ValueError, match="no loss is called 'OnlyNoisyLSofd'; did you mean OnlyNoisyLSoft"):
        losses.build("OnlyNoisyLSofd")
    with pytest.raises(ValueError, match="there are OnlyNoisyLSoft, OnlyNoisyLq, BCE, BCEMaxOutlier"):
        losses.build("hinge")
    with pytest.raises(ValueError, match=r"OnlyNoisyLq has no field 'noisy_wait'; did you mean loss\.noisy_weight"):
        losses.build("OnlyNoisyLq", noisy_wait=1.0)
    with pytest.raises(ValueError, match=r"did you mean loss\.aux_weights"):
        losses.build("BCE", aux_weigths=(1.0,))
    with pytest.raises(ValueError, match=r"loss\.aux_weights\.1: .*greater than or equal to 0"):
        losses.build("OnlyNoisyLSoft", aux_weights=(1.0, -0.1))
