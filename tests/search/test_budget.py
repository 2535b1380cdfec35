"""The time budget: what is proposed finishes in time, and little time is left over."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raytag.search.budget import FEW_EPOCHS, Budget


class Clock:
    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


def make(seconds=100.0, slots=1, prior=1.0):
    clock = Clock()
    return Budget(seconds, lambda: slots, prior, clock), clock


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("inf"), float("nan")])
def test_numbers_that_make_no_sense_are_refused(seconds):
    with pytest.raises(ValueError, match="--time-budget"):
        make(seconds)
    with pytest.raises(ValueError, match="expected seconds of an epoch"):
        make(prior=seconds)
    budget, _ = make()
    if seconds:
        for numbers in ((seconds, 1.0), (1.0, seconds)):
            with pytest.raises(ValueError, match="cannot observe"):
                budget.observe(*numbers)


def test_the_clock_starts_with_the_budget():
    budget, clock = make(100)
    assert (budget.elapsed(), budget.left()) == (0, 100)
    clock.time += 130
    assert (budget.elapsed(), budget.left()) == (130, -30)


def test_the_prior_counts_until_a_few_epochs_were_seen():
    budget, _ = make(prior=5.0)
    for _ in range(FEW_EPOCHS - 1):
        budget.observe(1.0, 1)
        assert budget.seconds_per_epoch == 5.0
    budget.observe(1.0, 1)
    assert budget.seconds_per_epoch == 1.0
    budget.observe(2.0, 0)  # the predictions after the last epoch
    assert budget.seconds_per_epoch == pytest.approx(1 + 2 / FEW_EPOCHS)


def test_without_a_prior_the_first_epoch_counts():
    budget, _ = make(prior=None)
    assert budget.seconds_per_epoch is None
    assert budget.fits(1, 1) is None
    budget.observe(3.0, 1)
    assert budget.seconds_per_epoch == 3.0
    assert budget.fits(1, 1) is True


def test_one_worker_does_one_thing_after_another():
    budget, clock = make(100, slots=1)
    assert budget.allows(60, 40, 40)
    assert not budget.allows(60, 41, 41)
    clock.time += 50
    assert budget.allows(10, 40, 40)
    assert not budget.allows(11, 40, 40)


def test_the_bound_is_reached_by_a_schedule():
    """Graham's worst case: m (m - 1) short trials fill all workers before one of length m begins."""
    m = 4
    work = m * (m - 1) + m
    assert make(2 * m - 1, slots=m)[0].allows(work - m, m, m)
    assert not make(2 * m - 1.001, slots=m)[0].allows(work - m, m, m)


def test_proposals_resume_when_experiments_are_dropped_epochs_get_cheaper_or_workers_come():
    slots, clock = [1], Clock()
    budget = Budget(100, lambda: slots[0], 1.0, clock)
    assert not budget.allows(90, 20, 10)
    assert budget.allows(70, 20, 10)
    slots[0] = 2
    assert budget.allows(90, 20, 10)
    slots[0] = 0  # a cluster that has no node yet
    assert not budget.allows(90, 20, 10)
    budget.observe(5, 10)
    assert budget.allows(90, 20, 10)


def test_the_first_experiment_is_allowed_even_if_it_does_not_fit_and_no_second():
    budget, clock = make(100)
    assert budget.fits(500, 100) is False
    assert budget.allows(0, 500, 100)
    assert not budget.allows(500, 500, 100)  # it is in
    budget.observe(1, 1)
    assert not budget.allows(499, 500, 100)
    budget.observe(499, 499)
    clock.time += 500
    assert not budget.allows(0, 500, 100)  # it is done


def test_a_resumed_launch_has_its_first_experiment_already():
    budget, _ = make(100)
    assert not budget.allows(200, 10, 10)


def test_nothing_is_added_blindly():
    budget, _ = make(prior=None, slots=8)
    assert budget.allows(0, 10, 5)
    assert not budget.allows(10, 10, 5)
    budget.observe(1, 1)
    assert budget.allows(9, 10, 5)


