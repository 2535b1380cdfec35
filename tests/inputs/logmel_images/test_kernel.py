"""The compiled loops against the published system's arrays and against the legible implementation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raytag.features.bank import Bank
from raytag.inputs.logmel_images import reference
from raytag.inputs.logmel_images.augmenter import Augmenter
from raytag.inputs.logmel_images.draws import ADD, SIGMOID
from raytag.inputs.logmel_images.settings import LogMelImages


def augmenter(n_mels=128, crop_frames=256, **fields):
    return Augmenter(LogMelImages(crop_frames=crop_frames, **fields), n_mels)


def test_channels_match_the_published_system(golden, float_bank, plain_draws):
    case = golden("02_delta")
    image = augmenter().images(float_bank([case["in_mel"]]), [0], [0], plain_draws([256], 128, 256))
    np.testing.assert_allclose(image[0], case["out"], atol=1e-5)


@pytest.mark.parametrize("frames", ["100", "200", "255", "tiny"])
@pytest.mark.parametrize("wrap", [False, True])
def test_pads_match_the_published_system(golden, float_bank, plain_draws, frames, wrap):
    case = golden("03_pad_crop")
    clip = case[f"in_{frames}"]
    draws = plain_draws([clip.shape[1]], 16, 256, wrap=np.full((1, 2), wrap))
    image = augmenter(n_mels=16).images(float_bank([clip]), [0], [0], draws)
    suffix = f"{frames}_numpy2" if wrap and frames == "tiny" else frames
    expected = case[f"out_{'wrap' if wrap else 'constant'}_{suffix}"]
    np.testing.assert_allclose(image[0, 0] * 100, expected, atol=1e-5)


def test_resized_crop_matches_the_published_system(golden, float_bank, plain_draws):
    case = golden("04_rrc_fixed")
    boxes, n = case["in_params_ijhw"], len(case["in_params_ijhw"])
    draws = plain_draws([256] * n, 128, 256, box=np.stack([boxes, boxes], axis=1))
    images = augmenter().images(float_bank([case["in_img"]]), [0] * n, [0] * n, draws)
    np.testing.assert_allclose(images[:, 0] * 100, case["out"], atol=1e-3)


def test_mixers_match_the_published_system(golden, float_bank, plain_draws):
    """The published mixers take finished tensors; their first channel is what can be fed to a bank."""
    case = golden("06_mixers")
    bands, width = case["in_image"].shape[1:]
    bank = float_bank([case["in_image"][0] * 100, case["in_other"][0] * 100])
    draws = plain_draws(
        [width] * 4,
        bands,
        width,
        mixer=np.array([ADD, ADD, ADD, SIGMOID]),
        alpha=np.array([0.1, 0.25, 0.5, 0], np.float32),
        radius=np.array([3, 3, 3, case["sig_radius"]]),
    )
    images = augmenter(bands, width).images(bank, [0] * 4, [1] * 4, draws)
    for image, name in zip(
        images, ("add_image_a0.1", "add_image_a0.25", "add_image_a0.5", "sig_image"), strict=True
    ):
        np.testing.assert_allclose(image[0], case[name][0], atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_mels=st.sampled_from([8, 13, 32, 64, 128]),
    crop_frames=st.sampled_from([16, 33, 64, 100, 256]),
    wrap=st.sampled_from([0.0, 0.5, 1.0]),
)
def test_kernel_computes_the_reference(seed, n_mels, crop_frames, wrap):
    rng = np.random.default_rng(seed)
    lengths = [1, 2, 3, 5, crop_frames - 1, crop_frames, crop_frames + 1, 5 * crop_frames]
    bank = random_bank(rng, n_mels, lengths)
    n = len(lengths)
    rows, partners = np.arange(n), rng.permutation(n)
    chain = augmenter(
        n_mels,
        crop_frames,
        mix_prob=0.9,
        sigmoid_share=0.5,
        wrap_pad_prob=wrap,
        resized_crop_prob=0.7,
        resized_crop_scale=(0.3, 1.0),
        resized_crop_ratio=(0.5, 4.0),
        specaugment_prob=0.7,
        num_masks=(1, 3),
        freq_mask_fraction=0.4,
    )
    draws = chain.draw(bank.frames[rows], bank.frames[partners], rng)
    images = chain.images(bank, rows, partners, draws)
    assert images.shape == (n, 3, n_mels, crop_frames)
    assert images.dtype == np.float32
    assert np.isfinite(images).all()
    for i in range(n):
        expected = reference.sample_image(bank.logmel(rows[i]), bank.logmel(partners[i]), draws, i, crop_frames)
        np.testing.assert_allclose(images[i], expected, atol=2e-6)
    # interpolation, masks and mixers only ever average what is there
    lowest, highest = bank.buffer.min() / 25600, bank.buffer.max() / 25600
    assert images[:, 0].min() >= lowest - 1e-6
    assert images[:, 0].max() <= highest + 1e-6


def random_bank(rng, n_mels, lengths):
    logmels = [rng.uniform(-100, 20, (n_mels, length)).astype(np.float32) for length in lengths]
    return Bank.from_logmels([f"clip{i}.wav" for i in range(len(lengths))], logmels)


def test_unmixed_samples_do_not_read_the_partner(float_bank, plain_draws):
    rng = np.random.default_rng(0)
    clip = rng.normal(-60, 15, (32, 80)).astype(np.float32)
    poison = np.full((32, 80), np.nan, np.float32)
    bank = float_bank([clip, poison])
    chain = augmenter(32, 64)
    draws = plain_draws([80], 32, 64)
    images = chain.images(bank, [0], [1], draws)
    np.testing.assert_array_equal(images, chain.images(bank, [0], [0], draws))
    assert np.isfinite(images).all()
    mixed = chain.images(bank, [0], [1], draws._replace(mixer=np.array([ADD])))
    assert np.isnan(mixed[0, 0]).all()


def test_concatenation_keeps_the_own_sample_last(float_bank, plain_draws):
    own, partner = np.full((8, 64), -10.0, np.float32), np.full((8, 64), -90.0, np.float32)
    draws = plain_draws([64], 8, 64, mixer=np.array([SIGMOID]), radius=np.array([12]))
    image = augmenter(8, 64).images(float_bank([own, partner]), [0], [1], draws)[0, 0]
    np.testing.assert_allclose(image[:, :4], -0.9, atol=1e-4)
    np.testing.assert_allclose(image[:, -4:], -0.1, atol=1e-4)


def test_masks_fill_with_the_minimum_of_the_cropped_image(float_bank, plain_draws):
    """As argus-freesound does, also where the image is padded with that very minimum."""
    clip = np.full((8, 200), -20.0, np.float32)
    clip[:, :50] = -80  # outside of the crop, so not the image's minimum
    clip[3, 100] = -30
    draws = plain_draws(
        [200],
        8,
        64,
        num_masks=np.ones((1, 2), np.int64),
        mel_masks=np.tile(np.array([1, 2]), (1, 2, 1, 1)),
        frame_masks=np.tile(np.array([5, 3]), (1, 2, 1, 1)),
    )
    image = augmenter(8, 64).images(float_bank([clip]), [0], [0], draws)[0, 0]
    expected = np.full((8, 64), -0.2, np.float32)
    expected[3, 100 - 68] = -0.3
    expected[1:3] = -0.3
    expected[:, 5:8] = -0.3
    np.testing.assert_allclose(image, expected, atol=1e-6)
