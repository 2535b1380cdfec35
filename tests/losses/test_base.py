"""Losses by name, auxiliary heads, and the arithmetic inside an autocast region."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from raytag import losses
from raytag.batch import Outputs, Targets
from raytag.experiment import Experiment, Loss
from raytag.testing.losses import problem, value_of


def test_auxiliary_outputs_are_weighted_and_added() -> None:
    logits, targets, noisy = problem()
    heads = (logits, logits * 0.5, logits + 1, -logits)
    single = losses.build("OnlyNoisyLSoft")
    parts = [float(value_of(single, head, targets, noisy)) for head in heads]
    outputs, known = Outputs(heads[0], heads[1:]), Targets(targets, noisy)
    total = losses.build("OnlyNoisyLSoft", aux_weights=(1, 0.4, 0.2, 0.1))(outputs, known)
    assert float(total) == pytest.approx(np.dot(parts, [1, 0.4, 0.2, 0.1]), rel=1e-6)
    main = losses.build("OnlyNoisyLSoft", aux_weights=(2.0,))
    assert float(main(Outputs(logits), known)) == pytest.approx(parts[0], rel=1e-6)  # nothing to weigh it against
    with pytest.raises(ValueError, match=r"4 outputs but loss\.aux_weights has 1"):
        main(outputs, known)


@pytest.mark.parametrize("name", losses.LOSSES)
def test_autocast_does_not_reach_the_loss(name: str) -> None:
    logits, targets, noisy = problem()
    loss = losses.build(name)
    rounded = logits.bfloat16()
    expected = value_of(loss, rounded.float(), targets, noisy)
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(Outputs(rounded, (rounded,)), Targets(targets, noisy))
    assert value.dtype == torch.float32
    assert float(value) == pytest.approx(1.4 * float(expected), rel=1e-6)


@pytest.mark.parametrize("name", ["onlynoisylsoft", "Only_Noisy_LSoft", "OnlyNoisyLq"])
def test_names_ignore_case_and_underscores_and_an_experiment_has_the_loss_itself(name: str) -> None:
    part = Loss(name, noisy_weight=0.125, aux_weights=(1.0, 0.5))
    built = losses.build(name, noisy_weight=0.125, aux_weights=(1.0, 0.5))
    assert built == part
    assert Experiment().replace({"loss.name": name, "loss.noisy_weight": "0.125"}).loss.name == part.name


def test_unknown_names_fields_and_weights() -> None:
    with pytest.raises(ValueError, match="no loss is called 'OnlyNoisyLSofd'; did you mean OnlyNoisyLSoft"):
        losses.build("OnlyNoisyLSofd")
    with pytest.raises(ValueError, match="there are OnlyNoisyLSoft, OnlyNoisyLq, BCE, BCEMaxOutlier, Focal, LSEP"):
        losses.build("hinge")
    with pytest.raises(ValueError, match=r"OnlyNoisyLq has no field 'noisy_wait'; did you mean loss\.noisy_weight"):
        losses.build("OnlyNoisyLq", noisy_wait=1.0)
    with pytest.raises(ValueError, match=r"did you mean loss\.aux_weights"):
        losses.build("BCE", aux_weigths=(1.0,))
    with pytest.raises(ValueError, match=r"loss\.aux_weights\.1: .*greater than or equal to 0"):
        losses.build("OnlyNoisyLSoft", aux_weights=(1.0, -0.1))
