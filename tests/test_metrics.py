"""lwlrap against scikit-learn, against reference arrays, and against its own definition."""

from __future__ import annotations

import itertools
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import label_ranking_average_precision_score

from raytag.metrics import (
    best_rank_lwlrap,
    chance_lwlrap,
    label_precisions,
    lwlrap,
    per_class_lwlrap,
    tied_pairs,
    top1_accuracy,
)

CASES = ["random", "no_positives_rows", "all_positives_rows", "single_class", "absent_class", "big_2000x80"]


def reference(shared: Path, case: str) -> tuple[np.ndarray, np.ndarray, np.lib.npyio.NpzFile]:
    arrays = np.load(shared / "golden" / "08_lwlrap.npz")
    scores = arrays[f"in_{case}_scores"]
    if f"in_{case}_truth" in arrays:
        return arrays[f"in_{case}_truth"], scores, arrays
    bits = np.unpackbits(arrays[f"in_{case}_truth_bits"], axis=1)
    return bits[:, : scores.shape[1]], scores, arrays


def sklearn_lwlrap(targets: np.ndarray, scores: np.ndarray) -> float:
    labels = targets.sum(axis=1)
    rows = labels > 0
    return label_ranking_average_precision_score(
        targets[rows].astype(int), scores[rows], sample_weight=labels[rows]
    )


def exact_lwlrap(targets: np.ndarray, scores: np.ndarray) -> Fraction:
    """The definition, in rational numbers."""
    precisions = []
    for truth, row in zip(targets, scores, strict=True):
        for label in np.flatnonzero(truth):
            above = row >= row[label]
            precisions.append(Fraction(int((above & (truth == 1)).sum()), int(above.sum())))
    return sum(precisions, Fraction(0)) / len(precisions)


