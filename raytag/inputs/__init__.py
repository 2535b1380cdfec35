"""From a bank to batches: one folder a way, with its fields, its augmentation, its tiles and its checks.

Imports of raytag `raytag.features` (the bank), `raytag.compiled` and the ground floor.
"""

from __future__ import annotations

from collections.abc import Mapping

#: Every input that an experiment can name, and where its fields stand.
INPUTS: Mapping[str, str] = {
    "LogMelImages": "raytag.inputs.logmel_images.settings:LogMelImages",
    "WaveformCrops": "raytag.inputs.waveforms.settings:WaveformCrops",
    "WholeWaveforms": "raytag.inputs.waveforms.whole:WholeWaveforms",
}
