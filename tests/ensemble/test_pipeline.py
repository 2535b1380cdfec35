"""From OOF predictions to the final ensemble: nothing that is scored on a fold has seen its labels."""

from __future__ import annotations

import io
import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console
from scipy.stats import gmean

from raytag.blends.means.base import blend, blend_scores
from raytag.cluster.tasks import keep_workers
from raytag.ensemble.assess.assessment import WayScores, assess
from raytag.ensemble.assess.verdict import verdict
from raytag.ensemble.choose.ways import WAYS
from raytag.ensemble.files import build_report
from raytag.ensemble.pipeline import EnsembleSettings, predict_oof, predict_test, search_ensemble
from raytag.ensemble.predictions.oof import EnsembleError, OofMatrix
from raytag.ensemble.stackers.grid import draw_configs
from raytag.metrics import chance_lwlrap, lwlrap
from tests.ensemble.fakes import simulate

SETTINGS = EnsembleSettings((1, 2, 3), blend="geometric", budget=60.0, top=10, stackers=2, seed=0, way="best")


def matrix(probabilities, targets, folds, n_test=0, group=None):
    n = len(targets) - n_test
    return OofMatrix(
        experiments=tuple(f"model{m}" for m in range(len(probabilities))),
        classes=tuple(f"class{c}" for c in range(targets.shape[1])),
        fnames=tuple(map(str, range(n))),
        probabilities=probabilities[:, :n],
        targets=targets[:n],
        fold=np.arange(n) % folds,
        group=np.full(n, "", dtype=object) if group is None else group,
        n_folds=folds,
        test_fnames=tuple(map(str, range(n, n + n_test))),
        test=probabilities[:, n:] if n_test else None,
    )


def search(oof, **changes):
    return search_ensemble(oof, replace(SETTINGS, **changes), Console(file=io.StringIO()))


@pytest.fixture(scope="module", autouse=True)
def workers(ray_session):
    """The processes of one search serve the next."""
    with keep_workers():
        yield


@pytest.fixture(scope="module")
def oof() -> OofMatrix:
    return matrix(*simulate(6, 66, 5, own=1.5, signal=2.0, seed=3), folds=3, n_test=6)


@pytest.fixture(scope="module")
def found(oof, workers):
    return search(oof)


def scores_of(oof, ensemble, kind="geometric"):
    return WayScores(oof, kind, ensemble.choices, ensemble.second)


def test_labels_of_a_fold_change_no_bit_of_what_is_scored_on_it(oof, found, ray_session):
    targets = oof.targets.copy()
    targets[oof.fold == 0] = np.roll(targets[oof.fold == 0], 1, axis=1)
    other = replace(oof, targets=targets)
    changed = search(other)
    ours, theirs = scores_of(oof, found), scores_of(other, changed)
    differs = set()
    for left_out in found.choices.without:
        for way in ours.ways:
            for fold in left_out:
                a, b = (scores.of(way, left_out, fold)[0] for scores in (ours, theirs))
                if 0 in left_out:
                    assert a.tobytes() == b.tobytes(), (way, left_out, fold)
                elif a.tobytes() != b.tobytes():
                    differs.add(way)
    assert {
        name for name, way in WAYS.items() if way.stackers
    } <= differs  # the test can fail: without fold 0's labels stackers become others
    # so is the choice between the ways
    assert found.assessment.decided[0] == changed.assessment.decided[0]
    assert assess(ours, 0, "auto").decided[0] == assess(theirs, 0, "auto").decided[0]


def test_nested_scores_repeat_the_choice_without_each_fold(oof, found):
    scores = blend_scores(oof.probabilities)
    subsets = [c for size in (1, 2, 3) for c in itertools.combinations(range(6), size)]

    def score(members, rows):
        return lwlrap(oof.targets[rows], scores[list(members)].sum(axis=0)[rows])

    for left_out, choice in found.choices.without.items():
        rows = ~np.isin(oof.fold, left_out)
        best = {way: score(chosen.members, rows) for way, chosen in choice.ways.items()}
        assert best["subset"] == pytest.approx(max(score(s, rows) for s in subsets))
        assert best["single"] == pytest.approx(max(score([m], rows) for m in range(6)))
        assert best["weighted"] >= max(best["subset"], best["greedy"]) - 1e-12
        for size, chosen in choice.by_size.items():
            assert score(chosen.members, rows) == pytest.approx(
                max(score(s, rows) for s in subsets if len(s) == size)
            )
    ours = scores_of(oof, found)
    for way, scored in found.assessment.ways.items():
        nested, final = np.zeros(oof.targets.shape), np.zeros(oof.targets.shape)
        for k in range(3):
            nested[oof.fold == k] = ours.of(way, (k,), k)[0]
            final[oof.fold == k] = ours.of(way, (), k)[0]
        assert scored.nested == pytest.approx(lwlrap(oof.targets, nested), abs=1e-12)
        assert scored.in_sample == pytest.approx(lwlrap(oof.targets, final), abs=1e-12)
        assert scored.interval.low < scored.nested < scored.interval.high
        assert scored.optimism == scored.in_sample - scored.nested


