"""Successive halving keeps the best, and never fewer than are blended."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from raytag.ensemble.stackers import halving
from raytag.ensemble.stackers.case import one_thread
from raytag.ensemble.stackers.halving import Rung, plan_rungs, race
from tests.ensemble.stackers.test_training import config, task_of


@pytest.fixture(autouse=True)
def alone():
    with one_thread():
        yield


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 8, 16, 64, 1000])
@pytest.mark.parametrize("epochs", [16, 50, 100])
def test_plans(n, epochs):
    rungs = plan_rungs(n, epochs)
    assert rungs[-1] == Rung(epochs, 3)
    assert len(rungs) <= 3
    for before, after in itertools.pairwise(rungs):
        assert 1 <= before.epochs < after.epochs
        assert n > before.keep >= after.keep >= 3


def test_plans_in_numbers():
    assert plan_rungs(64, 16) == [Rung(1, 16), Rung(4, 4), Rung(16, 3)]
    assert plan_rungs(8, 100) == [Rung(12, 3), Rung(100, 3)]
    assert plan_rungs(4, 100) == [Rung(100, 3)]


CONFIGS = [config(i, lr=lr) for i, lr in enumerate([1e-5, 4e-3, 1e-4, 8e-3, 3e-5, 2e-3, 1e-6, 1e-3])]


def test_the_best_go_on():
    task = task_of()
    networks, standings = race(CONFIGS, task, [Rung(2, 4), Rung(4, 3), Rung(8, 3)])
    assert [s.number for s in standings] == list(range(8))
    assert [s.rung for s in standings].count(1) == 4
    assert [s.rung for s in standings].count(2) == 1
    assert [n.best for n in networks] == sorted((s.inner_lwlrap for s in standings), reverse=True)[:3]
    assert all(n.epoch == 8 for n in networks)
    # what the first rung dropped was worse there than what it kept
    alone = [race([c], task, [Rung(2, 3)])[0][0].best for c in CONFIGS[:1]]
    assert alone == [standings[0].inner_lwlrap]
    first, _ = race(CONFIGS, task, [Rung(2, 4)])
    assert sorted(n.number for n in first) == [s.number for s in standings if s.rung > 1]
    # the same without interruption
    whole, _ = race([CONFIGS[n.number] for n in networks[:1]], task, [Rung(8, 3)])
    assert whole[0].config == networks[0].config


def test_ties_go_to_the_first():
    task = replace(task_of(), inner_y=np.ones((15, 5), np.float32))  # every ranking is perfect
    networks, standings = race(CONFIGS, task, [Rung(1, 4), Rung(2, 3)])
    assert {s.inner_lwlrap for s in standings} == {1.0}
    assert [n.number for n in networks] == [0, 1, 2]


def test_few_networks_all_stay():
    networks, standings = race(CONFIGS[:2], task_of(), [Rung(1, 3), Rung(2, 3)])
    assert len(networks) == 2
    assert [s.rung for s in standings] == [2, 2]


def test_memory_limits_who_goes_on(monkeypatch):
    task = task_of()
    rungs = [Rung(2, 6), Rung(4, 3)]
    _, free = race(CONFIGS, task, [Rung(2, 6)])
    ranked = sorted(range(8), key=lambda i: (-free[i].inner_lwlrap, i))
    size = race(CONFIGS[:1], task, [Rung(1, 3)])[0][0].bytes
    for limit, kept in ((0, 3), (4 * size, 4), (100 * size, 6)):
        monkeypatch.setattr(halving, "STATE_BYTES", limit)
        _, standings = race(CONFIGS, task, rungs)
        assert [s.number for s in standings if s.rung == 2] == sorted(ranked[:kept])
