"""The legible implementation against the published system's arrays and Pillow."""

from __future__ import annotations

import numpy as np
import pytest

from raytag.inputs.logmel_images import reference
from raytag.inputs.logmel_images.augmenter import sigmoid_mask
from raytag.inputs.logmel_images.deltas import model_input


@pytest.mark.parametrize("frames", ["100", "200", "255", "tiny"])
def test_pads_match_the_published_system(golden, frames):
    case = golden("03_pad_crop")
    clip = case[f"in_{frames}"]
    wrapped = case["out_wrap_tiny_numpy2" if frames == "tiny" else f"out_wrap_{frames}"]
    np.testing.assert_array_equal(reference.pad(clip, 256, wrap=False), case[f"out_constant_{frames}"])
    np.testing.assert_array_equal(reference.pad(clip, 256, wrap=True), wrapped)


def test_crop_matches_the_published_system(golden):
    case = golden("03_pad_crop")
    middle = reference.crop(case["in_long"], case["center_start"], 256, wrap=False)
    np.testing.assert_array_equal(middle, case["out_center_crop"])
    clip = case["in_val"]
    padded = reference.crop(clip, -((256 - clip.shape[1]) // 2), 256, wrap=False)
    np.testing.assert_allclose(model_input(padded), case["out_val"], atol=1e-5)


def test_resized_crop_matches_the_published_system(golden):
    case = golden("04_rrc_fixed")
    for box, expected in zip(case["in_params_ijhw"], case["out"], strict=True):
        np.testing.assert_allclose(reference.resized_crop(case["in_img"], box), expected, atol=1e-3)


def test_resized_crop_matches_pillow():
    image_module = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(4)
    image = rng.normal(-60, 20, (64, 100)).astype(np.float32)
    for _ in range(20):
        bands, frames = rng.integers(1, 65), rng.integers(1, 101)
        box = np.array([rng.integers(0, 65 - bands), rng.integers(0, 101 - frames), bands, frames])
        part = image[box[0] : box[0] + bands, box[1] : box[1] + frames]
        expected = image_module.fromarray(part).resize((100, 64), image_module.Resampling.BILINEAR)
        np.testing.assert_allclose(reference.resized_crop(image, box), np.asarray(expected), atol=1e-3)


def test_masks_match_the_published_system(golden):
    case = golden("05_specaugment")
    image = case["example_in"]
    masked = np.unpackbits(case["example_masked"]).reshape(image.shape).astype(bool)
    bands, frames = np.flatnonzero(masked.all(axis=1)), np.flatnonzero(masked.all(axis=0))
    rounds = max(len(bands), len(frames))
    mel_masks, frame_masks = np.zeros((rounds, 2), np.int64), np.zeros((rounds, 2), np.int64)
    mel_masks[: len(bands)] = np.stack([bands, np.ones_like(bands)], axis=1)
    frame_masks[: len(frames)] = np.stack([frames, np.ones_like(frames)], axis=1)
    result = reference.specaugment(image, mel_masks, frame_masks)
    np.testing.assert_array_equal(result, np.where(masked, case["example_value"], image))


def test_mixers_match_the_published_system(golden):
    case = golden("06_mixers")
    image, other = case["in_image"], case["in_other"]
    for alpha in ("0.1", "0.25", "0.5"):
        added = reference.add(image, other, float(alpha))
        np.testing.assert_allclose(added, case[f"add_image_a{alpha}"], atol=1e-6)
    mask = sigmoid_mask(int(case["sig_radius"]), image.shape[-1])
    np.testing.assert_allclose(reference.concatenate(image, other, mask), case["sig_image"], atol=1e-6)


def test_sigmoid_masks_match_the_published_system(golden):
    case = golden("06_mixers")
    for radius, mask in zip(case["radii"], case["masks"], strict=True):
        np.testing.assert_allclose(sigmoid_mask(int(radius), 256), mask, atol=1e-6)


def test_sigmoid_mask_has_one_weight_a_frame(golden):
    """The published mask had one point too many at these widths, and failed."""
    for width, radius, points in golden("06_mixers")["widths_off_by_one"]:
        assert points == width + 1
        mask = sigmoid_mask(int(radius), int(width))
        assert mask.shape == (width,)
        assert np.all(np.diff(mask) >= 0)
