"""What callers rely on: determinism, read-only banks, reused batches, label rules, clear errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from raytag.features.bank import Bank
from raytag.inputs.logmel_images.augmenter import Augmenter
from raytag.inputs.logmel_images.draws import ADD, SIGMOID, UNMIXED
from raytag.inputs.logmel_images.settings import LogMelImages
from raytag.inputs.mixing import mix
from raytag.seeding import generator

N_MELS, WIDTH, B = 32, 64, 24


@pytest.fixture(scope="module")
def bank():
    rng = np.random.default_rng(5)
    lengths = rng.integers(1, 300, 40)
    return Bank.from_logmels(
        [f"{i}.wav" for i in range(40)],
        [rng.uniform(-100, 20, (N_MELS, length)).astype(np.float32) for length in lengths],
    )


@pytest.fixture(scope="module")
def augmenter():
    return Augmenter(LogMelImages(crop_frames=WIDTH), N_MELS)


def batch(bank, step=0):
    rng = generator(7, step)
    rows, partners = rng.integers(0, 40, (2, B))
    return rows, partners, rng


def test_the_same_generator_gives_the_same_bytes(bank, augmenter):
    results = []
    for _ in range(2):
        rows, partners, rng = batch(bank)
        draws = augmenter.draw(bank.frames[rows], bank.frames[partners], rng)
        results.append(augmenter.images(bank, rows, partners, draws).tobytes())
    assert results[0] == results[1]


def test_a_reused_batch_holds_nothing_of_the_last_one(bank, augmenter):
    out = np.full((B, 3, N_MELS, WIDTH), np.nan, np.float32)
    for step in range(3):
        rows, partners, rng = batch(bank, step)
        draws = augmenter.draw(bank.frames[rows], bank.frames[partners], rng)
        fresh = augmenter.images(bank, rows, partners, draws)
        assert augmenter.images(bank, rows, partners, draws, out=out) is out
        assert out.tobytes() == fresh.tobytes()


def test_a_sample_does_not_depend_on_its_neighbours(bank, augmenter):
    rows, partners, rng = batch(bank)
    draws = augmenter.draw(bank.frames[rows], bank.frames[partners], rng)
    images = augmenter.images(bank, rows, partners, draws)
    half = type(draws)(*(field[5:9] for field in draws))
    np.testing.assert_array_equal(augmenter.images(bank, rows[5:9], partners[5:9], half), images[5:9])


def test_the_bank_may_be_read_only_and_is_left_alone(bank, augmenter):
    rows, partners, rng = batch(bank)
    draws = augmenter.draw(bank.frames[rows], bank.frames[partners], rng)
    before, writeable = bank.buffer.tobytes(), bank.buffer.flags.writeable
    expected = augmenter.images(bank, rows, partners, draws)
    assert bank.buffer.tobytes() == before
    assert bank.buffer.flags.writeable == writeable
    for field in (rows, partners, *draws):
        field.flags.writeable = False
    np.testing.assert_array_equal(augmenter.images(bank, rows, partners, draws), expected)


def test_a_bank_mapped_from_a_file_gives_the_same_bytes(bank, augmenter, tmp_path):
    """argus-freesound holds every spectrogram in the memory of one process."""
    bank.save(tmp_path / "bank")
    mapped = Bank.memmap(tmp_path / "bank")
    rows, partners, rng = batch(bank)
    draws = augmenter.draw(mapped.frames[rows], mapped.frames[partners], rng)
    expected = augmenter.images(bank, rows, partners, draws)
    assert augmenter.images(mapped, rows, partners, draws).tobytes() == expected.tobytes()


def mixed_labels(own, other, draws):
    labels = (np.asarray(plane, np.float32) for plane in (own, other))
    return mix(*labels, draws.mixer == SIGMOID, draws.mixer == ADD, draws.alpha)


def test_an_empty_batch_is_empty(bank, augmenter):
    none = np.zeros(0, np.int64)
    draws = augmenter.draw(none, none, generator(0))
    assert augmenter.images(bank, none, none, draws).shape == (0, 3, N_MELS, WIDTH)
    assert mixed_labels(np.zeros((0, 3)), np.zeros((0, 3)), draws).shape == (0, 3)


def test_targets_match_the_published_system(golden, plain_draws):
    case = golden("06_mixers")
    own, other = (np.tile(case[name], (4, 1)) for name in ("in_target", "in_other_target"))
    draws = plain_draws(
        [256] * 4,
        128,
        256,
        mixer=np.array([ADD, ADD, ADD, SIGMOID]),
        alpha=np.array([0.1, 0.25, 0.5, 0], np.float32),
    )
    mixed = mixed_labels(own, other, draws)
    for row, name in zip(
        mixed, ("add_target_a0.1", "add_target_a0.25", "add_target_a0.5", "sig_target"), strict=True
    ):
        np.testing.assert_allclose(row, case[name], atol=1e-6)


LABELS = arrays.arrays(np.float32, (9, 4), elements=st.floats(0, 1, width=32))


@settings(deadline=None)
@given(own=LABELS, other=LABELS, seed=st.integers(0, 1000))
def test_label_rules(own, other, seed):
    augmenter = Augmenter(LogMelImages(), 128)
    frames = np.full(9, 300)
    draws = augmenter.draw(frames, frames, generator(seed))
    mixed = mixed_labels(own, other, draws)
    assert mixed.dtype == np.float32
    assert mixed.min() >= 0
    assert mixed.max() <= 1
    for i, kind in enumerate(draws.mixer):
        expected = {
            UNMIXED: own[i],
            SIGMOID: np.minimum(own[i] + other[i], 1),
            ADD: (1 - draws.alpha[i]) * own[i] + draws.alpha[i] * other[i],
        }[int(kind)]
        np.testing.assert_allclose(mixed[i], expected, atol=1e-6)


def test_targets_are_a_copy(plain_draws):
    own = np.ones((2, 3), np.float32)
    mixed = mixed_labels(own, own, plain_draws([64, 64], N_MELS, WIDTH))
    mixed[:] = 0
    assert own.all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": [40]}, "rows: 40 is not a row of a bank of 40 clips"),
        ({"partners": [-1]}, "partners: -1 is not a row"),
        ({"rows": [0.5]}, "vector of integers"),
        ({"rows": [[0]]}, "vector of integers"),
        ({"partners": [0, 1]}, "1 rows cannot have 2 partners"),
        ({"out": np.zeros((1, 3, 2, 2), np.float32)}, "out must be float32 of shape"),
        ({"out": np.zeros((1, 3, N_MELS, WIDTH))}, "out must be float32 of shape"),
        ({"out": np.zeros((1, 3, WIDTH, N_MELS), np.float32).swapaxes(2, 3)}, "C-contiguous"),
    ],
)
def test_arguments_that_do_not_fit(bank, augmenter, plain_draws, change, message):
    arguments = {"rows": [0], "partners": [0], "draws": plain_draws([bank.frames[0]], N_MELS, WIDTH)}
    with pytest.raises(ValueError, match=message):
        augmenter.images(bank, **(arguments | change))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("first", -1),
        ("first", 10**6),
        ("box", N_MELS + 1),
        ("box", -1),
        ("box", 0),
        ("num_masks", 2),
        ("num_masks", -1),
        ("mel_masks", N_MELS + 1),
        ("frame_masks", -1),
        ("mixer", 3),
        ("radius", 2),
        ("radius", 13),
    ],
)
def test_draws_that_would_leave_the_arrays_are_errors(float_bank, augmenter, plain_draws, field, value):
    bank = float_bank([np.zeros((N_MELS, 100), np.float32)] * 2)
    draws = plain_draws([100, 100], N_MELS, WIDTH)
    array = getattr(draws, field).copy()
    array[1] = value
    with pytest.raises(ValueError, match=rf"draws\.{field} of sample 1"):
        augmenter.images(bank, [0, 0], [0, 0], draws._replace(**{field: array}))


def test_draws_of_another_batch_are_errors(bank, augmenter, plain_draws):
    row = int(np.argmax(bank.frames))
    with pytest.raises(ValueError, match=r"draws\.first of sample 0 does not fit clips of"):
        augmenter.images(bank, [row], [row], plain_draws([3], N_MELS, WIDTH))
    with pytest.raises(ValueError, match=r"draws\.first must have shape"):
        augmenter.images(bank, [row], [row], plain_draws([3, 3], N_MELS, WIDTH))


def test_banks_that_do_not_fit(float_bank, augmenter, plain_draws):
    other = float_bank([np.zeros((16, 100))])
    with pytest.raises(ValueError, match="16 mel bands, the augmenter is for 32"):
        augmenter.images(other, [0], [0], plain_draws([100], N_MELS, WIDTH))
    empty = float_bank([np.zeros((N_MELS, 100)), np.zeros((N_MELS, 0))])
    with pytest.raises(ValueError, match="clip 1 of the bank has no frames"):
        augmenter.images(empty, [1], [0], plain_draws([100], N_MELS, WIDTH))


def test_targets_that_do_not_fit(plain_draws):
    draws = plain_draws([64, 64], N_MELS, WIDTH)
    with pytest.raises(ValueError, match=r"must both be \(2, n_classes\)"):
        mixed_labels(np.ones((3, 4)), np.ones((3, 4)), draws)
