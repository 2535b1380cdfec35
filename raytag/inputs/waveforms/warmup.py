"""Compile the kernels of trainings on waveforms: effects, magnitude spectrograms (see `raytag.compiled.once`)."""

from __future__ import annotations

import numpy as np
import torch

from raytag.compiled.once import once
from raytag.experiment import Features, FrontEnd
from raytag.inputs.waveforms.effects.levels import overdriven
from raytag.inputs.waveforms.effects.reverb import reverberated
from raytag.inputs.waveforms.effects.stretch import at_tempo


def warm_up() -> None:
    """Make this process ready; of a node's processes only one compiles."""
    once("inputs.waveforms", _compile)


def _compile() -> None:
    for name in ("MagnitudeMel", "MagnitudeSTFT"):
        front_end = FrontEnd(name).build(Features("Waveforms"))
        assert front_end is not None
        front_end(torch.zeros(1, 4000))
    at_tempo(overdriven(reverberated(np.zeros(1000, np.float32), 8000, 1.0, 1.0), 9.0), 8000, 1.1)
