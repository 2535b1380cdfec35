"""From OOF predictions to the final blend: nothing that is scored on a fold has seen its labels."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from raytag.ensemble.blend import geometric_mean
from raytag.ensemble.oof import OofMatrix
from raytag.ensemble.pipeline import choose_subset, final_blend, train_stackers
from raytag.metrics import lwlrap
from tests.ensemble.fakes import simulate


@pytest.fixture(scope="module")
def oof() -> OofMatrix:
    probabilities, targets = simulate(6, 66, 5, own=1.5, signal=2.0, seed=3)
    return OofMatrix(
        experiments=tuple("abcdef"),
        classes=tuple("vwxyz"),
        fnames=tuple(map(str, range(60))),
        probabilities=probabilities[:, :60],
        targets=targets[:60],
        fold=np.arange(60) % 3,
        group=np.full(60, "", dtype=object),
        n_folds=3,
        test_fnames=tuple(map(str, range(60, 66))),
        test=probabilities[:, 60:],
    )


def search(oof):
    console = Console(file=io.StringIO())
    subset = choose_subset(oof, [1, 2, 3], 10, console)
    return subset, train_stackers(oof, subset.final.members, subset.left_out, 4, 0, console)


@pytest.fixture(scope="module")
def found(oof, ray_session):
    return search(oof)


@pytest.mark.parametrize("fold", [0, 1])
def test_labels_of_a_fold_change_no_bit_of_what_is_scored_on_it(oof, found, fold, ray_session):
    targets = oof.targets.copy()
    targets[oof.fold == fold] = np.roll(targets[oof.fold == fold], 1, axis=1)
    changed_subset, changed = search(replace(oof, targets=targets))
    subset, stackers = found
    assert changed_subset.left_out[fold] == subset.left_out[fold]
    assert changed_subset.greedy.chosen[fold] == subset.greedy.chosen[fold]
    assert changed_subset.single.chosen[fold] == subset.single.chosen[fold]
    assert changed.selected_without[fold] == stackers.selected_without[fold]
    rows = oof.fold == fold
    assert changed.nested_oof[rows].tobytes() == stackers.nested_oof[rows].tobytes()
    assert changed.nested_oof[~rows].tobytes() != stackers.nested_oof[~rows].tobytes()


def test_nested_blend_is_scored_pooled(oof, found):
    stackers = found[1]
    assert stackers.blend.nested == lwlrap(oof.targets, stackers.nested_oof)
    assert len(stackers.selected) == 3
    assert all(len(chosen) == 3 for chosen in stackers.selected_without)
    assert stackers.oof.shape == (4, 60, 5)
    assert stackers.test.shape == (4, 6, 5)


def test_stackers_join_only_if_they_raise_the_nested_score(oof, found):
    subset, stackers = found
    members = list(subset.final.members)
    alone = geometric_mean(oof.probabilities[members])
    together = geometric_mean(np.concatenate([oof.probabilities[members], stackers.oof[stackers.selected]]))
    better = replace(stackers, blend=replace(stackers.blend, nested=subset.subset.nested + 1e-9))
    equal = replace(stackers, blend=replace(stackers.blend, nested=subset.subset.nested))

    blend = final_blend(oof, subset, better)
    np.testing.assert_array_equal(blend.oof, together)
    assert blend.stackers == tuple(stackers.selected)
    assert (blend.in_sample, blend.nested) == (better.blend.in_sample, better.blend.nested)
    tests = np.concatenate([oof.test[members], stackers.test[stackers.selected]])
    np.testing.assert_array_equal(blend.test, geometric_mean(tests))

    for other in (equal, None):
        blend = final_blend(oof, subset, other)
        np.testing.assert_array_equal(blend.oof, alone)
        assert blend.stackers == ()
        assert blend.nested == subset.subset.nested
        np.testing.assert_array_equal(blend.test, geometric_mean(oof.test[members]))


def test_without_test_clips(oof, found):
    subset, stackers = found
    assert final_blend(replace(oof, test=None, test_fnames=()), subset, stackers).test is None
