"""Linear second-level models."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

from raytag.ensemble.stackers.case import one_thread
from raytag.ensemble.stackers.inputs import fit_scaling, log_odds, scaled
from raytag.ensemble.stackers.linear import LINEAR_CONFIGS, LinearConfig, fit_linear, predict_linear, train_linear
from raytag.metrics import lwlrap
from tests.ensemble.fakes import simulate

LOGISTIC, RIDGE = LinearConfig("l", "logistic", 2.0), LinearConfig("r", "ridge", 0.5)


@pytest.fixture(autouse=True)
def alone():
    with one_thread():
        yield


@pytest.fixture
def data():
    probabilities, targets = simulate(4, 90, 5, signal=2.5)
    return log_odds(probabilities), targets, np.arange(70)


def test_logistic_is_that_of_scikit_learn(data):
    odds, targets, rows = data
    configs = [replace(LOGISTIC, penalty=p) for p in (30.0, 2.0, 1e-3)]
    x = scaled(odds[:, rows], fit_scaling(odds, rows)).reshape(70, 4, 5)
    for config, weights in zip(configs, fit_linear(configs, odds, targets, rows), strict=True):
        for c in range(5):
            model = LogisticRegression(C=1 / config.penalty, max_iter=10_000, tol=1e-8)
            model.fit(x[:, :, c].astype(np.float64), targets[rows, c])
            np.testing.assert_allclose(weights["coefficients"][c], model.coef_[0], rtol=1e-3, atol=1e-4)
            np.testing.assert_allclose(weights["intercept"][c], model.intercept_[0], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("n", [12, 70])  # fewer and more clips than columns: either side of the normal equations
def test_ridge_is_that_of_scikit_learn(data, n):
    odds, targets, _ = data
    rows = np.arange(n)
    (weights,) = fit_linear([RIDGE], odds, targets, rows)
    x = scaled(odds[:, rows], fit_scaling(odds, rows)).astype(np.float64)
    unit = np.square(x - x.mean(axis=0)).sum() / x.shape[1]
    model = Ridge(alpha=RIDGE.penalty * unit).fit(x, targets[rows])
    np.testing.assert_allclose(weights["coefficients"], model.coef_, atol=1e-6)
    np.testing.assert_allclose(weights["intercept"], model.intercept_, atol=1e-6)
    squashed = 1 / (1 + np.exp(-4 * (model.predict(x) - 0.5)))
    np.testing.assert_allclose(predict_linear(RIDGE, weights, odds[:, rows]), squashed, atol=1e-6)
    np.testing.assert_array_equal(np.argsort(squashed), np.argsort(predict_linear(RIDGE, weights, odds[:, rows])))


def test_logistic_reads_its_own_class_only(data):
    odds, targets, rows = data
    other = odds.copy()
    other[:, :, 1:] = np.roll(odds[:, :, 1:], 1, axis=2)  # the common scale stays up to the order of summation
    a, b = (fit_linear([LOGISTIC], o, targets, rows)[0] for o in (odds, other))
    np.testing.assert_allclose(a["coefficients"][0], b["coefficients"][0], atol=1e-6)
    np.testing.assert_allclose(
        predict_linear(LOGISTIC, a, odds)[:, 0], predict_linear(LOGISTIC, b, other)[:, 0], rtol=0, atol=1e-6
    )
    assert abs(a["coefficients"][1] - b["coefficients"][1]).max() > 0.01


def test_classes_without_a_positive_or_a_negative_are_constant(data):
    odds, targets, rows = data
    targets = targets.copy()
    targets[rows, 0], targets[rows, 1] = 0, 1
    (weights,) = fit_linear([LOGISTIC], odds, targets, rows)
    values = predict_linear(LOGISTIC, weights, odds)
    np.testing.assert_allclose(values[:, 0], 0.5 / 71, rtol=1e-5)
    np.testing.assert_allclose(values[:, 1], 70.5 / 71, rtol=1e-5)
    assert values[:, 2].std() > 0.05


@pytest.mark.parametrize("kind", ["logistic", "ridge"])
def test_saturated_inputs_give_finite_ranks(kind):
    _, targets = simulate(3, 60, 5)
    perfect = log_odds(np.stack([targets, targets, np.zeros_like(targets)]))  # separable; one member says nothing
    for penalty in (1e-6, 100.0):
        config = LinearConfig("s", kind, penalty)
        (weights,) = fit_linear([config], perfect, targets, np.arange(60))
        values = predict_linear(config, weights, perfect)
        assert np.isfinite(values).all()
        assert ((values > 0) & (values < 1)).all()
        # a strong penalty leaves little but the frequencies of the classes
        assert lwlrap(targets, values) == 1.0 if penalty < 1 else lwlrap(targets, values) > 0.7


def test_the_best_is_chosen_on_the_inner_split_and_fitted_on_both(data):
    odds, targets, _ = data
    fit_rows, inner_rows = np.arange(50), np.arange(50, 70)
    result = train_linear(odds, targets, fit_rows, inner_rows)
    assert [config for config, _ in result.tried] == list(LINEAR_CONFIGS)
    scores = [value for _, value in result.tried]
    assert result.inner_lwlrap == max(scores)
    assert result.config == LINEAR_CONFIGS[scores.index(max(scores))]
    (part,) = fit_linear([result.config], odds, targets, fit_rows)
    assert result.inner_lwlrap == lwlrap(
        targets[inner_rows], predict_linear(result.config, part, odds[:, inner_rows])
    )
    (both,) = fit_linear([result.config], odds, targets, np.arange(70))
    assert all(np.array_equal(both[k], v) for k, v in result.weights.items())
    # clips that are neither are not looked at
    odds[:, 70:], targets[70:] = 0, 1
    again = train_linear(odds, targets, fit_rows, inner_rows)
    assert all(np.array_equal(again.weights[k], v) for k, v in result.weights.items())
    assert again.tried == result.tried