def test_which_way_is_kept_is_decided_without_the_fold_that_scores_it(oof, found):
    """By the rule of the highest score; `tests/ensemble/assess/test_rules.py` has the others."""
    ours, assessment = scores_of(oof, found), found.assessment
    nested = np.zeros(oof.targets.shape)
    for k in range(3):
        inner = {}
        for way in ours.ways:
            held = np.zeros(oof.targets.shape)
            for j in range(3):
                if j != k:
                    held[oof.fold == j] = ours.of(way, (min(j, k), max(j, k)), j)[0]
            rows = oof.fold != k
            inner[way] = lwlrap(oof.targets[rows], held[rows])
        assert inner[assessment.decided[k]] == pytest.approx(max(inner.values()), abs=1e-12)
        nested[oof.fold == k] = ours.of(assessment.decided[k], (k,), k)[0]
    assert assessment.final.nested == pytest.approx(lwlrap(oof.targets, nested), abs=1e-12)
    best = max(scored.nested for scored in assessment.ways.values())
    assert assessment.ways[assessment.final.way].nested == best
    assert assessment.repeated


@pytest.mark.parametrize("kind", ["geometric", "arithmetic", "rank"])
@pytest.mark.parametrize("way", WAYS)
def test_predictions_rank_as_the_scores_do(oof, found, way, kind):
    """Probabilities of every way have the score that was reported, and test clips get the same blend."""
    ours = scores_of(oof, found, kind)
    predicted = predict_oof(ours, way)
    expected = np.zeros(oof.targets.shape)
    for k in range(3):
        expected[oof.fold == k] = ours.of(way, (), k)[0]
    assert lwlrap(oof.targets, predicted) == pytest.approx(lwlrap(oof.targets, expected), abs=1e-9)
    test = predict_test(oof, kind, found.choices, found.second, way)
    assert test.shape == (6, 5)
    assert ((test >= 0) & (test <= 1)).all()
    family = WAYS[way].stackers
    if not family:
        members = list(found.choices.on_all.ways[way].members)
        np.testing.assert_allclose(test, blend(oof.test[members], kind), rtol=1e-12)
        np.testing.assert_array_equal(predicted, blend(oof.probabilities[members], kind))
    else:
        members = list(found.choices.on_all.ways["subset"].members) if WAYS[way].joined else []
        total = blend_scores(oof.test[members], kind).sum(axis=0) if members else 0.0
        for k in range(3):
            stackers = [t.test for t in found.second.final(k, family)]
            total = total + blend_scores(np.stack(stackers), kind).sum(axis=0) / 3
        in_order = np.take_along_axis(total, np.argsort(test, axis=1), axis=1)
        assert (np.diff(in_order, axis=1) > -1e-9).all()  # of equal ranks rounding decides


def test_without_test_clips_there_are_no_test_predictions(oof, found):
    bare = replace(oof, test=None, test_fnames=())
    assert predict_test(bare, "geometric", found.choices, None, "subset") is None


def test_on_noise_there_is_optimism_no_skill_and_no_verdict_for_an_ensemble(ray_session):
    rng = np.random.default_rng(0)
    probabilities = rng.random((12, 240, 8)).astype(np.float32)
    targets = np.eye(8, dtype=np.float32)[rng.integers(0, 8, 240)]
    oof = matrix(probabilities, targets, folds=4)
    assessment = search(oof, sizes=tuple(range(1, 8))).assessment
    chance = chance_lwlrap(targets)
    assert chance == pytest.approx(np.mean([1 / rank for rank in range(1, 9)]))
    for way in ("subset", "greedy", "weighted"):
        scored = assessment.ways[way]
        assert scored.in_sample > chance + 0.03
        assert scored.optimism > 0.03
    for scored in (assessment.final, *assessment.ways.values()):
        assert abs(scored.nested - chance) < 0.06, scored.way  # about three standard errors
        assert scored.interval.low < chance < scored.interval.high + 0.02
    assert assessment.to_single.low < 0.01
    assert not verdict(assessment, "x").startswith("Keep the ensemble")


def test_one_fold_has_no_nested_score_and_two_have_no_choice_inside(ray_session):
    probabilities, targets = simulate(3, 40, 4)
    one = search(matrix(probabilities, targets, folds=1)).assessment
    assert math.isnan(one.final.nested)
    assert one.final.in_sample > 0
    assert verdict(one, "x").startswith("No verdict")
    two = search(matrix(probabilities, targets, folds=2), stackers=0).assessment
    assert not two.repeated
    assert two.final.nested == max(scored.nested for scored in two.ways.values())
    assert one.final.way == "single"  # in-sample scores of blends are no reason to keep one


