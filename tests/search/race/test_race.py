"""Racing: every decision is explained anew, from nothing but the facts before it."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raytag.search.race.race import Race
from raytag.search.race.replay import Curves, simulate
from raytag.search.race.rules import MIN_DOF, PRIOR_DOF, STOPPING, Settings

SEEDS = st.integers(0, 10**6)


def random_curves(seed, experiments=10, folds=4, epochs=8, kinds=1, spread=0.1, variance=None):
    """Experiments that differ, folds that differ more, noise; best-so-far curves that end anywhere near."""
    rng = np.random.default_rng(seed)
    worth = rng.normal(0.6, spread, (experiments, 1)) + rng.normal(0, 0.1, (1, folds))
    final = np.clip(worth + rng.normal(0, spread / 2, (experiments, folds)), 0.05, 0.99)
    if seed % 3 == 0:
        final = final.round(1)  # ties
    steps = np.sort(rng.uniform(0.3, 1.05, (experiments, folds, epochs)), axis=-1)
    best = np.minimum(final[:, :, None] * steps, 1.0)
    names = tuple(f"kind{i}" for i in rng.integers(0, kinds, experiments))
    found = None if variance is None else np.full((experiments, folds), np.nan)
    if found is not None:
        found[1:, 0] = variance
    return Curves(best, final, names, found)


def random_order(seed, curves):
    return [int(e) for e in np.random.default_rng(seed + 1).permutation(len(curves.final))]


def feed(race, event, **fields):
    """A fact, and all decisions that follow; these."""
    race.apply({"event": event, **fields})
    decisions = []
    while (decision := race.next_decision()) is not None:
        race.apply(decision)
        decisions.append(decision)
        assert len(decisions) < 1000
    return decisions


def start(race, rules=None, folds=(0, 1, 2), number=None, weights=None):
    rules, weights = rules or Settings(), weights or [1.0] * len(folds)
    return feed(race, "race", settings=rules.plain(), folds=list(folds), weights=weights, number=number)


def propose(race, names, kind="one_cycle", epochs=8):
    index = 1 + max((e.index for e in race.entries.values()), default=-1)
    for i, name in enumerate(names):
        feed(race, "propose", experiment=name, index=index + i, kind=kind, epochs=epochs)


def rung(race, name, value, number=0, fold=0):
    return feed(race, "rung", experiment=name, fold=fold, rung=number, epoch=4, value=value)


def finish(race, name, fold, value, clip_variance=None):
    return feed(race, "fold", experiment=name, fold=fold, lwlrap=value, clip_variance=clip_variance)


def made(rules=None, names="abcdef", folds=(0, 1, 2), number=None, **more):
    race = Race()
    start(race, rules, folds, number, **more)
    propose(race, names)
    return race


def dropped(race):
    return {e.id for e in race.entries.values() if e.dropped}


def what(decisions):
    return [(d["event"], d["experiment"]) for d in decisions]


# -- an oracle --------------------------------------------------------------------------------------------


def residual_variance(cells, priors):
    """s² by least squares on the full dummy design: cells is {(experiment, fold): lwlrap}."""
    rows, columns = sorted({e for e, _ in cells}), sorted({k for _, k in cells})
    design = np.zeros((len(cells), len(rows) + len(columns)))
    for i, (e, k) in enumerate(cells):
        design[i, rows.index(e)] = design[i, len(rows) + columns.index(k)] = 1
    values = np.array(list(cells.values()))
    square = ((values - design @ np.linalg.lstsq(design, values, rcond=None)[0]) ** 2).sum()
    dof = len(cells) - np.linalg.matrix_rank(design)
    if priors:
        return (PRIOR_DOF * np.mean(priors) + square) / (PRIOR_DOF + dof)
    return square / dof if dof >= MIN_DOF else None


class Oracle:
    """The rules of one launch as they are written down, over plain dictionaries; no failures, one fold order."""

    def __init__(self, event):
        self.mode, self.keep = event["settings"]["stopping"], event["settings"]["keep"]
        self.eta, self.z = event["settings"]["eta"], event["settings"]["z"]
        self.folds, self.weights = event["folds"], event["weights"]
        self.kind, self.rungs, self.cells, self.out, self.priors = {}, {}, {}, set(), []
        self.judged = None

    def fact(self, event):
        e, self.judged = event["experiment"], None
        if event["event"] == "propose":
            self.kind[e] = event["kind"]
        elif event["event"] == "rung":
            self.rungs[e, event["rung"]] = event["value"]
            self.judged = e, event["rung"]
        else:
            self.cells[e, event["fold"]] = event["lwlrap"]
            if event["clip_variance"] is not None:
                self.priors.append(event["clip_variance"])

    def depth(self, e):
        return next((d for d, k in enumerate(self.folds) if (e, k) not in self.cells), len(self.folds))

    def mean(self, e, d):
        return float(np.mean([self.cells[e, k] for k in self.folds[:d]]))

    def failing(self, e):
        """(value, bar, margin) if the rules drop e now."""
        d, wide = self.depth(e), len(self.folds)
        if self.mode == "none" or d == wide:
            return None
        if self.mode == "exact":

            def bound(o, unknown):
                cells = [self.cells.get((o, k), unknown) for k in self.folds]
                return float(np.average(cells, weights=self.weights))

            others = sorted((bound(o, 0.0) for o in self.kind if o != e), reverse=True)
            if d == 0 or len(others) < self.keep or bound(e, 1.0) >= others[self.keep - 1]:
                return None
            return bound(e, 1.0), others[self.keep - 1], 0.0
        if d == 0:
            if self.judged is None or self.judged[0] != e:
                return None
            level = self.judged[1]
            like = sorted((v for (o, r), v in self.rungs.items() if r == level and self.kind[o] == self.kind[e]))
            places, mine = max(self.keep, math.ceil(len(like) / self.eta)), self.rungs[e, level]
            return (mine, like[-places], 0.0) if len(like) > places and mine < like[-places] else None
        if self.mode != "paired":
            return None
        means = sorted(self.mean(o, d) for o in self.kind if self.depth(o) >= d)
        variance = residual_variance(self.cells, self.priors)
        if len(means) < self.keep + 2 or variance is None:
            return None
        bar, margin = means[-self.keep], self.z * math.sqrt(variance * 2 * (1 / d - 1 / wide))
        return (self.mean(e, d), bar, margin) if bar - self.mean(e, d) > margin else None

    def open(self):
        return [e for e in self.kind if e not in self.out]


def explain(events):
    """Check every decision of one launch without failures, and that none is missing; how many there were."""
    oracle, decided = Oracle(events[0]), 0
    for i, event in enumerate(events[1:], 1):
        if event["event"] != "drop":
            assert event["event"] in ("propose", "rung", "fold")
            oracle.fact(event)
        else:
            decided += 1
            e = event["experiment"]
            assert e in oracle.open()
            assert len(oracle.open()) > oracle.keep
            found = oracle.failing(e)
            assert found is not None
            assert (event["value"], event["bar"], event["margin"]) == pytest.approx(found, abs=1e-9)
            oracle.out.add(e)
        last = i + 1 == len(events) or events[i + 1]["event"] != "drop"
        if last and len(oracle.open()) > oracle.keep:
            missing = {e: oracle.failing(e) for e in oracle.open()}
            # bars that are met up to rounding may be decided either way
            sharp = {e: f for e, f in missing.items() if f is not None and f[1] - f[0] - f[2] > 1e-9}
            assert not sharp
    return decided


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.sampled_from(STOPPING), st.integers(1, 6), st.integers(1, 4), st.integers(1, 5), st.integers(1, 3))
def test_every_decision_follows_from_the_facts_before_it(seed, stopping, keep, slots, folds, kinds):
    variance = (None, 1e-4, 1e-2)[seed % 3]
    curves = random_curves(seed, 12, folds, kinds=kinds, variance=variance)
    found = simulate(
        curves, Settings(stopping, keep, z=(0.0, 0.5, 2.0)[seed % 7 % 3]), random_order(seed, curves), slots
    )
    explain(found.events)


def test_the_oracle_sees_many_decisions_of_each_kind():
    counts = {}
    for stopping in STOPPING:
        curves = random_curves(7, 20, 4, spread=0.2, variance=1e-4)
        counts[stopping] = explain(simulate(curves, Settings(stopping, 2), range(20)).events)
    assert counts["none"] == 0
    assert min(counts["asha"], counts["exact"], counts["paired"]) >= 3


# -- what holds in every race -----------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(
    SEEDS, st.sampled_from(STOPPING), st.integers(1, 14), st.integers(1, 4), st.integers(1, 5), st.integers(1, 12)
)
def test_enough_complete_and_the_dropped_start_nothing(seed, stopping, keep, slots, folds, experiments):
    curves = random_curves(seed, experiments, folds, kinds=2, variance=(None, 1e-4)[seed % 2])
    found = simulate(curves, Settings(stopping, keep), random_order(seed, curves), slots)
    out, started = set(), {}
    for event in found.events:
        name = event.get("experiment")
        if event["event"] == "drop":
            out.add(name)
            started[name] = {e for e in range(folds) if found.race.entries[name].folds.get(e) is not None}
        elif event["event"] in ("rung", "fold") and name in out:
            assert slots > 1  # only a trial that was under way ends after a drop
    assert len(found.complete) >= min(keep, experiments)
    assert len(out) <= max(0, experiments - keep)
    for entry in found.race.entries.values():
        epochs = found.epochs[int(entry.id)]
        if not entry.dropped:
            assert len(entry.folds) == folds
            assert (epochs == curves.best.shape[2]).all()
        elif slots == 1:  # nothing was under way but what it was dropped for
            depth = found.race.depth(entry)
            assert (epochs[depth + 1 :] == 0).all()
    assert not any(e["event"] == "reopen" for e in found.events)


@settings(max_examples=15, deadline=None)
@given(SEEDS, st.sampled_from(["asha", "paired", "exact"]), st.integers(2, 4))
def test_a_dropped_experiment_is_never_asked_for_again(seed, stopping, slots):
    curves = random_curves(seed, 12, 4, variance=1e-4)
    race = Race()
    for event in simulate(curves, Settings(stopping, 2), range(12), slots).events:
        race.apply(event)
        busy = []
        while (found := race.next_trial(busy)) is not None:
            assert race.entries[found[0]].open
            assert found[1] not in race.entries[found[0]].folds
            assert found not in busy
            busy.append(found)


@pytest.mark.parametrize("slots", [1, 3])
def test_full_cross_validation_completes_one_experiment_after_another(slots):
    curves, order = random_curves(1, 6, 4), [3, 0, 5, 1, 4, 2]
    found = simulate(curves, Settings("none", 2), order, slots)
    ends = [(int(e["experiment"]), e["fold"]) for e in found.events if e["event"] == "fold"]
    assert ends == [(e, k) for e in order for k in range(4)]
    assert (found.epochs == 8).all()
    assert sorted(found.complete) == list(range(6))


@pytest.mark.parametrize("stopping", STOPPING)
def test_a_portfolio_as_large_as_the_search_is_full_cross_validation(stopping):
    curves = random_curves(5, 5, 3, spread=0.3)
    for keep in (5, 9):
        found = simulate(curves, Settings(stopping, keep), range(5))
        assert sorted(found.complete) == list(range(5))
        ends = [(int(e["experiment"]), e["fold"]) for e in found.events if e["event"] == "fold"]
        assert ends == [(e, k) for e in range(5) for k in range(3)]


@pytest.mark.parametrize("stopping", STOPPING)
@pytest.mark.parametrize("slots", [1, 4])
def test_identical_experiments_are_a_tie_and_go_on(stopping, slots):
    one = random_curves(2, 1, 4)
    curves = Curves(np.repeat(one.best, 9, 0), np.repeat(one.final, 9, 0), one.kinds * 9, np.full((9, 4), 1e-9))
    assert len(simulate(curves, Settings(stopping, 2), range(9), slots).complete) == 9


def test_ties_with_the_bar_go_on_when_there_is_no_noise_at_all():
    race = made(Settings("paired", 1, z=0.0), "abcd")
    for name, value in zip("abcd", (0.8, 0.8, 0.8, 0.7999), strict=True):
        finish(race, name, 0, value, 0.0)
    assert dropped(race) == {"d"}


@settings(max_examples=50, deadline=None)
@given(SEEDS, st.integers(1, 5), st.integers(1, 4))
def test_the_paired_bar_never_falls(seed, keep, slots):
    curves = random_curves(seed, 14, 4, variance=1e-4)
    bars = {}
    for event in simulate(curves, Settings("paired", keep, z=0.1), random_order(seed, curves), slots).events:
        if event["event"] == "drop" and event["rung"] is None:
            assert event["bar"] >= bars.get(event["fold"], -1.0)
            bars[event["fold"]] = event["bar"]


@settings(max_examples=50, deadline=None)
@given(SEEDS, st.sampled_from([0.02, 0.2]), st.integers(1, 3))
def test_asha_drops_in_the_first_fold_only(seed, spread, slots):
    curves = random_curves(seed, 16, 3, kinds=2, spread=spread, variance=1e-6)
    drops = [e for e in simulate(curves, Settings("asha", 2), range(16), slots).events if e["event"] == "drop"]
    assert drops
    assert {d["fold"] for d in drops} == {0}
    assert {d["rung"] for d in drops} <= {0, 1}


def weighted_cv(final, weights):
    """Exact: fractions of fractions."""
    total = sum(map(Fraction, weights))
    return [sum(Fraction(v) * Fraction(w) for v, w in zip(row, weights, strict=True)) / total for row in final]


def exact_race(final, weights, keep, rng):
    """Folds of experiments finish in any order that a driver with many slots could see."""
    experiments, folds = final.shape
    race = Race()
    feed(
        race,
        "race",
        settings=Settings("exact", keep).plain(),
        folds=list(range(folds)),
        weights=weights,
        number=None,
    )
    propose(race, [str(e) for e in range(experiments)])
    while (
        left := [(e, k) for e in race.entries.values() if e.open for k in range(folds) if k not in e.folds]
    ) != []:
        entry, fold = left[rng.integers(len(left))] if rng.random() < 0.3 else left[0]
        finish(race, entry.id, fold, float(final[int(entry.id), fold]))
    return race


@settings(max_examples=50, deadline=None)
@given(SEEDS, st.integers(1, 4))
def test_exact_never_drops_one_of_the_true_best(seed, keep):
    rng = np.random.default_rng(seed)
    experiments, folds = int(rng.integers(2, 9)), int(rng.integers(1, 6))
    final = rng.beta(*((5, 0.5), (0.5, 5), (1, 1))[seed % 3], (experiments, folds)).clip(0.01, 1.0)
    weights = [float(w) for w in rng.integers(0 if seed % 2 else 1, 50, folds)]
    weights[int(rng.integers(folds))] += 40.0
    race = exact_race(final, weights, keep, rng)
    scores = weighted_cv(final.tolist(), weights)
    for name in dropped(race):
        better = sum(s > scores[int(name)] for s in scores)
        assert better >= keep  # true places 1..keep, ties included, are all kept


def test_exact_drops_as_soon_as_perfect_scores_would_not_do():
    race = made(Settings("exact", 1), "ab", (0, 1), weights=[3.0, 1.0])
    finish(race, "a", 0, 0.9)
    assert finish(race, "a", 1, 0.9) == []  # b has not begun: it could still score 1
    (drop,) = finish(race, "b", 0, 0.8)  # (3 · 0.8 + 1) / 4 = 0.85 < 0.9
    assert (drop["event"], drop["experiment"], drop["fold"], drop["rung"]) == ("drop", "b", None, None)
    assert (drop["value"], drop["bar"]) == pytest.approx((0.85, 0.9))
    assert "at most 0.8500 with perfect scores on the other folds, below 0.9000" in drop["reason"]


def test_exact_weighs_folds_by_their_labels():
    for weights, lost in (([1.0, 1.0], set()), ([9.0, 1.0], {"b"})):
        race = made(Settings("exact", 1), "ab", (0, 1), weights=weights)
        for name, value in (("a", 0.7), ("b", 0.5)):
            finish(race, name, 0, value)
        finish(race, "a", 1, 0.3)
        assert dropped(race) == lost


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_exact_follows_the_weights_when_folds_change_places(seed):
    """The weights of the race event belong to the folds that stand at their places."""
    rng = np.random.default_rng(seed)
    final, weights = rng.uniform(0.3, 1, (6, 3)), [float(w) for w in rng.integers(1, 30, 3)]
    permuted = [int(k) for k in rng.permutation(3)]
    plain, other = Race(), Race()
    rules = Settings("exact", 1).plain()
    feed(plain, "race", settings=rules, folds=[0, 1, 2], weights=weights, number=None)
    feed(other, "race", settings=rules, folds=permuted, weights=[weights[k] for k in permuted], number=None)
    for race in (plain, other):
        propose(race, "abcdef")
        for i, name in enumerate("abcdef"):
            finish(race, name, 0, float(final[i, 0]))
            finish(race, name, permuted[0], float(final[i, permuted[0]]))
    for name in "abcdef":  # the same cells are known: where both judge, they agree
        depths = [race.depth(race.entries[name]) for race in (plain, other)]
        if min(depths) > 0 and max(depths) < 3:
            assert plain.entries[name].dropped == other.entries[name].dropped


# -- rungs ------------------------------------------------------------------------------------------------


def test_the_weak_half_stops_at_the_first_rung():
    curves = random_curves(11, 16, 2, spread=0.2)
    order = np.argsort(-curves.final[:, 0])
    found = simulate(curves, Settings("asha", 2), [int(e) for e in order])
    epochs = found.epochs[:, 0]
    assert set(epochs.tolist()) <= {2, 4, 8}  # a quarter and a half of 8 epochs
    assert epochs.sum() < 0.7 * 16 * 8


def test_rungs_compare_like_kinds_only_and_fold_ends_compare_all():
    race = Race()
    start(race, Settings("paired", 1))
    propose(race, "abcd", kind="plateau")
    propose(race, "z", kind="one_cycle")
    for name in "abcd":
        assert rung(race, name, 0.9) == []
    assert rung(race, "z", 0.1) == []  # the only one of its kind
    for name in "abcd":
        finish(race, name, 0, 0.9, 1e-6)
    (drop,) = finish(race, "z", 0, 0.1, 1e-6)
    assert (drop["event"], drop["experiment"], drop["rung"], drop["fold"]) == ("drop", "z", None, 0)


def test_a_rung_is_judged_when_it_is_reached_and_not_again():
    race = made(Settings("asha", 1), "abcdefgh")
    assert rung(race, "a", 0.5) == []
    assert rung(race, "b", 0.4) != []
    for name, value in zip("cdef", (0.6, 0.7, 0.8, 0.9), strict=True):
        assert rung(race, name, value) == []
    assert dropped(race) == {"b"}  # a is below the bar by now, but it has passed


def test_only_the_first_fold_has_rungs():
    race = made(Settings("asha", 1), folds=(2, 0, 1))
    assert race.rung("a", 2, 2) == 0
    assert race.rung("a", 2, 4) == 1
    assert race.rung("a", 2, 1) is None
    assert race.rung("a", 0, 4) is None
    assert race.rung("a", 2, 8) is None  # the end is no rung


def test_the_end_of_a_short_training_is_no_rung():
    race = Race()
    start(race, Settings("asha", 1))
    propose(race, "a", epochs=1)
    propose(race, "b", epochs=2)
    assert race.rung("a", 0, 1) is None
    assert race.rung("b", 0, 1) == 1  # both rungs at once


def test_several_rungs_at_once_are_judged_once_at_the_highest():
    """A training that continues from its checkpoint after a kill may come in beyond rungs that nobody saw."""
    race = made(Settings("asha", 1), "abcd")
    assert race.rung("a", 0, 5) == 1
    rung(race, "a", 0.5, 1)
    assert [race.rung("a", 0, epoch) for epoch in range(1, 9)] == [None] * 8
    for name, value in (("b", 0.8), ("c", 0.7)):
        assert rung(race, name, value, 1) == []
    assert what(rung(race, "d", 0.1, 1)) == [("drop", "d")]


def test_a_value_from_a_late_epoch_is_no_bar_for_an_early_rung():
    race = made(Settings("asha", 1), "abc")
    for name in "ab":  # resumed beyond the first rung: their values there are not known
        rung(race, name, 0.9, 1)
    assert rung(race, "c", 0.3, 0) == []


def test_a_rung_is_told_once_even_if_the_trial_starts_again():
    race = made(Settings("asha", 1), "abcd")
    rung(race, "a", 0.5)
    assert race.rung("a", 0, 2) is None
    assert race.rung("a", 0, 4) == 1


def test_rungs_are_recorded_in_every_mode_but_judged_in_two():
    for stopping in STOPPING:
        race = made(Settings(stopping, 1), "abcdef")
        assert race.rung("a", 0, 4) is not None
        for name, value in zip("abcdef", (0.9, 0.8, 0.7, 0.3, 0.2, 0.1), strict=True):
            rung(race, name, value)
        assert bool(dropped(race)) == (stopping in ("asha", "paired"))


def test_a_rung_at_another_share_is_another_rung():
    """``paired`` has a rung at a half, ``asha`` its first at a quarter: they share a number and nothing else."""
    race = made(Settings("paired", 1), "abc")
    for name, value in zip("abc", (0.9, 0.8, 0.7), strict=True):
        rung(race, name, value)  # after half the epochs
    start(race, Settings("asha", 1))
    propose(race, "d")
    assert race.rung("d", 0, 2) == 0
    assert rung(race, "d", 0.3, 0) == []  # after a quarter of them: nobody is known there
    assert race.rung("d", 0, 4) == 1
    assert what(rung(race, "d", 0.3, 1)) == [("drop", "d")]


def test_rungs_of_another_first_fold_are_other_rungs():
    race = made(Settings("asha", 1), "abc", (0, 1, 2))
    for name in "abc":
        rung(race, name, 0.9)  # an easy fold
    start(race, Settings("asha", 1), (1, 0, 2))
    propose(race, "d")
    assert rung(race, "d", 0.3, 0, fold=1) == []
    assert race.rung("a", 1, 2) == 0  # and a is judged there, too


# -- portfolio and margin ---------------------------------------------------------------------------------


def test_there_is_no_bar_before_two_more_than_the_portfolio_holds():
    race = made(Settings("paired", 2), "abcdef")
    for name, value in zip("abc", (0.9, 0.8, 0.1), strict=True):
        assert finish(race, name, 0, value, 1e-6) == []
    decisions = finish(race, "d", 0, 0.7, 1e-6)
    assert [(d["experiment"], d["bar"]) for d in decisions] == [("c", 0.8), ("d", 0.8)]


def test_dropped_experiments_keep_their_place_in_the_bar():
    race = made(Settings("paired", 1, z=0.0), "abcdef", (0, 1))
    for name, value in zip("abc", (0.9, 0.8, 0.7), strict=True):
        finish(race, name, 0, value, 1e-6)
    assert dropped(race) == {"b", "c"}
    finish(race, "a", 1, 0.1)  # complete with a mean of 0.5; nobody is judged by folds that he has not run
    assert what(finish(race, "d", 0, 0.85, 1e-6)) == [("drop", "d")]


def test_reasons_name_the_numbers():
    race = made(Settings("paired", 1), "abcd", (3, 4, 5))
    for name, value in zip("abc", (0.9, 0.8, 0.7), strict=True):
        last = finish(race, name, 3, value, 0.0003)
    # s² = 0.0003, d = 1 of 3: 0.5 · √(0.0003 · 2 · 2/3) = 0.01
    reasons = {d["experiment"]: d["reason"] for d in last}
    assert reasons["c"] == (
        "mean lwlrap 0.7000 on fold 3 is 0.2000 below a, which holds place 1; allowed are 0.0100"
    )


def test_without_any_variance_nothing_is_dropped_at_fold_ends():
    race = made(Settings("paired", 1), "abcd")
    for name, value in zip("abcd", (0.9, 0.8, 0.7, 0.1), strict=True):
        assert finish(race, name, 0, value) == []
    assert race.variance is None


def test_the_worst_goes_first_when_not_all_may_go():
    race = made(Settings("exact", 2), "dabg", (0, 1))
    race.apply({"event": "drop", "experiment": "d"})  # its folds were under way and finish
    for name, fold, value in (("d", 0, 0.9), ("d", 1, 0.9), ("a", 0, 0.5), ("b", 0, 0.1), ("g", 0, 0.9)):
        assert finish(race, name, fold, value) == []
    assert what(finish(race, "g", 1, 0.9)) == [("drop", "b")]  # a and b are both hopeless, one has to stay
    assert race.next_trial([]) == ("a", 1)


# -- facts that a run may hold ----------------------------------------------------------------------------


def test_one_fold_is_a_race_of_rungs_alone():
    curves = random_curves(3, 12, 1, spread=0.2, variance=1e-9)
    for stopping in ("paired", "exact", "asha"):
        found = simulate(curves, Settings(stopping, 2), range(12))
        assert all(e["rung"] is not None for e in found.events if e["event"] == "drop")
        assert len(found.complete) == 12 - sum(e.dropped for e in found.race.entries.values()) >= 2


def test_a_second_proposal_of_an_experiment_changes_nothing():
    race = made(Settings("paired", 1), "abc", number=4)
    finish(race, "b", 0, 0.5)
    feed(race, "propose", experiment="b", index=3, kind="one_cycle", epochs=8)
    assert [e.id for e in race.active] == ["a", "b", "c"]
    assert race.entries["b"].index == 1
    assert race.entries["b"].folds == {0: 0.5}


def test_nothing_waits_for_a_proposal_that_repeated_another():
    """Four proposals are three experiments: once two of them are left, all their folds may run at once."""
    race = made(Settings("exact", 2), "abc", (0, 1, 2), number=4)
    feed(race, "propose", experiment="b", index=3, kind="one_cycle", epochs=8)
    race.apply({"event": "drop", "experiment": "a"})
    for name, fold in (("a", 0), ("a", 1), ("b", 0), ("c", 0)):  # a came further than they
        finish(race, name, fold, 0.5)
    assert sorted(all_next(race)) == [("b", 1), ("b", 2), ("c", 1), ("c", 2)]


def test_folds_that_were_found_finished_count_at_once():
    race = made(Settings("paired", 1), "abcd")
    for name, value in zip("abc", (0.9, 0.8, 0.79), strict=True):
        finish(race, name, 0, value, 1e-6)
    propose(race, "z")
    assert race.depth(race.entries["z"]) == 0
    finish(race, "z", 1, 0.99)
    finish(race, "z", 2, 0.99)
    assert race.depth(race.entries["z"]) == 0  # a gap: not comparable yet
    assert race.next_trial([("d", 0)]) == ("z", 0)
    assert not race.entries["z"].dropped
    finish(race, "z", 0, 0.3, 1e-6)  # complete: of use, however bad
    assert race.depth(race.entries["z"]) == 3
    assert not race.entries["z"].dropped


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_no_number_is_refused_by_name(value):
    race = made(Settings("paired", 1))
    with pytest.raises(ValueError, match=r"fold 0 of a: its fold value .* is not a finite number"):
        finish(race, "a", 0, value)
    with pytest.raises(ValueError, match=r"fold 0 of a: its rung value .* is not a finite number"):
        rung(race, "a", value)
    assert race.entries["a"].folds == race.entries["a"].rungs == {}


def test_other_events_and_unknown_experiments_are_ignored():
    race = made()
    for event in ({"event": "launch"}, {"event": "tell", "experiment": "a"}, {"event": "end"}):
        race.apply(event)
    assert finish(race, "nobody", 0, 0.5) == []
    assert race.next_trial([]) == ("a", 0)


def test_experiments_beyond_the_number_take_no_part():
    race = made(Settings("paired", 1), "abcdef")
    for name, value in zip("abcdef", (0.5, 0.4, 0.3, 0.95, 0.96, 0.97), strict=True):
        finish(race, name, 0, value)
    start(race, Settings("paired", 1), number=3)
    assert [e.id for e in race.active] == ["a", "b", "c"]
    (drop, *_) = finish(race, "c", 1, 0.3, 1e-6)
    assert drop["bar"] <= 0.5  # not that of the others
    assert not dropped(race) & set("def")
    assert set(race.estimates()) == set("abc")
    assert {race.next_trial([])[0]} <= set("abc")
    start(race, Settings("paired", 1), number=6)
    assert len(race.active) == 6


# -- later launches ---------------------------------------------------------------------------------------


def raced(seed, rules, experiments=12, slots=1):
    curves = random_curves(seed, experiments, 4, spread=0.15, variance=1e-4)
    return simulate(curves, rules, random_order(seed, curves), slots)


def relaunch(race, rules, number=12):
    return feed(race, "race", settings=rules.plain(), folds=[0, 1, 2, 3], weights=[1.0] * 4, number=number)


def passes(race, entry, rules):
    """Whether an experiment passes where it stands now, under rules, by the oracle."""
    oracle = Oracle({"settings": rules.plain(), "folds": race.folds, "weights": list(race.weights.values())})
    shares = list(rules.shares)
    for e in race.entries.values():
        oracle.kind[e.id] = e.kind
        oracle.cells |= {(e.id, k): v for k, v in e.folds.items()}
        oracle.rungs |= {(e.id, shares.index(s)): v for (_, s), v in e.rungs.items() if s in shares}
    oracle.priors = race._priors
    levels = [r for o, r in oracle.rungs if o == entry.id]
    oracle.judged = (entry.id, max(levels)) if levels else None
    return oracle.failing(entry.id) is None


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.sampled_from(STOPPING), st.integers(1, 4), st.sampled_from(STOPPING), st.integers(0, 4))
def test_new_rules_reopen_exactly_those_that_pass_under_them(seed, old, keep, new, more):
    race = raced(seed, Settings(old, keep)).race
    rules, before = Settings(new, keep + more), dropped(race)
    expected = {e.id for e in race.entries.values() if e.dropped and passes(race, e, rules)}
    decisions = relaunch(race, rules)
    reopened = {d["experiment"] for d in decisions if d["event"] == "reopen"}
    if (old, more) == (new, 0):
        assert decisions == []
        return
    words = f"the rules are now --stopping {new} --keep {keep + more}"
    assert {d["experiment"] for d in decisions if d.get("reason") == words} == expected
    assert expected <= reopened <= before
    # the others come back only where the portfolio is short of experiments
    if reopened != expected:
        assert sum(e.open for e in race.active) == keep + more
    assert relaunch(race, rules) == []  # and that is all


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.sampled_from(STOPPING), st.integers(2, 6), st.booleans())
def test_the_same_rules_or_a_smaller_portfolio_reopen_nothing(seed, stopping, keep, same):
    race = raced(seed, Settings(stopping, keep)).race
    decisions = relaunch(race, Settings(stopping, keep if same else keep - 1))
    assert not [d for d in decisions if d["event"] == "reopen"]


def test_none_reopens_all():
    race = raced(5, Settings("paired", 2)).race
    before = dropped(race)
    assert len(before) > 3
    decisions = relaunch(race, Settings("none", 2))
    assert sorted(what(decisions)) == sorted(("reopen", e) for e in before)
    assert not dropped(race)


def test_a_larger_portfolio_has_as_many_experiments():
    race = raced(5, Settings("paired", 2)).race
    relaunch(race, Settings("paired", 9))
    assert sum(e.open for e in race.active) >= 9


def test_a_launch_that_died_before_it_reopened_anything_is_made_up_for():
    race = raced(5, Settings("paired", 2)).race
    rules = Settings("none", 2)
    race.apply(
        {"event": "race", "settings": rules.plain(), "folds": [0, 1, 2, 3], "weights": [1.0] * 4, "number": 12}
    )
    race.apply(race.next_decision())  # the first of several; then a kill
    assert dropped(race)
    relaunch(race, rules)
    assert not dropped(race)


def test_new_rules_are_applied_to_the_dropped_once():
    race = made(Settings("asha", 1), "abc")
    rung(race, "a", 0.9)
    assert what(rung(race, "b", 0.5)) == [("drop", "b")]
    assert start(race, Settings("asha", 1, z=1.0)) == []
    # b would be in the better half of three: a drop is not undone by what comes later
    assert what(rung(race, "c", 0.1)) == [("drop", "c")]


def test_a_launch_that_died_before_it_judged_a_rung_is_made_up_for():
    race = made(Settings("asha", 1), "abc", number=12)
    rung(race, "a", 0.9)
    rung(race, "b", 0.8)
    race.apply({"event": "rung", "experiment": "c", "fold": 0, "rung": 0, "epoch": 2, "value": 0.1})  # a kill
    assert not race.entries["c"].dropped
    assert what(start(race, Settings("asha", 1), number=12)) == [("drop", "c")]


# -- failures ---------------------------------------------------------------------------------------------


def test_a_failed_experiment_leaves_its_place_to_the_best_that_was_dropped():
    race = made(Settings("paired", 2), "abcde", number=5)
    for name, value in zip("abcde", (0.9, 0.8, 0.7, 0.6, 0.5), strict=True):
        finish(race, name, 0, value, 1e-6)
    assert dropped(race) == {"c", "d", "e"}
    (reopen,) = feed(race, "fail", experiment="a", fold=1, reason="ValueError: diverged")
    assert what([reopen]) == [("reopen", "c")]
    assert reopen["reason"] == "only 1 of 2 experiments to keep are left"
    assert race.next_trial([])[0] in "bc"
    assert feed(race, "fail", experiment="b", fold=1)[0]["experiment"] == "d"
    # nobody is left to come back: what there is goes on
    for name in "cde":
        feed(race, "fail", experiment=name, fold=1)
    assert race.next_trial([]) is None
    assert race.next_decision() is None


def test_what_was_dropped_and_failed_besides_does_not_come_back():
    race = made(Settings("paired", 1), "abc", number=3)
    for name, value in zip("abc", (0.9, 0.8, 0.7), strict=True):
        finish(race, name, 0, value, 1e-6)
    feed(race, "fail", experiment="b", fold=1)  # it was ahead when it was dropped
    assert what(feed(race, "fail", experiment="a", fold=1)) == [("reopen", "c")]
    assert feed(race, "fail", experiment="c", fold=1) == []


def test_the_deepest_of_the_dropped_comes_back_first():
    race = made(Settings("asha", 2), "abcdef")
    for name in "ab":
        finish(race, name, 0, 0.9)
    rung(race, "c", 0.8, 0)
    rung(race, "d", 0.1, 1)
    finish(race, "e", 0, 0.05)
    for name in "cdef":
        race.apply({"event": "drop", "experiment": name})
    back = []
    for name in "abedc":
        back += [d["experiment"] for d in feed(race, "fail", experiment=name, fold=1)]
    assert back == ["e", "d", "c", "f"]  # a fold, the second rung, the first rung, nothing


def test_a_failed_experiment_is_no_bar_and_the_next_launch_tries_it_again():
    race = made(Settings("paired", 1), "abcd")
    finish(race, "a", 0, 0.9, 1e-6)
    feed(race, "fail", experiment="a", fold=1)
    for name, value in zip("bc", (0.5, 0.4), strict=True):
        assert finish(race, name, 0, value, 1e-6) == []  # two of three: no bar without a
    assert race.next_trial([("d", 0)]) != ("a", 1)
    decisions = start(race, Settings("paired", 1))
    assert race.entries["a"].open
    assert what(decisions) == [("drop", "c"), ("drop", "b")]  # a is back, and with it the bar
    assert race.next_trial([("d", 0)]) == ("a", 1)


def test_a_failed_experiment_bounds_nobody():
    race = made(Settings("exact", 1), "abc", (0, 1))
    finish(race, "a", 0, 0.9)
    feed(race, "fail", experiment="a", fold=1)
    finish(race, "a", 1, 0.9)  # found finished later: it is of use, but not of those that this launch completes
    assert finish(race, "b", 0, 0.7) == []


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.sampled_from(["asha", "exact", "paired"]), st.integers(1, 4))
def test_the_portfolio_is_full_as_long_as_enough_have_not_failed(seed, stopping, keep):
    race, rng = raced(seed, Settings(stopping, keep)).race, np.random.default_rng(seed)
    names = list(race.entries)
    for name in rng.permutation(names):
        feed(race, "fail", experiment=str(name), fold=0)
        left = [e for e in race.active if not e.failed]
        assert sum(e.open for e in race.active) >= min(keep, len(left))


# -- what to train next -----------------------------------------------------------------------------------


def all_next(race, running=()):
    busy = list(running)
    while (found := race.next_trial(busy)) is not None:
        busy.append(found)
    return busy[len(running) :]


def test_first_folds_come_first_in_order_of_proposal():
    race = made(Settings("paired", 1), "cab", (2, 0, 1))
    finish(race, "c", 2, 0.5)
    assert race.next_trial([]) == ("a", 2)
    assert race.next_trial([("a", 2)]) == ("b", 2)


def test_then_the_best_goes_on_with_its_next_fold():
    race = made(Settings("paired", 1), "abcd", (2, 0, 1))
    for name, value in zip("abcd", (0.5, 0.8, 0.7, 0.6), strict=True):
        finish(race, name, 2, value)
    assert race.next_trial([]) == ("b", 0)
    assert all_next(race)[:4] == [("b", 0), ("c", 0), ("d", 0), ("a", 0)]
    finish(race, "b", 0, 0.7)  # a hard fold: b is worth 0.75, c 0.65, as if it had run this fold as well
    assert race.next_trial([]) == ("b", 1)
    finish(race, "c", 0, 0.9)  # 0.8 on average
    assert race.next_trial([]) == ("c", 1)
    finish(race, "c", 1, 0.1)
    assert race.next_trial([]) == ("b", 1)


def test_a_fold_waits_for_the_judgement_of_the_one_before():
    race = made(Settings("paired", 1), "abc")
    for name, value in zip("abc", (0.5, 0.6, 0.7), strict=True):
        finish(race, name, 0, value)
    running = [("a", 1), ("b", 1)]
    assert race.next_trial(running) == ("c", 1)  # there is something ready: nobody goes ahead
    assert race.next_trial([*running, ("c", 1)]) == ("c", 2)  # nothing is: he who holds the place does
    assert all_next(race, [*running, ("c", 1)]) == [("c", 2)]  # and he alone


def test_nobody_goes_ahead_before_his_first_fold():
    race = made(Settings("paired", 2), "abc")
    assert all_next(race) == [("a", 0), ("b", 0), ("c", 0)]


def test_nothing_waits_once_all_that_are_left_will_complete():
    race = made(Settings("paired", 2), "abcd", number=4)
    for name, value in zip("abcd", (0.9, 0.8, 0.2, 0.1), strict=True):
        finish(race, name, 0, value, 1e-6)
    assert dropped(race) == {"c", "d"}
    assert all_next(race) == [("a", 1), ("a", 2), ("b", 1), ("b", 2)]


def test_as_long_as_more_may_be_proposed_nothing_is_certain():
    race = made(Settings("paired", 2), "abcd", (0, 1, 2, 3), number=None)
    for name, value in zip("abcd", (0.9, 0.8, 0.2, 0.1), strict=True):
        finish(race, name, 0, value, 1e-6)
    assert not race._certain
    race = made(Settings("paired", 2), "abcd", (0, 1, 2, 3), number=5)
    for name, value in zip("abcd", (0.9, 0.8, 0.2, 0.1), strict=True):
        finish(race, name, 0, value, 1e-6)
    assert not race._certain
    propose(race, "e")
    assert not race._certain  # one of three may still go
    finish(race, "e", 0, 0.1, 1e-6)
    assert race._certain


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.sampled_from(STOPPING), st.integers(1, 4), st.integers(1, 5))
def test_there_is_always_something_to_do_until_all_is_done(seed, stopping, keep, slots):
    """No race stands still: as long as an open experiment lacks a fold that is not running, one may start."""
    race = Race()
    for event in raced(seed, Settings(stopping, keep), 8, slots).events:
        race.apply(event)
        if race.next_decision() is None:
            lacking = [e for e in race.active if e.open and len(e.folds) < 4]
            assert (race.next_trial([]) is None) == (not lacking)


# -- what a searcher is told ------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(1, 8), st.integers(1, 5))
def test_estimates_of_a_complete_table_are_plain_means(seed, experiments, folds):
    curves = random_curves(seed, experiments, folds)
    estimates = simulate(curves, Settings("none", 1), range(experiments)).race.estimates()
    assert estimates == pytest.approx({str(e): curves.final[e].mean() for e in range(experiments)}, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(1, 3))
def test_estimates_of_complete_experiments_are_their_means_in_any_race(seed, slots):
    found = raced(seed, Settings("paired", 2), slots=slots)
    estimates, curves = found.race.estimates(), random_curves(seed, 12, 4, spread=0.15, variance=1e-4)
    for e in found.complete:
        assert estimates[str(e)] == pytest.approx(curves.final[e].mean(), abs=1e-12)
    assert set(estimates) == {e.id for e in found.race.active}  # every experiment has one


def test_estimates_are_freed_from_the_folds_that_were_run():
    race = made(Settings("none", 1), "abc", (0, 1))
    for name, values in (("a", (0.9, 0.5)), ("b", (0.8, 0.4))):
        for fold in (0, 1):
            finish(race, name, fold, values[fold])
    finish(race, "c", 0, 0.85)  # on the easy fold, 0.2 above the average one
    assert race.estimates() == pytest.approx({"a": 0.7, "b": 0.6, "c": 0.65}, abs=1e-12)


def test_an_experiment_dropped_at_a_rung_counts_with_the_average_gain_of_its_like():
    race = Race()
    start(race, Settings("asha", 1), (0, 1))
    propose(race, "abc")
    propose(race, "z", kind="other")
    for name, early, late in (("a", 0.5, 0.7), ("b", 0.5, 0.8), ("z", 0.1, 0.9)):
        rung(race, name, early)
        finish(race, name, 0, late)
    assert what(rung(race, "c", 0.4)) == [("drop", "c")]
    assert race.estimates()["c"] == pytest.approx(0.4 + 0.25)  # z's gain of 0.8 is of another kind
    finish(race, "a", 1, 0.5)  # the first fold lies 0.1 above the average one
    assert race.estimates()["c"] == pytest.approx(0.4 + 0.25 - 0.1)


def test_an_experiment_under_way_has_no_estimate_yet():
    race = made(Settings("asha", 1), "ab")
    assert race.estimates() == {}
    rung(race, "a", 0.5)
    assert race.estimates() == {}
    assert Race().estimates() == {}


def test_a_rung_that_nobody_has_finished_after_gains_nothing():
    race = made(Settings("asha", 1), "abc")
    for name, value in zip("abc", (0.5, 0.4, 0.3), strict=True):
        rung(race, name, value)
    assert race.estimates() == {"b": 0.4, "c": 0.3}


def test_an_empty_race():
    race = Race()
    assert race.next_decision() is None
    assert race.next_trial([]) is None
    assert race.variance is None
