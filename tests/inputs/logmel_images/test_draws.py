"""Distributions and rules of the random choices."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import beta, ks_2samp, kstest

from raytag.inputs.logmel_images.draws import ADD, SIGMOID, UNMIXED, Draws, draw
from raytag.inputs.logmel_images.settings import LogMelImages
from raytag.seeding import generator

N = 5000


def draw_many(settings=None, n_mels=128, frames=300, n=N, seed=1):
    lengths = np.full(n, frames)
    return draw(settings or LogMelImages(), n_mels, lengths, lengths, generator(seed))


def within_four_sigma(sample, mean, std):
    return abs(np.mean(sample) - mean) < 4 * std / np.sqrt(len(sample))


def test_boxes_are_distributed_as_published(golden):
    case = golden("04_rrc_stats")
    box = draw_many(LogMelImages(resized_crop_prob=1)).box[:, 0]
    for k in range(4):
        assert ks_2samp(box[:, k], case["draws_ijhw"][:, k]).pvalue > 1e-3
        assert within_four_sigma(box[:, k], case["mean"][k], np.sqrt(2) * case["std"][k])
    area = box[:, 2] * box[:, 3] / (128 * 256)
    assert within_four_sigma(area, case["area_fraction_mean"], np.sqrt(2) * area.std())


def test_masks_are_distributed_as_published(golden):
    case = golden("05_specaugment")
    draws = draw_many(LogMelImages(specaugment_prob=1))
    rounds = draws.num_masks[:, 0]
    assert ks_2samp(rounds, case["num_masks"]).pvalue > 1e-3
    assert within_four_sigma(rounds, case["mean_num_masks"], np.sqrt(2) * 0.5)
    for masks, size, name in ((draws.mel_masks, 128, "freq"), (draws.frame_masks, 256, "time")):
        share = np.array([covered(masks[i, 0, : rounds[i]], size) for i in range(N)]) / size
        mean, std = case[f"{name}_mean_std"]
        assert ks_2samp(share, case[f"{name}_fraction"]).pvalue > 1e-3
        assert within_four_sigma(share, mean, np.sqrt(2) * std)
        for n in (1, 2):
            mean, std = case[f"{name}_mean_std_given_{n}mask"]
            assert within_four_sigma(share[rounds == n], mean, np.sqrt(2) * std)


def covered(masks, size):
    line = np.zeros(size, bool)
    for first, extent in masks:
        line[first : first + extent] = True
    return line.sum()


def test_alphas_are_distributed_as_published(golden):
    mean, low, high = golden("06_mixers")["alpha_draws_mean_min_max"]
    alpha = draw_many().alpha
    assert within_four_sigma(alpha, mean, np.sqrt(2) * 0.5 / np.sqrt(12))
    assert 0 <= alpha.min() < low + 0.001
    assert high - 0.001 < alpha.max() <= 0.5


def test_weights_of_added_partners_may_be_beta_distributed():
    """argus-freesound's other mixer; what else is drawn stays the same."""
    settings = LogMelImages(add_beta=0.4)
    alpha = draw_many(settings).alpha
    assert kstest(alpha, beta(0.4, 0.4).cdf).pvalue > 1e-3
    assert alpha.dtype == np.float32
    for name, a, b in zip(Draws._fields, draw_many(settings, n=64), draw_many(n=64), strict=True):
        assert np.array_equal(a, b) == (name != "alpha"), name


def test_gates_open_with_their_probability():
    draws = draw_many()
    for gate, p in (
        ((draws.box != (0, 0, 128, 256)).any(axis=-1)[:, 0], 0.33),
        (draws.num_masks[:, 1] > 0, 0.5),
        (draws.wrap[:, 0], 0.5),
        (draws.mixer != UNMIXED, 0.8),
        (draws.mixer == SIGMOID, 0.48),
        (draws.mixer == ADD, 0.32),
    ):
        assert within_four_sigma(gate, p, np.sqrt(p * (1 - p)))
    assert np.bincount(draws.radius, minlength=13)[3:].min() > N / 10 * 0.8
    assert draws.radius.min() == 3
    assert draws.radius.max() == 12


