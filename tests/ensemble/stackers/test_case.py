"""Second-level models never see the folds that they are scored on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import safetensors.torch
import torch

from raytag.ensemble.predictions.oof import EnsembleError
from raytag.ensemble.predictions.windows import ClipTiles
from raytag.ensemble.stackers.case import (
    HISTORY_COLUMNS,
    Case,
    StackerData,
    View,
    draw_configs,
    inner_split,
    predict_stacker,
    run_case,
)
from raytag.ensemble.stackers.fcnet import FCNet
from raytag.metrics import lwlrap
from tests.ensemble.fakes import simulate


@pytest.fixture(scope="module")
def data() -> StackerData:
    probabilities, targets = simulate(4, 110, 5, signal=2.5)
    group = np.full(100, "", dtype=object)
    return StackerData(probabilities[:, :100], targets[:100], np.arange(100) % 4, group, probabilities[:, 100:])


CONFIGS = [replace(config, epochs=12) for config in draw_configs(5, 0)]
CASE = Case(members=(0, 1, 3), left_out=(2,), with_test=True, keep_weights=True)
PAIR = replace(CASE, left_out=(2, 0))


@pytest.fixture(scope="module")
def results(data):
    return {case: run_case(data, case, CONFIGS, 0) for case in (CASE, PAIR)}


def bits(result, *, oof=True):
    return [
        (t.name, t.inner_lwlrap, t.epochs, t.oof.tobytes() if oof else b"", t.test.tobytes())
        for t in result.finalists
    ]


def flipped(data, folds):
    targets = data.targets.copy()
    rows = np.isin(data.fold, folds)
    targets[rows] = 1 - targets[rows]
    return replace(data, targets=targets)


@pytest.mark.parametrize("case", [CASE, PAIR], ids=["one", "two"])
def test_labels_of_folds_left_out_change_no_bit(data, results, case):
    """argus-freesound stops and chooses a second-level model on the very fold that it is scored on."""
    result, changed = results[case], run_case(flipped(data, case.left_out), case, CONFIGS, 0)
    assert bits(changed) == bits(result)
    assert changed.history == result.history
    for before, after in zip(result.finalists, changed.finalists, strict=True):
        assert all(torch.equal(after.weights[k], v) for k, v in before.weights.items())


def test_labels_of_other_folds_do_change_it(data, results):
    changed = run_case(flipped(data, [1]), CASE, CONFIGS[:2], 0)
    assert not {t.test.tobytes() for t in results[CASE].finalists} & {t.test.tobytes() for t in changed.finalists}


@pytest.mark.parametrize("case", [CASE, PAIR], ids=["one", "two"])
def test_predictions_of_clips_left_out_do_not_enter_training(data, results, case):
    probabilities = data.probabilities.copy()
    probabilities[:, np.isin(data.fold, case.left_out)] = 0.5
    changed = run_case(replace(data, probabilities=probabilities), case, CONFIGS, 0)
    assert bits(changed, oof=False) == bits(results[case], oof=False)


def test_only_the_members_are_read(data, results):
    probabilities, test = data.probabilities.copy(), data.test.copy()
    probabilities[2] = test[2] = 0.5
    changed = run_case(replace(data, probabilities=probabilities, test=test), CASE, CONFIGS, 0)
    assert bits(changed) == bits(results[CASE])


def test_folds_left_out_are_a_set(data, results):
    swapped = run_case(data, replace(PAIR, left_out=(0, 2)), CONFIGS, 0)
    assert bits(swapped) == bits(results[PAIR])


def test_what_a_case_hands_back(data, results):
    for case, result in results.items():
        assert [t.family for t in result.finalists] == ["mlp"] * 3 + ["linear"]
        rows = np.isin(data.fold, case.left_out)
        for t in result.finalists:
            assert t.oof.shape == (rows.sum(), 5)
            assert t.test.shape == (10, 5)
            assert t.oof.dtype == t.test.dtype == np.float32
            assert lwlrap(data.targets[rows], t.oof) > 0.6  # members: 0.75 to 0.85; chance: 0.46
        inner = [t.inner_lwlrap for t in result.finalists[:3]]
        assert inner == sorted(inner, reverse=True)
        assert all(tuple(row) == HISTORY_COLUMNS for row in result.history)
        networks = [row for row in result.history if row["family"] == "mlp"]
        assert [row["name"] for row in networks] == [config.name for config in CONFIGS]
        # the finalists are the best of all
        assert sorted((row["inner_lwlrap"] for row in networks), reverse=True)[:3] == inner
        linear = [row["inner_lwlrap"] for row in result.history if row["family"] == "linear"]
        assert max(linear) == result.finalists[3].inner_lwlrap


def test_stored_weights_predict_again(data, results):
    for t in results[CASE].finalists:
        stored = safetensors.torch.load(safetensors.torch.save(t.weights))
        state = torch.get_rng_state()
        again = predict_stacker(t.config, stored, data.test[list(CASE.members)])
        assert again.tobytes() == t.test.tobytes()
        assert torch.equal(state, torch.get_rng_state())


def test_without_networks_test_clips_or_weights(data):
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    (only,) = run_case(data, Case((0,), (1,)), [], 0).finalists
    assert (only.family, only.test, only.weights) == ("linear", None, None)
    whole = run_case(data, Case((0, 1), (), with_test=True), CONFIGS[:1], 0)
    assert [t.family for t in whole.finalists] == ["mlp", "linear"]
    assert all(t.oof.shape == (0, 5) and t.test.shape == (10, 5) for t in whole.finalists)
    assert torch.equal(state, torch.get_rng_state())
    assert threads == torch.get_num_threads()


def test_saturated_inputs_stay_finite(data):
    hard = (data.probabilities > 0.5).astype(np.float32)
    for t in run_case(replace(data, probabilities=hard), replace(CASE, with_test=False), CONFIGS[:2], 0).finalists:
        assert np.isfinite(t.oof).all()
        assert ((t.oof > 0) & (t.oof < 1)).all()


def test_inner_splits_keep_groups_together(data):
    rows = np.flatnonzero(data.fold != 1)
    group = np.array([f"g{i // 5}" for i in rows], dtype=object)
    fit, inner = inner_split(data.targets[rows], group, 0, (1,))
    assert sorted([*fit, *inner]) == list(range(len(rows)))
    assert not set(group[fit]) & set(group[inner])
    assert 0 < len(inner) < len(fit)
    assert fit.tolist() != inner_split(data.targets[rows], group, 1, (1,))[0].tolist()


def test_too_few_labels_for_an_inner_split(data):
    targets = np.zeros((6, 2), np.float32)
    targets[:2, 0] = 1
    alone = np.full(6, "", dtype=object)
    with pytest.raises(EnsembleError, match=r"folds other than 0 and 3 .* --stackers 0"):
        inner_split(targets[1:], alone[1:], 0, (0, 3))
    fit, inner = inner_split(targets, alone, 0, (0,))
    assert targets[inner].sum() == targets[fit].sum() == 1
    one_group = replace(data, group=np.full(100, "garden", dtype=object))
    with pytest.raises(EnsembleError, match="--stackers 0"):
        run_case(one_group, CASE, CONFIGS[:2], 0)


# -- published networks, tiles, and argus-freesound's way of choosing

SMALL = {"base_size": 32, "batch_size": 16, "lr": 0.01, "draws": 400, "epochs": 5}
PUBLISHED = [replace(config, **SMALL) for config in draw_configs(3, 0, "argus")]


@pytest.fixture(scope="module")
def tiled(data) -> StackerData:
    """Every clip has two tiles, whose mean is its prediction; the second member tells them apart."""
    windows = {}
    for m, shift in ((0, 0.02), (1, 0.1), (3, 0.05)):
        low, high = np.clip(data.probabilities[m], 0, 1) * (1 - shift), data.probabilities[m] * (1 + shift)
        windows[m] = ClipTiles(np.stack([low, high], axis=1).reshape(-1, 5).clip(0, 1), 2 * np.arange(101))
    return replace(data, windows=windows)


def test_published_networks_read_probabilities(data):
    result = run_case(data, CASE, PUBLISHED, 0)
    assert {t.name for t in result.finalists[:3]} == {c.name for c in PUBLISHED}
    for t in result.finalists[:3]:
        assert "scaling" not in t.weights
        assert lwlrap(data.targets[data.fold == 2], t.oof) > 0.6
        net = FCNet(15, 5, t.config.base_size, t.config.reduction_scale)
        net.load_state_dict(t.weights)
        with torch.inference_mode():
            x = torch.from_numpy(data.test[list(CASE.members)].transpose(1, 0, 2).reshape(10, 15).copy())
            np.testing.assert_allclose(torch.sigmoid(net.eval()(x)), t.test, rtol=1e-5)


@pytest.mark.parametrize("configs", [CONFIGS[:2], PUBLISHED[:1]], ids=["grid", "published"])
def test_tiles_are_trained_on_where_all_members_have_them(data, tiled, configs):
    plain, with_tiles = run_case(data, CASE, configs, 0), run_case(tiled, CASE, configs, 0)
    assert not {t.test.tobytes() for t in plain.finalists[:-1]} & {
        t.test.tobytes() for t in with_tiles.finalists[:-1]
    }
    assert bits(plain)[-1] == bits(with_tiles)[-1]  # the linear model reads means
    lacking = replace(tiled, windows={m: tiled.windows[m] for m in (0, 1)})
    assert bits(run_case(lacking, CASE, configs, 0)) == bits(plain)


@pytest.mark.parametrize("configs", [CONFIGS[:2], PUBLISHED[:1]], ids=["grid", "published"])
def test_labels_and_tiles_of_folds_left_out_change_no_bit(tiled, configs):
    windows = {}
    for m, own in tiled.windows.items():
        values = own.values.copy()
        values[np.repeat(tiled.fold == 2, 2)] = 0.5
        windows[m] = replace(own, values=values)
    changed = replace(flipped(tiled, (2,)), windows=windows)
    assert bits(run_case(changed, CASE, configs, 0)) == bits(run_case(tiled, CASE, configs, 0))


def test_faithful_networks_train_on_all_other_folds_and_stop_on_the_one_left_out(data):
    """And flatter: the inner score is that of the fold left out. Linear models stay as they are."""
    faithful = replace(CASE, faithful=True)
    result, honest = run_case(data, faithful, CONFIGS, 0), run_case(data, CASE, CONFIGS, 0)
    left = data.fold == 2
    for t in result.finalists[:-1]:
        assert t.inner_lwlrap == lwlrap(data.targets[left], t.oof)
    assert bits(result)[-1] == bits(honest)[-1]
    task = View(data, faithful, 0).task("log_odds")[0]
    assert len(task.y) == (~left).sum()
    np.testing.assert_array_equal(task.inner_y, data.targets[left])
    # a fold without labels has nothing to stop at
    targets = np.where(left[:, None], 0, data.targets)
    assert len(View(replace(data, targets=targets), faithful, 0).task("log_odds")[0].y) < (~left).sum()
