"""Grids of tiles, and that test clips alone get those that are asked for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raytag.experiment import Experiment, Features, Input
from raytag.features.bank import Bank
from raytag.inputs.tiling import count_tiles, first_frames

LENGTHS = np.array([1, 20, 48, 49, 130, 500])


@settings(max_examples=200, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 700), min_size=1, max_size=5),
    width=st.integers(16, 90),
    step=st.integers(2, 90),
    shifts=st.integers(1, 45),
)
def test_shifted_grids_cover_every_frame_and_no_tile_lies_outside(lengths, width, step, shifts):
    step = min(step, width)
    shifts, frames = min(shifts, step // 2), np.array(lengths)
    plain, of_one = first_frames(frames, width, step)
    first, owner = first_frames(frames, width, step, shifts)
    np.testing.assert_array_equal(count_tiles(frames, width, step, shifts), shifts * np.bincount(of_one))
    offsets = np.rint([(i - (shifts - 1) / 2) * step / shifts for i in range(shifts)])
    for i, length in enumerate(lengths):
        begin, covered = first[owner == i], np.zeros(length, bool)
        assert sorted(begin) == begin.tolist() == sorted(np.add.outer(offsets, plain[of_one == i]).ravel())
        assert (begin < length).all()
        assert (begin + width > 0).all()
        for start in begin:
            covered[max(start, 0) : start + width] = True
        assert covered.all()


def test_two_grids_lie_a_quarter_of_a_step_to_each_side():
    assert first_frames(np.array([200, 64]), 64, 32)[0].tolist() == [-12, 20, 52, 84, 116, 148, 0]
    first, owner = first_frames(np.array([200, 64]), 64, 32, 2)
    assert first.tolist() == [-20, -4, 12, 28, 44, 60, 76, 92, 108, 124, 140, 156, -8, 8]
    assert owner.tolist() == [0] * 12 + [1] * 2


@pytest.mark.parametrize("shifts", [0, 17])
def test_grids_that_are_none_or_nearly_the_same_are_errors(shifts):
    with pytest.raises(ValueError, match=rf"test_shifts must lie in \[1, step / 2\] = \[1, 16\], not {shifts}"):
        count_tiles(LENGTHS, 64, 32, shifts)


@pytest.mark.parametrize(
    ("name", "plain", "test"),
    [
        ("LogMelImages", {"crop_frames": 48, "tile_step": 12}, {"test_tile_step": 24, "test_shifts": 2}),
        (
            "WaveformCrops",
            {"crop_seconds": 0.006, "tile_seconds": 0.0015},
            {"test_tile_seconds": 0.003, "test_shifts": 2},
        ),
    ],
)
def test_test_clips_alone_are_tiled_as_is_asked(name, plain, test):
    own = Input(name, **plain)
    features = Features(own.reads, sample_rate=8000, **({"fmax": 4000.0} if name == "LogMelImages" else {}))
    bank = Bank(features.noise(int(LENGTHS.sum()), np.random.default_rng(0)), np.cumsum([0, *LENGTHS]), "abcdef")
    rows = np.arange(len(LENGTHS))

    def starts(given):
        feed = given.open(bank, features)
        batch, owner = feed.tiles(rows)
        first, of = feed.first_frames(rows)
        assert feed.count_tiles(rows).tolist() == np.bincount(owner).tolist() == np.bincount(of).tolist()
        assert len(batch.x) == len(first)
        return first.tolist()

    expected = first_frames(LENGTHS, 48, 12)[0].tolist()
    assert starts(own) == starts(own.for_test()) == expected
    both = Input(name, **plain, **test)
    assert starts(both) == expected
    assert starts(both.for_test()) == first_frames(LENGTHS, 48, 24, 2)[0].tolist()
    assert starts(both) == expected  # it is a copy
    shifted = Input(name, **plain, test_shifts=2)
    assert starts(shifted.for_test()) == first_frames(LENGTHS, 48, 12, 2)[0].tolist()
    one = next(iter(test))
    assert starts(Input(name, **plain, **{one: test[one]}).for_test()) == first_frames(LENGTHS, 48, 24)[0].tolist()


def test_fields_of_test_clips_are_no_part_of_the_identity_until_they_are_given():
    plain = Experiment()
    assert plain.replace({"input.test_tile_step": None, "input.test_shifts": 1}).hash == plain.hash
    changed = [plain.replace({key: 2}).hash for key in ("input.test_tile_step", "input.test_shifts")]
    assert len({plain.hash, *changed}) == 3


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("input.test_tile_step", 300, "test_tile_step 300 is above crop_frames 256"),
        ("input.test_shifts", 65, r"\[1, 64\], not 65"),
    ],
)
def test_grids_that_do_not_fit_are_refused_with_the_experiment(key, value, words):
    with pytest.raises(ValueError, match=words):
        Experiment().replace({key: value})
