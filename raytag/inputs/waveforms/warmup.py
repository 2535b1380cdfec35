"""Compile the kernels of trainings on waveforms (see `raytag.compiled.once`).

They are effects, magnitude spectrograms, and what the networks of ex4sperans do between convolutions.
"""

from __future__ import annotations

import numpy as np
import torch

from raytag.compiled.once import once
from raytag.experiment import Features, FrontEnd, Model
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
    network = Model("TwoDimensionalCNN", base_size=4, blocks=1, first_read=0).build(2, 2)
    images = torch.zeros(2, 2, 4, 4).to(memory_format=torch.channels_last)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # with many threads a network uses torch's own operations
    try:
        for narrow in (False, True):
            with torch.autocast("cpu", torch.bfloat16, enabled=narrow):
                outputs = network(images)
            outputs.clip.sum().backward()
    finally:
        torch.set_num_threads(threads)
