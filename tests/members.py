"""Experiments with a member of a family, and the other parts that fit it."""

from __future__ import annotations

from raytag.experiment import Experiment

WAVEFORMS = {"features.name": "Waveforms", "input.name": "WaveformCrops"}


def experiment_with(family: str, member: str) -> Experiment:
    """The defaults but for the member, and for what it cannot do without."""
    fitting = WAVEFORMS if member in ("Waveforms", "WaveformCrops", "Mel", "STFT") else {}
    return Experiment().replace({**fitting, f"{family}.name": member})