@st.composite
def problems(draw: st.DrawFn, *, ties: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Targets with at least one label, and scores."""
    shape = (draw(st.integers(1, 8)), draw(st.integers(1, 40)))
    targets = draw(hnp.arrays(np.int8, shape, elements=st.integers(0, 1)))
    targets[draw(st.integers(0, shape[0] - 1)), draw(st.integers(0, shape[1] - 1))] = 1
    if ties:
        steps = hnp.arrays(np.int8, shape, elements=st.integers(-5, 5))
        return targets, draw(steps).astype(draw(st.sampled_from([np.float32, np.float64]))) / 8
    order = np.random.default_rng(draw(st.integers(0, 2**32 - 1))).permuted(
        np.tile(np.arange(shape[1], dtype=np.float64), (shape[0], 1)), axis=1
    )
    return targets, order


@pytest.mark.parametrize("case", CASES)
def test_reference_arrays(shared: Path, case: str) -> None:
    truth, scores, expected = reference(shared, case)
    assert lwlrap(truth, scores) == pytest.approx(float(expected[f"{case}_overall"]), rel=1e-9)
    values, weight = per_class_lwlrap(truth, scores)
    np.testing.assert_allclose(values, expected[f"{case}_per_class"], rtol=1e-9)
    np.testing.assert_allclose(weight, expected[f"{case}_weight"], rtol=1e-9)
    assert tied_pairs(truth, scores) == 0


def test_reference_ties_are_ranked_as_scikit_learn_does(shared: Path) -> None:
    truth, scores, expected = reference(shared, "ties")
    assert lwlrap(truth, scores) == pytest.approx(float(expected["ties_overall_sklearn"]), rel=1e-9)
    assert lwlrap(truth, scores) < float(expected["ties_overall"])
    equal = scores[:, :, None] == scores[:, None, :]
    assert tied_pairs(truth, scores) == int((equal & (truth[:, :, None] == 1)).sum() - truth.sum())


@given(problems())
@settings(max_examples=200, deadline=None)
def test_agrees_with_scikit_learn_and_with_the_definition(problem: tuple[np.ndarray, np.ndarray]) -> None:
    """argus-freesound's loop over clips needs names that numpy has dropped, and breaks ties in any order."""
    targets, scores = problem
    value = lwlrap(targets, scores)
    assert value == pytest.approx(sklearn_lwlrap(targets, scores), rel=1e-12)
    assert value == pytest.approx(float(exact_lwlrap(targets, scores)), rel=1e-15)


@given(problems(), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_order_of_clips_and_classes_changes_no_bit(problem: tuple[np.ndarray, np.ndarray], random: object) -> None:
    targets, scores = problem
    rng = np.random.default_rng(random.randint(0, 2**32))  # type: ignore[attr-defined]
    rows, columns = rng.permutation(targets.shape[0]), rng.permutation(targets.shape[1])
    shuffled = targets[rows][:, columns], scores[rows][:, columns]
    assert lwlrap(*shuffled) == lwlrap(targets, scores)
    assert tied_pairs(*shuffled) == tied_pairs(targets, scores)
    values, weight = per_class_lwlrap(targets, scores)
    np.testing.assert_array_equal(per_class_lwlrap(*shuffled)[0], values[columns])
    np.testing.assert_array_equal(per_class_lwlrap(*shuffled)[1], weight[columns])


@given(problems())
@settings(deadline=None)
def test_only_the_order_of_scores_within_a_clip_counts(problem: tuple[np.ndarray, np.ndarray]) -> None:
    targets, scores = problem
    value = lwlrap(targets, scores)
    offsets = np.arange(len(scores))[:, None]
    assert lwlrap(targets, 4 * scores - 16) == value
    assert lwlrap(targets, np.exp(scores.astype(np.float64)) + offsets) == value
    assert lwlrap(targets, np.where(scores == scores.max(), np.inf, scores)) == value


@given(problems())
@settings(deadline=None)
def test_parts_add_up(problem: tuple[np.ndarray, np.ndarray]) -> None:
    targets, scores = problem
    total = lwlrap(targets, scores)
    values, weight = per_class_lwlrap(targets, scores)
    assert float(values @ weight) == pytest.approx(total, rel=1e-12)
    assert weight.sum() == pytest.approx(1)
    assert (values[targets.sum(axis=0) == 0] == 0).all()
    clip, label, precision = label_precisions(targets, scores)
    np.testing.assert_array_equal(np.stack([clip, label]), np.stack(np.nonzero(targets)))
    assert precision.mean() == pytest.approx(total, rel=1e-12)
    one = clip == clip[0]
    assert lwlrap(targets[clip[0]][None], scores[clip[0]][None]) == pytest.approx(precision[one].mean())


@given(problems(ties=False), st.integers(1, 8))
@settings(deadline=None)
def test_ties_can_only_lower_the_score_of_single_labels(problem: tuple[np.ndarray, np.ndarray], width: int) -> None:
    targets, scores = problem
    targets = targets * (targets.cumsum(axis=1) == 1)  # the first label of each clip
    assert tied_pairs(targets, scores) == 0
    assert lwlrap(targets, np.floor(scores / width)) <= lwlrap(targets, scores)


@given(problems())
@settings(deadline=None)
def test_best_rank_counts_tied_classes_that_are_no_labels_as_below(problem: tuple[np.ndarray, np.ndarray]) -> None:
    targets, scores = problem
    precisions = []
    for truth, row in zip(targets == 1, scores, strict=True):
        for label in np.flatnonzero(truth):
            hits, misses = (truth & (row >= row[label])).sum(), (~truth & (row > row[label])).sum()
            precisions.append(Fraction(int(hits), int(hits + misses)))
    assert best_rank_lwlrap(targets, scores) == pytest.approx(float(sum(precisions) / len(precisions)), rel=1e-15)
    assert best_rank_lwlrap(targets, scores) >= lwlrap(targets, scores)
    assert best_rank_lwlrap(targets.astype(bool), np.where(scores == scores.max(), np.inf, scores)) >= lwlrap(
        targets, scores
    )


@given(st.lists(st.integers(0, 2), min_size=4, max_size=4), st.lists(st.booleans(), min_size=4, max_size=4))
@settings(deadline=None)
def test_no_order_of_tied_classes_scores_above_the_best_rank(row: list[int], truth: list[bool]) -> None:
    targets = np.array([[*truth, True]])
    scores = np.array([[*row, 1]])
    orders = [lwlrap(targets, scores + np.array(order) / 8) for order in itertools.permutations(range(5))]
    best = best_rank_lwlrap(targets, scores)
    assert max(orders) <= best + 1e-12
    if targets.sum() == 1:
        assert max(orders) == best


def test_best_rank_refuses_what_has_no_rank() -> None:
    with pytest.raises(ValueError, match="NaN has no rank"):
        best_rank_lwlrap([[1, 0]], [[np.nan, 0.5]])


def test_accuracy_of_single_labels() -> None:
    targets = np.eye(4)[[0, 1, 2, 2, 3]]
    scores = np.array([[3, 1, 2, 0], [0, 1, 2, 3], [1, 1, 1, 1], [0, 0, 5, 4], [0, 1, 1, 2]])
    assert top1_accuracy(targets, scores) == 3 / 5  # one is wrong, one is tied
    assert top1_accuracy(np.ones((2, 2)), np.eye(2)) is None
    assert top1_accuracy(np.zeros((2, 2)), np.eye(2)) is None


def test_extremes() -> None:
    targets = np.eye(5, 9)
    assert lwlrap(targets, targets) == 1
    assert lwlrap(targets, np.zeros((5, 9))) == pytest.approx(1 / 9)
    assert lwlrap(targets, -targets) == pytest.approx(1 / 9)
    assert tied_pairs(targets, np.zeros((5, 9))) == 5 * 8


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float32, np.float64])
def test_dtypes_and_layouts_give_the_same_number(dtype: type) -> None:
    rng = np.random.default_rng(3)
    targets = (rng.random((50, 13)) < 0.2).astype(dtype)
    scores = rng.random((50, 13)).astype(np.float16)
    value = lwlrap(targets, scores)
    assert value == pytest.approx(sklearn_lwlrap(targets.astype(int), scores.astype(float)), rel=1e-12)
    assert lwlrap(np.asfortranarray(targets), np.asfortranarray(scores.astype(np.float32))) == value
    read_only = scores.astype(np.float64)
    read_only.flags.writeable = False
    assert lwlrap(targets.tolist(), read_only) == value
    doubled = np.repeat(scores.astype(np.float32), 2, axis=1)
    assert lwlrap(targets, doubled[:, ::2]) == value


