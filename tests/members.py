"""Experiments with a member of a family, and the other parts that fit it."""

from __future__ import annotations

import hashlib
from typing import Any

from raytag.experiment import Experiment, OutsideFile

WAVEFORMS = {"features.name": "Waveforms", "input.name": "WaveformCrops"}


def experiment_with(family: str, member: str) -> Experiment:
    """The defaults but for the member, and for what it cannot do without."""
    fitting: dict[str, Any] = {}
    if member in ("Waveforms", "WaveformCrops", "WholeWaveforms", "Mel", "STFT", "MagnitudeMel", "MagnitudeSTFT"):
        fitting = dict(WAVEFORMS)
    elif member in ("ParentWeights", "Top", "Match", "Relabel", "Merge", "Rest"):
        fitting[f"{family}.parent"] = Experiment().replace({"training.seed": 7})
        fitting["sampling.noisy_prob"] = 0.5
    elif member == "WeightsFile":
        fitting["init.file"] = OutsideFile(file="weights.pt", sha256=hashlib.sha256(b"").hexdigest())
    return Experiment().replace({**fitting, f"{family}.name": member})
