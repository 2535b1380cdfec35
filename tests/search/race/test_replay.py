"""Replays: a table of curves against what is known of it, and logs that must explain themselves."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raytag.search.race.race import DECISIONS, Race
from raytag.search.race.replay import STAMPS, Curves, check, simulate
from raytag.search.race.rules import RULES
from raytag.search.race.settings import Settings

SEEDS = st.integers(0, 10**6)
MODES = st.sampled_from(list(RULES))
KEY = "1a2b3c4d"


def random_curves(seed, experiments=8, folds=3, epochs=8):
    rng = np.random.default_rng(seed)
    worth = rng.normal(0.6, 0.15, (experiments, 1)) + rng.normal(0, 0.1, (1, folds))
    final = np.clip(worth + rng.normal(0, 0.04, (experiments, folds)), 0.05, 0.99)
    steps = np.sort(rng.uniform(0.3, 1.0, (experiments, folds, epochs)), axis=-1)
    variance = np.full((experiments, folds), np.nan)
    variance[1:, 0] = rng.uniform(1e-5, 1e-3, experiments - 1)
    kinds = tuple(("one_cycle", "plateau")[int(i)] for i in rng.integers(0, 2, experiments))
    return Curves(final[:, :, None] * steps, final, kinds, variance)


def as_log(events, key=KEY):
    """As they come back from the files of a run."""
    stamped = [{"n": i, "time": "2026-01-01T00:00:00.000+00:00", **e, "key": key} for i, e in enumerate(events)]
    return [json.loads(json.dumps(e)) for e in stamped]


def decisions_of(log):
    return [i for i, e in enumerate(log) if e["event"] in DECISIONS]


# -- simulations ------------------------------------------------------------------------------------------


def test_two_experiments_by_hand():
    """Rung at half of 4 epochs; the second experiment stops there, the first runs on."""
    best = np.array([[[0.2, 0.5, 0.6, 0.8]] * 2, [[0.1, 0.2, 0.9, 0.95]] * 2])
    found = simulate(Curves(best, best[:, :, -1], ("a", "a")), Settings("paired", 1), [0, 1])
    assert found.epochs.tolist() == [[4, 4], [2, 0]]
    assert found.complete == [0]
    assert [(e["event"], e.get("experiment"), e.get("fold")) for e in found.events] == [
        ("race", None, None),
        ("propose", "0", None),
        ("propose", "1", None),
        ("rung", "0", 0),
        ("fold", "0", 0),
        ("rung", "1", 0),
        ("drop", "1", 0),
        ("fold", "0", 1),
    ]
    assert [e["value"] for e in found.events if e["event"] == "rung"] == [0.5, 0.2]
    assert [e["epoch"] for e in found.events if e["event"] == "rung"] == [2, 2]


def test_slots_train_side_by_side():
    best = np.broadcast_to(np.linspace(0.1, 0.8, 4), (2, 1, 4))
    ends = [
        e["event"] for e in simulate(Curves(best, best[:, :, -1], ("a", "a")), Settings("none"), [0, 1], 2).events
    ]
    assert ends == ["race", "propose", "propose", "rung", "rung", "fold", "fold"]


def test_a_fold_is_worth_its_final_value_and_not_its_best():
    best = np.array([[[0.5, 0.9]], [[0.5, 0.8]]])
    final = np.array([[0.7], [0.75]])
    found = simulate(Curves(best, final, ("a", "a")), Settings("none"), [0, 1])
    assert found.race.state.estimates() == {"0": 0.7, "1": 0.75}


def test_full_cross_validation_costs_everything():
    curves = random_curves(1)
    found = simulate(curves, Settings("none"), [2, 0, 1])
    assert (found.epochs[:3] == 8).all()
    assert (found.epochs[3:] == 0).all()  # not named: they take no part
    assert sorted(found.complete) == [0, 1, 2]


@pytest.mark.parametrize("stopping", RULES)
def test_a_replay_is_a_function_of_its_arguments(stopping):
    curves = random_curves(2)
    first, second = (simulate(curves, Settings(stopping, 2), range(8), 3) for _ in range(2))
    assert first.events == second.events
    np.testing.assert_array_equal(first.epochs, second.epochs)


def test_parts_of_a_table():
    curves = random_curves(3)
    part = curves.take([4, 1]).folds([2, 0])
    np.testing.assert_array_equal(part.final, curves.final[[4, 1]][:, [2, 0]])
    np.testing.assert_array_equal(part.best, curves.best[[4, 1]][:, [2, 0]])
    np.testing.assert_array_equal(part.clip_variance, curves.clip_variance[[4, 1]][:, [2, 0]])
    assert part.kinds == (curves.kinds[4], curves.kinds[1])
    bare = Curves(curves.best, curves.final, curves.kinds)
    assert bare.take([1]).folds([0]).clip_variance is None


# -- checks -----------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(SEEDS, MODES, st.integers(1, 4), st.integers(1, 4))
def test_every_log_explains_itself(seed, stopping, keep, slots):
    found = simulate(random_curves(seed), Settings(stopping, keep), range(8), slots)
    decisions, wrong = check(as_log(found.events), KEY)
    assert wrong == []
    assert decisions == [e for e in found.events if e["event"] in DECISIONS]


def drops_in(seed, stopping):
    """A log with several decisions."""
    for more in range(100):
        log = as_log(simulate(random_curves(seed + more), Settings(stopping, 2), range(8)).events)
        if len(decisions_of(log)) >= 3:
            return log
    raise AssertionError("no simulation drops anything")


@pytest.mark.parametrize("stopping", ["asha", "exact", "paired"])
@pytest.mark.parametrize("seed", [0, 1000])
def test_a_decision_that_is_missing_is_found(stopping, seed):
    log = drops_in(seed, stopping)
    for i in decisions_of(log):
        _, wrong = check(log[:i] + log[i + 1 :], KEY)
        assert wrong
        assert wrong[0].logged is None or wrong[0].logged["event"] == "drop"
        expected = {k: v for k, v in log[i].items() if k not in STAMPS}
        assert wrong[0].recomputed == expected


@pytest.mark.parametrize("stopping", ["asha", "exact", "paired"])
@pytest.mark.parametrize(
    "change",
    [
        {"bar": 0.123},
        {"value": 0.123},
        {"margin": 0.123},
        {"experiment": "another"},
        {"event": "reopen"},
        {"rung": 7},
        {"more": 1},
    ],
)
def test_a_decision_that_was_altered_is_found(stopping, change):
    log = drops_in(0, stopping)
    for i in decisions_of(log):
        altered = [*log[:i], {**log[i], **change}, *log[i + 1 :]]
        _, wrong = check(altered, KEY)
        assert wrong[0].number == i
        assert wrong[0].logged == {k: v for k, v in altered[i].items() if k not in STAMPS}


def test_the_rounding_of_another_processor_is_no_mismatch():
    """Matrix products are summed in another order there: margins differ in their last bits, and in these alone."""
    log = drops_in(0, "paired")
    i = next(i for i in decisions_of(log) if log[i]["margin"] > 0)
    for times, same in ((1 + 2**-51, True), (1 + 1e-6, False)):
        other = [*log[:i], {**log[i], "margin": log[i]["margin"] * times}, *log[i + 1 :]]
        assert (check(other, KEY)[1] == []) == same


@pytest.mark.parametrize("event", ["drop", "reopen"])
def test_a_decision_out_of_the_blue_is_found(event):
    log = drops_in(0, "paired")
    blue = {"event": event, "experiment": "0", "reason": "because", "n": -1, "time": "", "key": KEY}
    for i in range(9, len(log)):
        _, wrong = check([*log[:i], blue, *log[i:]], KEY)
        assert any(w.number == -1 for w in wrong)


@pytest.mark.parametrize("stopping", ["asha", "paired"])
def test_a_fact_that_was_altered_is_found(stopping):
    log = drops_in(0, stopping)
    found = 0
    for i, event in enumerate(log):
        if event["event"] in ("rung", "fold"):
            name = "value" if event["event"] == "rung" else "lwlrap"
            found += bool(check([*log[:i], {**event, name: event[name] - 0.3}, *log[i + 1 :]], KEY)[1])
    assert found > 3  # not every fact decides


def test_a_log_that_ends_before_its_decision_says_so():
    log = drops_in(0, "paired")
    (i, *_) = decisions_of(log)
    _, (wrong,) = check(log[:i], KEY)
    assert (wrong.number, wrong.logged) == (i - 1, None)
    assert wrong.recomputed["event"] == "drop"


def test_other_searches_in_the_same_log_do_not_disturb():
    one = as_log(simulate(random_curves(4), Settings("paired", 2), range(8)).events)
    other = as_log(simulate(random_curves(5), Settings("asha", 1), range(8)).events, "another")
    rng, mixed = np.random.default_rng(0), []
    queues = [list(one), list(other)]
    while any(queues):
        queue = queues[int(rng.integers(2))]
        mixed += [queue.pop(0)] if queue else [{"n": 0, "event": "launch", "time": "", "options": {}}]
    for key, log in ((KEY, one), ("another", other)):
        decisions, wrong = check(mixed, key)
        assert wrong == []
        assert len(decisions) == len(decisions_of(log)) > 0
    assert check(mixed, "a third") == ([], [])


# -- kills and later launches -----------------------------------------------------------------------------


class Killed(Exception):
    """The driver is gone, anywhere between two lines of its log."""


class Cluster:
    """What outlives a driver: the log, checkpoints and finished folds. Launches train epoch by epoch, at random."""

    def __init__(self, curves, seed):
        self.curves, self.rng = curves, np.random.default_rng(seed)
        self.log = []
        self.epochs = np.zeros(curves.final.shape, int)  # of the checkpoints
        self.finished = set()  # in the run store
        self.kill_at = None

    def append(self, event):
        self.log.append(json.loads(json.dumps({"n": len(self.log), "time": "now", "key": KEY, **event})))
        if len(self.log) == self.kill_at:
            raise Killed
        return self.log[-1]

    def put(self, race, event, **fields):
        race.apply(self.append({"event": event, **fields}))
        while (decision := race.next_decision()) is not None:
            race.apply(self.append(decision))

    def put_fold(self, race, e, k):
        variance = float(self.curves.clip_variance[e, k])
        known = None if np.isnan(variance) else variance
        self.put(
            race, "fold", experiment=str(e), fold=k, lwlrap=float(self.curves.final[e, k]), clip_variance=known
        )

    def launch(self, rules, number, slots=2, kill_after=None, failures=0.0):
        """Run to the end, or to a kill after so many events; the race."""
        _, folds, length = self.curves.best.shape
        self.kill_at = None if kill_after is None else len(self.log) + kill_after
        race = Race()
        for event in self.log:
            race.apply(event)
        self.put(
            race, "race", settings=rules.plain(), folds=list(range(folds)), weights=[2.0] * folds, number=number
        )
        for name in list(race.entries):
            self.find(race, int(name))
        running = []
        while True:
            while len(running) < slots and (found := self.next(race, running, number)) is not None:
                assert race.entries[found[0]].open
                running.append(found)
            if not running:
                return race
            name, k = trial = running[int(self.rng.integers(len(running)))]
            e = int(name)
            if self.rng.random() < failures:
                running.remove(trial)
                self.put(race, "fail", experiment=name, fold=k, reason="ValueError: diverged")
                continue
            self.epochs[e, k] += int(self.rng.integers(1, 4))  # the driver may miss epochs
            if self.epochs[e, k] >= length:
                self.finished.add((e, k))
                running.remove(trial)
                self.put_fold(race, e, k)
                continue
            rung = race.rung(name, k, int(self.epochs[e, k]))
            if rung is not None:
                value = float(self.curves.best[e, k, self.epochs[e, k] - 1])
                self.put(
                    race, "rung", experiment=name, fold=k, rung=rung, epoch=int(self.epochs[e, k]), value=value
                )
            if race.entries[name].dropped:
                running.remove(trial)

    def find(self, race, e):
        for k in range(self.curves.final.shape[1]):
            if (e, k) in self.finished and k not in race.entries[str(e)].folds:
                self.put_fold(race, e, k)

    def next(self, race, running, number):
        while True:
            found = race.next_trial(running)
            if len(race.entries) >= number or (found is not None and (not race.can_stop or found[1] == 0)):
                return found
            e = len(race.entries)
            self.put(race, "propose", experiment=str(e), index=e, kind=self.curves.kinds[e], epochs=8)
            self.find(race, e)

    def lose_checkpoints(self):
        """Some trials begin again, some lose an epoch or two."""
        lost = self.rng.integers(0, 4, self.epochs.shape)
        keep = np.array([[(e, k) in self.finished for k in range(lost.shape[1])] for e in range(len(lost))])
        self.epochs = np.where(keep, self.epochs, np.maximum(0, np.where(lost == 3, 0, self.epochs - lost)))


def check_end(cluster, race, keep, number):
    """What must hold after a launch that was not killed."""
    decisions, wrong = check(cluster.log, KEY)
    assert wrong == []
    folds = cluster.curves.final.shape[1]
    for e in race.active:
        if e.open:
            assert len(e.folds) == folds
    failed = sum(e.failed for e in race.active)
    assert sum(len(e.folds) == folds for e in race.active) >= min(keep, number - failed)
    assert sum(e.open for e in race.active) >= min(keep, number - failed)
    return decisions


@settings(max_examples=60, deadline=None)
@given(SEEDS, MODES, st.integers(1, 4), st.integers(1, 4), st.integers(2, 60))
def test_a_kill_anywhere_leaves_a_log_that_explains_itself(seed, stopping, keep, slots, kill_after):
    cluster = Cluster(random_curves(seed), seed)
    try:
        cluster.launch(Settings(stopping, keep), 8, slots, kill_after)
    except Killed:
        cluster.lose_checkpoints()
    before = set(cluster.finished)
    race = cluster.launch(Settings(stopping, keep), 8, slots)
    check_end(cluster, race, keep, 8)
    assert before <= cluster.finished  # nothing is trained twice: a finished fold is entered, not begun
    assert not [e for e in cluster.log if e["event"] == "reopen"]


@settings(max_examples=80, deadline=None)
@given(SEEDS, st.lists(st.tuples(MODES, st.integers(1, 6), st.integers(3, 10), st.integers(1, 50)), max_size=4))
def test_launches_under_many_rules_kills_and_failures(seed, launches):
    """Whatever came before, the last launch keeps its promise and the whole log explains itself."""
    cluster = Cluster(random_curves(seed, 10), seed)
    for stopping, keep, number, kill_after in launches:
        try:
            cluster.launch(Settings(stopping, keep), number, 3, kill_after, failures=0.02)
        except Killed:
            cluster.lose_checkpoints()
    keep, stopping = 1 + seed % 5, list(RULES)[seed % 4]
    race = cluster.launch(Settings(stopping, keep), 10, 3, failures=0.01 * (seed % 3))
    check_end(cluster, race, keep, 10)


@pytest.mark.parametrize("stopping", ["asha", "exact", "paired"])
def test_a_kill_after_each_single_event(stopping):
    """Between a fact and its decision, too: the next launch takes that decision."""
    seed = 0
    while True:
        curves, seed = random_curves(seed, 6), seed + 1
        whole = Cluster(curves, seed)
        whole.launch(Settings(stopping, 2), 6, 1)
        if len(decisions_of(whole.log)) > 1:
            break
    for kill_after in range(1, len(whole.log)):
        cluster = Cluster(curves, seed)
        with pytest.raises(Killed):
            cluster.launch(Settings(stopping, 2), 6, 1, kill_after)
        assert cluster.log == whole.log[:kill_after]
        race = cluster.launch(Settings(stopping, 2), 6, 1)
        check_end(cluster, race, 2, 6)
        if whole.log[kill_after]["event"] == "drop":  # it was due, and it came
            due = {k: v for k, v in whole.log[kill_after].items() if k not in STAMPS}
            made = {k: v for k, v in cluster.log[kill_after + 1].items() if k not in STAMPS}
            assert cluster.log[kill_after]["event"] == "race"
            assert made == due


@pytest.mark.parametrize("stopping", RULES)
@pytest.mark.parametrize("second", ["none", "asha", "exact", "paired"])
def test_a_larger_portfolio_in_a_later_launch(stopping, second):
    for seed in range(6):
        cluster = Cluster(random_curves(seed, 10), seed)
        first = cluster.launch(Settings(stopping, 2), 10)
        done = {e.id for e in first.active if len(e.folds) == 3}
        race = cluster.launch(Settings(second, 6), 10)
        check_end(cluster, race, 6, 10)
        assert done <= {e.id for e in race.active if len(e.folds) == 3}
        if second == "none":
            assert all(len(e.folds) == 3 for e in race.active)


def test_values_are_decided_on_as_the_log_keeps_them():
    """A decision is the same to the last bit when it is taken again from the lines of the log."""
    curves = random_curves(8)
    for stopping in ("asha", "exact", "paired"):
        found = simulate(curves, Settings(stopping, 2, z=0.1 + 0.2), range(8), 2)
        log = as_log(found.events)
        race = Race()
        for event in log:
            if event["event"] in DECISIONS:
                due = race.next_decision()
                for name in ("value", "bar", "margin"):
                    assert due[name].hex() == event[name].hex()
            race.apply(event)