def test_a_fold_without_labels_changes_nothing(ray_session):
    probabilities, targets = simulate(5, 60, 4, own=2.0)
    full = matrix(probabilities, targets, folds=3)
    empty = matrix(probabilities, np.where((np.arange(60) % 3 == 1)[:, None], 0, targets), folds=3)
    gone = replace(
        empty,
        probabilities=empty.probabilities[:, empty.fold != 1],
        targets=empty.targets[empty.fold != 1],
        fold=np.where(empty.fold == 2, 1, 0)[empty.fold != 1],
        group=empty.group[empty.fold != 1],
        n_folds=2,
    )
    a, b, c = (search(o, stackers=0).assessment for o in (empty, gone, full))
    assert (a.final.in_sample, a.final.nested) == (b.final.in_sample, b.final.nested)
    assert a.final.nested != c.final.nested


def test_sizes_that_do_not_fit_the_budget_are_searched_by_exchange(oof, found, ray_session):
    hurried = search(oof, budget=1e-9, stackers=0).choices
    assert hurried.exact_sizes == ()
    assert hurried.other_sizes == (1, 2, 3)
    assert hurried.n_subsets == 0
    exact = found.choices
    assert exact.other_sizes == ()
    for left_out, choice in hurried.without.items():
        # six models: exchanging members finds what trying everything finds
        assert choice.ways["subset"].sums == exact.without[left_out].ways["subset"].sums
    assert len(hurried.board) == 3
    best = found.assessment.ways["weighted"].in_sample
    assert best <= exact.bound <= 1.0


def test_a_way_may_be_given(oof, found):
    asked = search(oof, way="subset+mlp", sizes=(2,))
    assert asked.assessment.final == asked.assessment.ways["subset+mlp"]
    assert asked.assessment.repeated
    assert not asked.assessment.decided
    assert max(map(len, asked.choices.without)) == 1  # no choice between ways, so no two folds left out
    np.testing.assert_array_equal(asked.oof, predict_oof(scores_of(oof, asked), "subset+mlp"))
    single = search(oof, way="single", stackers=0)
    assert single.weights == dict.fromkeys(found.choices.on_all.ways["single"].members, 1)
    assert "as asked" in verdict(single.assessment, "x")
    with pytest.raises(EnsembleError, match=r"--way mlp needs stackers"):
        search(oof, way="mlp", stackers=0)


def test_seven_and_three_are_the_geometric_mean_of_ten(ray_session):
    """argus-freesound's recipe, added up independently: each of ten arrays is a mean over its folds."""
    probabilities, targets = simulate(8, 60, 4, seed=5)
    oof = matrix(probabilities, targets, folds=3, n_test=6)
    given = {"sizes": (7,), "stackers": 8, "stackers_from": "argus", "stacker_draws": 128, "way": "subset+mlp"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "raytag.ensemble.pipeline.draw_configs",
            lambda *args: [replace(config, epochs=2, base_size=8) for config in draw_configs(*args)],
        )
        found = search(oof, **given)
    members = [m for m, weight in found.weights.items() for _ in range(weight)]
    assert len(members) == len(set(members)) == 7
    by_fold = [{t.name: t.test for t in found.second.final(k, "mlp")} for k in range(3)]
    names = [config.name for config in draw_configs(3, 0, "argus")]
    assert all(set(tests) == set(names) for tests in by_fold)
    ten = [oof.test[m] for m in members] + [gmean([tests[name] for tests in by_fold]) for name in names]
    np.testing.assert_allclose(found.test, gmean(np.stack(ten).astype(np.float64)), rtol=1e-6)


def test_what_faithful_networks_score_is_marked(ray_session):
    """argus-freesound stops and chooses a second-level model on the very fold that it is scored on."""
    probabilities, targets = simulate(3, 45, 4, own=2.0)
    oof = matrix(probabilities, targets, folds=3)
    honest, faithful = (search(oof, sizes=(2,), stackers=1, way="mlp", faithful=flag) for flag in (False, True))
    reports = [build_report(oof, found, {}, [], 0.0) for found in (honest, faithful)]
    marks = [{way for way, entry in report["ways"].items() if entry.get("leaky")} for report in reports]
    assert marks == [set(), {"mlp", "subset+mlp"}]
    for report, flatters in zip(reports, (False, True), strict=True):
        assert ("flatter" in report["verdict"]) == flatters
        assert any("--faithful" in text for text in report["not_covered"]) == flatters
        assert ("not honest" in report["ways"]["mlp"]["title"]) == flatters
        assert "not honest" not in report["ways"]["linear"]["title"]
    for k in range(3):
        (one,) = faithful.second.final(k, "mlp")
        rows = oof.fold == k
        assert one.inner_lwlrap == lwlrap(oof.targets[rows], one.oof)


def test_of_equal_ways_the_simplest_is_kept(ray_session):
    probabilities, targets = simulate(1, 40, 4)
    oof = matrix(np.repeat(probabilities, 3, axis=0), targets, folds=4)
    ensemble = search(oof, stackers=0)
    assert ensemble.assessment.final.way == "single"
    assert ensemble.weights == {0: 1}
    assert ensemble.assessment.runner_up is None
    assert next(iter(WAYS)) == "single"
    again = assess(scores_of(oof, ensemble), 0)
    assert again.final.interval == ensemble.assessment.final.interval
