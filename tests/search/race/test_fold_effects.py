"""The two-way fit against a full dummy design, solved by numpy's least squares."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raytag.search.race.fold_effects import MIN_DOF, PRIOR_DOF, fit, pooled_variance


def dummy_design(values):
    """A column an experiment and a column a fold; a row for each cell that is known."""
    e, k = np.nonzero(~np.isnan(values))
    design = np.zeros((len(e), sum(values.shape)))
    design[np.arange(len(e)), e] = 1
    design[np.arange(len(e)), len(values) + k] = 1
    return design, values[e, k]


def is_connected(design):
    """Whether every experiment that ran is linked to every other one by shared folds: rank E + K - 1."""
    used = design.any(axis=0)
    return np.linalg.matrix_rank(design) == used.sum() - 1


def random_table(seed, experiments, folds, share):
    rng = np.random.default_rng(seed)
    values = rng.uniform(0.3, 0.9, (experiments, folds))
    values[rng.random(values.shape) >= share] = np.nan
    return values


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 6), st.sampled_from([0.2, 0.4, 0.7, 1.0]))
def test_least_squares_of_the_full_dummy_design(seed, experiments, folds, share):
    values = random_table(seed, experiments, folds, share)
    known = ~np.isnan(values)
    found = fit(values)
    design, cells = dummy_design(values)
    assert (np.isnan(found.estimates) == ~known.any(axis=1)).all()
    assert (found.fold_effects[~known.any(axis=0)] == 0).all()
    assert abs(found.fold_effects.sum()) < 1e-12
    if not len(cells):
        assert (found.residual_ss, found.dof) == (0.0, 0)
        return
    solution = np.linalg.lstsq(design, cells, rcond=None)[0]
    fitted = (found.estimates[:, None] + found.fold_effects[None, :])[known]
    np.testing.assert_allclose(fitted, design @ solution, atol=1e-10)
    assert found.residual_ss == pytest.approx(((cells - design @ solution) ** 2).sum(), abs=1e-12)
    rank = np.linalg.matrix_rank(design)
    if is_connected(design):
        assert found.dof == len(cells) - rank
        effects = solution[len(values) :]
        seen = known.any(axis=0)
        np.testing.assert_allclose(found.fold_effects[seen], effects[seen] - effects[seen].mean(), atol=1e-9)
    else:  # never more than there are: a variance that is too large drops nobody
        assert 0 <= found.dof <= len(cells) - rank


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 10), st.integers(2, 6))
def test_an_additive_table_is_recovered_from_a_connected_part_of_it(seed, experiments, folds):
    rng = np.random.default_rng(seed)
    worth, effects = rng.uniform(0.3, 0.9, experiments), rng.normal(0, 0.1, folds)
    effects -= effects.mean()
    values = worth[:, None] + effects[None, :]
    holes = values.copy()
    holes[rng.random(holes.shape) < 0.5] = np.nan
    design, _ = dummy_design(holes)
    if np.isnan(holes).all(axis=0).any() or not is_connected(design):
        holes[0] = values[0]  # one complete experiment connects all folds
    found = fit(holes)
    run = ~np.isnan(holes).all(axis=1)
    np.testing.assert_allclose(found.estimates[run], worth[run], atol=1e-10)
    np.testing.assert_allclose(found.fold_effects, effects, atol=1e-10)
    assert found.residual_ss < 1e-18


def test_a_complete_experiment_is_worth_its_plain_mean_whatever_the_others_lack():
    values = random_table(3, 8, 5, 0.5)
    values[2] = [0.7, 0.5, 0.6, 0.8, 0.9]
    assert fit(values).estimates[2] == pytest.approx(0.7, abs=1e-12)


def test_an_experiment_on_the_hard_fold_alone_is_not_worse_for_it():
    values = np.array([[0.8, 0.6], [0.7, 0.5], [np.nan, 0.6]])
    np.testing.assert_allclose(fit(values).estimates, [0.7, 0.6, 0.7], atol=1e-12)


def test_a_row_and_a_column_that_are_empty():
    values = np.array([[0.8, np.nan, 0.6], [np.nan] * 3, [0.7, np.nan, 0.5], [0.9, np.nan, 0.8]])
    found = fit(values)
    np.testing.assert_allclose(found.estimates, [0.7, np.nan, 0.6, 0.85], atol=1e-12)
    assert found.fold_effects[1] == 0
    assert found.dof == 6 - 3 - 2 + 1


def test_one_row_and_one_column_leave_no_residual():
    row = fit(np.array([[0.5, 0.7, 0.9]]))
    np.testing.assert_allclose(row.estimates, [0.7])
    np.testing.assert_allclose(row.fold_effects, [-0.2, 0, 0.2], atol=1e-12)
    column = fit(np.array([[0.5], [0.7]]))
    np.testing.assert_allclose(column.estimates, [0.5, 0.7])
    assert column.fold_effects.tolist() == [0.0]
    for found in (row, column):
        assert found.dof == 0
        assert found.residual_ss == pytest.approx(0, abs=1e-30)


@pytest.mark.parametrize("shape", [(0, 3), (3, 4), (0, 0), (2, 0)])
def test_nothing_known(shape):
    found = fit(np.full(shape, np.nan))
    assert np.isnan(found.estimates).all()
    assert (len(found.estimates), len(found.fold_effects)) == shape
    assert (found.fold_effects == 0).all()
    assert (found.residual_ss, found.dof) == (0.0, 0)


def test_the_argument_is_not_changed():
    values = random_table(0, 5, 4, 0.6)
    before = values.copy()
    fit(values)
    np.testing.assert_array_equal(values, before)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6))
def test_the_order_of_experiments_and_folds_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    values = random_table(seed, 9, 5, 0.6)
    values[0] = rng.uniform(0.3, 0.9, 5)
    rows, columns = rng.permutation(9), rng.permutation(5)
    one, other = fit(values), fit(values[rows][:, columns])
    np.testing.assert_allclose(other.estimates, one.estimates[rows], atol=1e-10)
    np.testing.assert_allclose(other.fold_effects, one.fold_effects[columns], atol=1e-10)
    assert other.dof == one.dof
    assert other.residual_ss == pytest.approx(one.residual_ss, abs=1e-12)


def test_a_single_link_between_many_experiments_still_carries_the_fold_effect():
    values = np.full((1001, 2), np.nan)
    values[:500, 0], values[500:1000, 1] = 0.8, 0.5
    values[1000] = [0.7, 0.6]  # the folds differ by 0.1
    found = fit(values)
    np.testing.assert_allclose(found.fold_effects, [0.05, -0.05], atol=1e-10)
    np.testing.assert_allclose(found.estimates[[0, 999, 1000]], [0.75, 0.55, 0.65], atol=1e-10)


def test_a_table_it_is():
    with pytest.raises(ValueError, match=r"experiments × folds, not of shape \(3,\)"):
        fit(np.zeros(3))


def test_without_resampling_few_residuals_are_not_believed():
    assert pooled_variance(0.5, 0, []) is None
    assert pooled_variance(0.5, MIN_DOF - 1, []) is None
    assert pooled_variance(0.5, MIN_DOF, []) == 0.5 / MIN_DOF


def test_resampling_alone_gives_its_mean():
    assert pooled_variance(0.0, 0, [0.001, 0.003]) == pytest.approx(0.002)


def test_residuals_outweigh_resampling_as_they_grow():
    prior, truth = 0.001, 0.009
    found = [pooled_variance(truth * dof, dof, [prior]) for dof in (0, PRIOR_DOF, 1000 * PRIOR_DOF)]
    assert found == pytest.approx([prior, (prior + truth) / 2, truth], rel=2e-3)
