"""Centred crops and prediction tiles."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raytag.features.bank import Bank
from raytag.inputs.logmel_images import reference
from raytag.inputs.logmel_images.deltas import model_input
from raytag.inputs.logmel_images.tiles import center_crops, count_tiles, tiles


def random_bank(lengths, n_mels=16, seed=0):
    rng = np.random.default_rng(seed)
    logmels = [rng.uniform(-100, 20, (n_mels, length)).astype(np.float32) for length in lengths]
    return Bank.from_logmels([f"{i}.wav" for i in range(len(lengths))], logmels)


def test_validation_transform_matches_the_published_system(golden, float_bank):
    case = golden("03_pad_crop")
    images = center_crops(float_bank([case["in_val"]]), [0], 256)
    np.testing.assert_allclose(images[0], case["out_val"], atol=1e-5)
    images = center_crops(float_bank([case["in_long"]]), [0], 256)
    np.testing.assert_allclose(images[0, 0] * 100, case["out_center_crop"], atol=1e-5)


@pytest.mark.parametrize("frames", ["100", "200", "255", "tiny"])
def test_centred_padding_matches_the_published_system(golden, float_bank, frames):
    case = golden("03_pad_crop")
    images = center_crops(float_bank([case[f"in_{frames}"]]), [0], 256)
    np.testing.assert_allclose(images[0, 0] * 100, case[f"out_constant_{frames}"], atol=1e-5)


@pytest.mark.parametrize("step", [64, 128])
def test_tile_counts_and_starts_match_the_published_system(golden, float_bank, step):
    case = golden("10_tiles_argus")
    lengths = case["T"]
    left, right, width, counts = case[f"left_right_width_count_step{step}"].T
    np.testing.assert_array_equal(left + lengths + right, width)
    np.testing.assert_array_equal(count_tiles(lengths, 256, step), counts)
    # clips whose frames tell their own position, padded with a value that tells padding
    ramps = [np.stack([np.arange(length), np.full(length, -1)]) for length in lengths]
    images, owner = tiles(float_bank(ramps), np.arange(len(lengths)), 256, step)
    np.testing.assert_array_equal(np.bincount(owner), counts)
    for i, starts in enumerate(case[f"starts_step{step}"]):
        for image, start in zip(images[owner == i, 0], starts[starts >= 0], strict=True):
            expected = start - left[i] + np.arange(256)
            expected = np.where((expected >= 0) & (expected < lengths[i]), expected, -1)
            np.testing.assert_allclose(image[0] * 100, expected, atol=2e-4)


@pytest.mark.parametrize("step", [64, 128])
def test_tile_example_matches_the_published_system(golden, float_bank, step):
    ramp = np.stack([np.arange(200), np.full(200, -7)])
    images, _ = tiles(float_bank([ramp]), [0], 256, step)
    expected = golden("10_tiles_argus")[f"tiles_example_step{step}_T200"]
    np.testing.assert_allclose(images[:, 0, 0] * 100, expected, atol=2e-5)


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 400), min_size=1, max_size=6),
    crop_frames=st.sampled_from([16, 33, 64, 100]),
    share=st.sampled_from([4, 3, 2, 1]),
    n_mels=st.sampled_from([8, 13, 32]),
)
def test_tiles_cover_every_frame(lengths, crop_frames, share, n_mels):
    step = crop_frames // share
    bank = random_bank(lengths, n_mels)
    rows = np.arange(len(lengths))[::-1]
    images, owner = tiles(bank, rows, crop_frames, step)
    assert images.shape == (len(owner), 3, n_mels, crop_frames)
    np.testing.assert_array_equal(np.bincount(owner), count_tiles(bank.frames[rows], crop_frames, step))
    for position, row in enumerate(rows):
        own = images[owner == position]
        clip = bank.logmel(row)
        covered = crop_frames + step * (len(own) - 1)
        missing = covered - clip.shape[1]
        assert missing >= 0
        assert missing < max(step, crop_frames)
        padded = np.pad(clip, ((0, 0), (missing // 2, missing - missing // 2)), constant_values=clip.min())
        for k, image in enumerate(own):
            tile = padded[:, k * step : k * step + crop_frames]
            np.testing.assert_allclose(image, model_input(tile), atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(lengths=st.lists(st.integers(1, 300), min_size=1, max_size=6), crop_frames=st.sampled_from([16, 64, 100]))
def test_center_crops_are_the_middle(lengths, crop_frames):
    bank = random_bank(lengths)
    images = center_crops(bank, np.arange(len(lengths)), crop_frames)
    for row, image in enumerate(images):
        length = lengths[row]
        first = (length - crop_frames) // 2 if length >= crop_frames else -((crop_frames - length) // 2)
        expected = model_input(reference.crop(bank.logmel(row), first, crop_frames, wrap=False))
        np.testing.assert_allclose(image, expected, atol=1e-6)


def test_tiles_come_in_chunks_of_any_size():
    bank = random_bank([10, 200, 64, 130, 500])
    whole, owner = tiles(bank, np.arange(5), 64, 32)
    parts = [tiles(bank, rows, 64, 32)[0] for rows in ([0, 1], [2], [3, 4])]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert (np.diff(owner) >= 0).all()


def test_a_clip_of_one_tile_is_its_centre_crop():
    bank = random_bank([1, 5, 63, 64])
    images, owner = tiles(bank, np.arange(4), 64, 32)
    np.testing.assert_array_equal(owner, np.arange(4))
    np.testing.assert_array_equal(images, center_crops(bank, np.arange(4), 64))


def test_read_only_banks_are_left_alone():
    bank = random_bank([100, 30])
    before = bank.buffer.tobytes()
    expected = tiles(bank, [0, 1], 64, 32)[0]
    bank.buffer.flags.writeable = False
    np.testing.assert_array_equal(tiles(bank, [0, 1], 64, 32)[0], expected)
    assert bank.buffer.tobytes() == before


def test_no_rows_give_no_images():
    bank = random_bank([100])
    images, owner = tiles(bank, np.zeros(0, np.int64), 64, 32)
    assert images.shape == (0, 3, 16, 64)
    assert owner.shape == (0,)
    assert center_crops(bank, [], 64).shape == (0, 3, 16, 64)


@pytest.mark.parametrize("step", [0, -1, 65])
def test_steps_that_would_lose_frames_are_errors(step):
    with pytest.raises(ValueError, match=r"step must lie in \[1, width\]"):
        tiles(random_bank([100]), [0], 64, step)


def test_images_narrower_than_a_delta_are_errors():
    with pytest.raises(ValueError, match="crop_frames must be at least 9"):
        center_crops(random_bank([100]), [0], 8)


def test_unknown_rows_are_errors():
    with pytest.raises(ValueError, match="1 is not a row of a bank of 1 clips"):
        center_crops(random_bank([100]), [1], 64)
