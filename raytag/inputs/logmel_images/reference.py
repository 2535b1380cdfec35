"""Augmentation said plainly: one operation a function, in numpy, one image at a time.

This is what `raytag.inputs.logmel_images.kernel` computes, slowly and legibly. Tests hold both to the arrays of the
published system and to each other; `benchmarks/speed/augment.py` builds its slow path from it. Training does not
use it.

Images here are (n_mels, frames) in dB until `raytag.inputs.logmel_images.deltas.model_input`, and (3, n_mels,
frames) in dB / 100 from there on.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from raytag.inputs.logmel_images.augmenter import sigmoid_mask
from raytag.inputs.logmel_images.deltas import model_input
from raytag.inputs.logmel_images.draws import ADD, SIGMOID, UNMIXED, Draws

Image = NDArray[np.float32]


def pad(logmel: Image, crop_frames: int, wrap: bool) -> Image:
    """Pad a short clip to ``crop_frames``, half on the left: repeated, or with its minimum."""
    missing = max(0, crop_frames - logmel.shape[1])
    width = ((0, 0), (missing // 2, missing - missing // 2))
    if wrap:
        return np.pad(logmel, width, mode="wrap")
    return np.pad(logmel, width, mode="constant", constant_values=logmel.min())


def crop(logmel: Image, first: int, crop_frames: int, wrap: bool) -> Image:
    """The padded clip's frames from ``max(0, first)``; a negative ``first`` is the left padding."""
    start = max(0, int(first))
    return pad(logmel, crop_frames, wrap)[:, start : start + crop_frames]


def resized_crop(image: Image, box: NDArray[np.int64]) -> Image:
    """Stretch the part ``box`` = (band, frame, bands, frames) over the whole image, bilinearly.

    Half-pixel centres, ends clamped: what PIL's BILINEAR and torch's ``interpolate(align_corners=False)`` do
    where nothing shrinks.
    """
    band, frame, bands, frames = (int(value) for value in box)
    part = image[band : band + bands, frame : frame + frames].astype(np.float64)
    for axis, size in enumerate(image.shape):
        position = (np.arange(size) + 0.5) * (part.shape[axis] / size) - 0.5
        position = np.clip(position, 0, part.shape[axis] - 1)
        lower = position.astype(np.int64)
        upper = np.minimum(lower + 1, part.shape[axis] - 1)
        weight = (position - lower).reshape(-1, 1) if axis == 0 else position - lower
        part = np.take(part, lower, axis) * (1 - weight) + np.take(part, upper, axis) * weight
    return part.astype(np.float32)


def specaugment(image: Image, mel_masks: NDArray[np.int64], frame_masks: NDArray[np.int64]) -> Image:
    """Set bands and frames to the image's minimum; masks are rows (first, extent)."""
    masked = image.copy()
    for (band, bands), (frame, frames) in zip(mel_masks, frame_masks, strict=True):
        masked[band : band + bands] = image.min()
        masked[:, frame : frame + frames] = image.min()
    return masked


def concatenate(image: Image, other: Image, mask: Image) -> Image:
    """The other image first, this one last; ``mask`` (frames,) is this one's weight."""
    return mask * image + (1 - mask) * other


def add(image: Image, other: Image, alpha: float) -> Image:
    return (1 - np.float32(alpha)) * image + np.float32(alpha) * other


def augmented(logmel: Image, draws: Draws, sample: int, which: int, crop_frames: int) -> Image:
    """Image ``which`` (0 own, 1 partner) of a sample, before its deltas."""
    at = sample, which
    image = crop(logmel, draws.first[at], crop_frames, bool(draws.wrap[at]))
    image = resized_crop(image, draws.box[at])
    rounds = int(draws.num_masks[at])
    return specaugment(image, draws.mel_masks[at][:rounds], draws.frame_masks[at][:rounds])


def sample_image(logmel: Image, partner: Image, draws: Draws, sample: int, crop_frames: int) -> Image:
    """One finished sample, (3, n_mels, crop_frames)."""
    image = model_input(augmented(logmel, draws, sample, 0, crop_frames))
    if draws.mixer[sample] == UNMIXED:
        return image
    other = model_input(augmented(partner, draws, sample, 1, crop_frames))
    if draws.mixer[sample] == ADD:
        return add(image, other, draws.alpha[sample])
    assert draws.mixer[sample] == SIGMOID
    return concatenate(image, other, sigmoid_mask(int(draws.radius[sample]), crop_frames))
