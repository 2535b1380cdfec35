"""How far predictions of stored weights may be from the stored ones; tests of `raytag windows` do the rest."""

from __future__ import annotations

import platform

import pytest
import torch

from raytag.ensemble.own_clips import OTHER, SAME, tolerance


@pytest.mark.parametrize(
    ("changes", "device", "expected"),
    [
        ({}, "cpu", SAME),
        ({"host": "elsewhere"}, "cpu", OTHER),
        ({"torch": "1.0"}, "cpu", OTHER),
        ({"device": "cuda"}, "cpu", OTHER),
        ({"device": "cuda"}, "cuda", OTHER),
    ],
)
def test_one_processor_rounds_alike_and_others_do_not(changes, device, expected):
    result = {"host": platform.node(), "torch": torch.__version__, "device": "cpu"} | changes
    assert tolerance(result, torch.device(device)) == expected