@pytest.mark.parametrize("p", [0, 1])
def test_certain_gates(p):
    draws = draw_many(
        LogMelImages(
            wrap_pad_prob=p,
            resized_crop_prob=p,
            resized_crop_scale=(0.8, 0.9),
            specaugment_prob=p,
            mix_prob=p,
            sigmoid_share=p,
        )
    )
    assert (draws.wrap == p).all()
    assert ((draws.num_masks > 0) == p).all()
    assert ((draws.box == (0, 0, 128, 256)).all(axis=-1) != p).all()
    assert (draws.mixer == (SIGMOID if p else UNMIXED)).all()


def test_crops_start_anywhere_and_short_clips_are_centred():
    starts = draw_many(frames=260).first
    assert set(np.unique(starts)) == {0, 1, 2, 3, 4}
    assert np.bincount(starts.ravel()).min() > 2 * N / 5 * 0.9
    assert (draw_many(frames=256).first == 0).all()
    assert (draw_many(frames=201).first == -27).all()  # 55 missing, the larger half on the right
    assert (draw_many(frames=1).first == -127).all()


@pytest.mark.parametrize(("n_mels", "crop_frames"), [(1, 16), (32, 64), (64, 100), (128, 40), (40, 256)])
def test_boxes_and_masks_lie_inside_any_image(n_mels, crop_frames):
    settings = LogMelImages(crop_frames=crop_frames, resized_crop_prob=1, specaugment_prob=1, num_masks=(0, 3))
    draws = draw_many(settings, n_mels=n_mels)
    band, frame, bands, frames = np.moveaxis(draws.box, -1, 0)
    assert (band >= 0).all()
    assert (frame >= 0).all()
    assert (bands >= 1).all()
    assert (frames >= 1).all()
    assert (band + bands <= n_mels).all()
    assert (frame + frames <= crop_frames).all()
    for masks, size, share in ((draws.mel_masks, n_mels, 0.15), (draws.frame_masks, crop_frames, 0.2)):
        assert masks.min() >= 0
        assert masks[..., 1].max() <= share * size
        assert masks.sum(axis=-1).max() <= size
    assert set(np.unique(draws.num_masks)) == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("n_mels", "crop_frames", "expected"),
    [(128, 100, (34, 0, 59, 100)), (32, 256, (0, 91, 32, 74))],
)
def test_the_fallback_is_the_largest_centred_box_in_range(n_mels, crop_frames, expected):
    # the whole area is more than a box in range can have: no attempt fits
    settings = LogMelImages(
        crop_frames=crop_frames,
        resized_crop_prob=1,
        resized_crop_scale=(1.0, 1.0),
        resized_crop_ratio=(1.7, 2.3),
    )
    assert (draw_many(settings, n_mels=n_mels, n=200).box == expected).all()


def test_the_generator_decides_everything():
    one, same, other = draw_many(n=64, seed=3), draw_many(n=64, seed=3), draw_many(n=64, seed=4)
    for a, b in zip(one, same, strict=True):
        np.testing.assert_array_equal(a, b)
    assert all((a != b).any() for a, b in zip(one[2:], other[2:], strict=True))


def test_no_two_samples_of_a_batch_are_drawn_alike():
    """Not even of one clip; argus-freesound seeds each sample with the clock, and some of them alike."""
    draws = draw_many(LogMelImages(resized_crop_prob=1), frames=10_000, n=512)
    for image in (0, 1):
        choices = (draws.first, draws.box, draws.mel_masks, draws.frame_masks)
        own = [field[:, image].reshape(512, -1) for field in choices]
        assert len(np.unique(np.concatenate(own, axis=1), axis=0)) == 512
        assert all(len(np.unique(field, axis=0)) > 256 for field in own)
    assert len(np.unique(draws.alpha)) == 512


def test_samples_and_their_partners_are_independent():
    draws = draw_many(frames=2000)
    for values in (draws.first, draws.wrap, draws.num_masks, draws.mel_masks[..., 0, 0]):
        assert abs(np.corrcoef(values[:, 0], values[:, 1])[0, 1]) < 4 / np.sqrt(N)


@pytest.mark.parametrize(
    ("frames", "partner_frames", "message"),
    [
        ([5, 0], [5, 5], "sample 1: its own clip has 0 frames"),
        ([5], [0], "its partner"),
        ([5], [5, 5], "one length"),
    ],
)
def test_impossible_lengths_are_errors(frames, partner_frames, message):
    with pytest.raises(ValueError, match=message):
        draw(LogMelImages(), 8, np.array(frames), np.array(partner_frames), generator(0))