def simulate(budget, clock, slots, cost, rng, *, waits, eager, experiments):
    """Train what the budget allows on ``slots`` workers; (worker seconds, experiments, time at the end).

    ``waits``: each fold of an experiment waits for the one before. ``eager``: propose whenever it is allowed,
    else only for an idle worker.
    """
    waiting: list[tuple[int, int]] = []  # (experiment, epochs)
    later: dict[int, list[int]] = {}  # folds that wait for the one before
    running: list[list] = []  # [time of the next epoch's end, experiment, epochs left]
    busy, proposed, number = 0.0, 0, itertools.count()
    experiment = next(experiments)

    def chains():
        for _, e, left in running:
            yield left + sum(later.get(e, []))
        for e, epochs in waiting:
            yield epochs + sum(later.get(e, []))

    def propose():
        nonlocal experiment, proposed
        open_epochs = sum(r[2] for r in running) + sum(w[1] for w in waiting) + sum(map(sum, later.values()))
        chain = sum(experiment) if waits else max(experiment)
        if not budget.allows(open_epochs, sum(experiment), max([chain, *chains()])):
            return False
        e, proposed = next(number), proposed + 1
        assert proposed < 2000, "it proposes for ever"
        waiting.append((e, experiment[0]))
        if waits:
            later[e] = list(experiment[1:])
        else:
            waiting.extend((e, epochs) for epochs in experiment[1:])
        experiment = next(experiments)
        return True

    while True:
        while eager and propose():
            pass
        while len(running) < slots and (waiting or propose()):
            e, epochs = waiting.pop(rng.randrange(len(waiting)))
            running.append([clock.time + cost, e, epochs])
        if not running:
            return busy, proposed, budget.elapsed()
        first = min(running)
        clock.time, busy = first[0], busy + cost
        assert budget.elapsed() < 20 * budget.seconds, "it proposes for ever"
        budget.observe(cost, 1)
        first[0] += cost
        first[2] -= 1
        if not first[2]:
            running.remove(first)
            if later.get(first[1]):
                waiting.append((first[1], later[first[1]].pop(0)))


@st.composite
def situations(draw):
    return {
        "slots": draw(st.integers(1, 9)),
        "cost": draw(st.sampled_from([0.25, 1.0, 7.0])),
        "rng": random.Random(draw(st.integers(0, 10**6))),
        "waits": draw(st.booleans()),
        "eager": draw(st.booleans()),
    }


def draws(rng, folds, epochs):
    """Experiments for ever: the epochs of each fold."""
    while True:
        yield [rng.randint(1, epochs) for _ in range(rng.randint(1, folds))]


@settings(max_examples=150, deadline=None)
@given(situations(), st.integers(10, 200), st.booleans())
def test_what_is_proposed_finishes_in_time(situation, epochs, known):
    clock = Clock()
    seconds = epochs * situation["cost"]
    budget = Budget(seconds, lambda: situation["slots"], situation["cost"] if known else None, clock)
    rng = random.Random(situation["rng"].random())
    first = next(draws(rng, 5, 20))
    chain = sum(first) if situation["waits"] else max(first)
    alone = Budget(seconds, lambda: situation["slots"], situation["cost"], clock).fits(sum(first), chain)
    experiments = itertools.chain([first], draws(rng, 5, 20))
    _, proposed, end = simulate(budget, clock, experiments=experiments, **situation)
    assert proposed >= 1
    if alone:
        assert end <= seconds + 1e-6
    elif end > seconds + 1e-6:
        assert proposed == 1  # only the one that a launch always trains may be late


@settings(max_examples=60, deadline=None)
@given(situations(), st.booleans())
def test_the_time_is_used_when_there_are_many_small_experiments(situation, known):
    clock = Clock()
    seconds = 150 * situation["cost"]
    budget = Budget(seconds, lambda: situation["slots"], situation["cost"] if known else None, clock)
    experiments = draws(random.Random(situation["rng"].random()), 3, 6)
    busy, proposed, end = simulate(budget, clock, experiments=experiments, **situation)
    assert end <= seconds + 1e-6
    assert busy >= 0.8 * seconds * situation["slots"]
    assert proposed >= 6 * situation["slots"]


def test_explain_a_budget_that_holds_many():
    budget, _ = make(7200, slots=4, prior=20.0)
    text = budget.explain(10, 5, 3)
    assert "(5 folds of 10 epochs) takes about 16:40 of work here" in text
    assert "2:00:00 on 4 workers holds about 28, more when weak ones are dropped" in text
    assert "none in the last 6:40" in text
    assert "never cut off" in text


@pytest.mark.parametrize("longest", [10, 50])
def test_explain_counts_what_allows_allows(longest):
    budget, _ = make(7200, slots=4, prior=20.0)
    number = 0
    while number < 100 and budget.allows(50 * number, 50, longest):
        number += 1
    assert f"holds about {number}," in budget.explain(10, 5, 3, longest)


def test_explain_a_budget_that_holds_few_or_none():
    assert "1 worker holds about 1, fewer than --keep 3" in make(60)[0].explain(10, 5, 3)
    text = make(40)[0].explain(10, 5, 3)
    assert "1 worker may not finish in 0:40. One is trained all the same" in text
    assert "--time-budget" in text


def test_explain_what_is_not_known_yet():
    budget, clock = make(prior=None)
    assert "How many experiments 1:40 holds is known after the first epochs" in budget.explain(10, 5, 3)
    budget.observe(0.0, 1)  # a clock too coarse to tell
    assert "known after the first epochs" in budget.explain(10, 5, 3)
    budget.observe(2.0, 1)
    clock.time += 30
    assert "1:10" in budget.explain(1, 1, 1)
    assert "(1 fold of 1 epoch) takes about 0:01" in budget.explain(1, 1, 1)
