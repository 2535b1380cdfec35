"""From a bank of log-mels to the images that a network trains on and predicts from.

`Augmenter` pads, crops, stretches, masks and mixes training samples; `center_crops` and `tiles` cut plain
images for validation and prediction. An image is float32 (3, n_mels, crop_frames): log-mel in dB and its
first and second delta along time, all divided by 100.
"""

from __future__ import annotations

from raytag.inputs.logmel_images.augmenter import Augmenter
from raytag.inputs.logmel_images.draws import Draws
from raytag.inputs.logmel_images.tiles import center_crops, count_tiles, tiles

__all__ = ["Augmenter", "Draws", "center_crops", "count_tiles", "tiles"]