def test_bad_input_is_named() -> None:
    targets, scores = np.eye(3), np.random.default_rng(0).random((3, 3))
    with pytest.raises(ValueError, match=r"\(3, 3\) and \(3, 2\)"):
        lwlrap(targets, scores[:, :2])
    with pytest.raises(ValueError, match="n_clips, n_classes"):
        lwlrap(targets[0], scores[0])
    with pytest.raises(ValueError, match="no clip has a label"):
        lwlrap(np.zeros((3, 3)), scores)
    with pytest.raises(ValueError, match="no clip has a label"):
        per_class_lwlrap(np.zeros((0, 3)), np.zeros((0, 3)))
    with pytest.raises(ValueError, match=r"0 or 1, not 0\.7"):
        lwlrap(0.7 * targets, scores)
    with pytest.raises(ValueError, match="0 or 1, not nan"):
        lwlrap(np.where(targets == 1, np.nan, 0), scores)
    scores[1, 2] = np.nan
    for function in (lwlrap, per_class_lwlrap, label_precisions, tied_pairs):
        with pytest.raises(ValueError, match="1 of 9 scores are NaN, the first in row 1"):
            function(targets, scores)


def test_import_compiles_nothing() -> None:
    code = (
        "import raytag.metrics as m\n"
        "kernels = [v for v in vars(m).values() if hasattr(v, 'nopython_signatures')]\n"
        "assert len(kernels) >= 4, kernels\n"
        "assert not any(k.nopython_signatures for k in kernels)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("n_classes", [1, 2, 5])
def test_chance_is_the_mean_over_all_orders(n_classes):
    for n_labels in range(1, n_classes + 1):
        targets = np.zeros((1, n_classes))
        targets[0, :n_labels] = 1
        orders = [lwlrap(targets, [order]) for order in itertools.permutations(range(n_classes))]
        assert chance_lwlrap(targets) == pytest.approx(np.mean(orders), abs=1e-12)


def test_chance_weights_clips_by_their_labels():
    targets = np.array([[1, 0, 0, 0], [1, 1, 1, 0], [0, 0, 0, 0]])
    one, three = chance_lwlrap(targets[:1]), chance_lwlrap(targets[1:2])
    assert chance_lwlrap(targets) == pytest.approx((one + 3 * three) / 4)
    assert np.isnan(chance_lwlrap(targets[2:]))
