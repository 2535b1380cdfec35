"""The search on Ray gives the bits of one process, and survives lost workers.

Tasks are defined within the tests: Ray then sends them by value, and its workers need not find this module.
"""

from __future__ import annotations

import io
import os
import signal

import numpy as np
import pytest
from rich.console import Console

from raytag.ensemble import distributed, subsets
from raytag.ensemble.distributed import run_tasks, search
from raytag.ensemble.effort import Speed
from raytag.ensemble.nested import objectives
from raytag.ensemble.pairs import log_probabilities, reduce_pairs
from raytag.ensemble.trees import plan
from tests.ensemble.fakes import simulate


def quiet():
    return Console(file=io.StringIO())


def test_same_bits_as_one_process(ray_session, monkeypatch):
    probabilities, targets = simulate(11, 60, 6, own=1.5, signal=1.5)
    pairs = reduce_pairs(log_probabilities(probabilities), targets, np.arange(60) % 4)
    goals, sizes = objectives(4, 40), range(1, 8)
    expected = subsets.search_trees(pairs, plan(11, sizes, subsets.TREE_LIMIT), goals)
    for speed in (Speed(1e-4, 1e-6), Speed(1e-4, 1e-2)):  # few shards, many shards
        monkeypatch.setattr(distributed, "measure_speed", lambda pairs, sizes, speed=speed: speed)
        boards, outcome = search(pairs, sizes, goals, console=quiet())
        assert [list(board) for board in boards] == [list(board) for board in expected]
        assert sum(w.tasks for w in outcome.workers) == len(outcome.results)
        assert all(w.pid != os.getpid() for w in outcome.workers)


def test_a_lost_worker_costs_its_task_only(ray_session, tmp_path):
    def die_once(folder, item):
        marker = f"{folder}/{item}"
        if item == 3 and not os.path.exists(marker):
            open(marker, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        return item * item

    outcome = run_tasks(
        die_once, str(tmp_path), list(range(6)), label="squares", weights=[1.0] * 6, console=quiet()
    )
    assert outcome.results == [0, 1, 4, 9, 16, 25]
    assert (tmp_path / "3").exists()


def test_a_task_that_always_loses_its_worker_is_an_error(ray_session):
    def always_die(shared, item):
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(RuntimeError, match=r"squares: a task lost its worker 4 times"):
        run_tasks(always_die, None, [1], label="squares", weights=[1.0], console=quiet())


def test_errors_of_tasks_are_raised_as_they_are(ray_session):
    def refuse(shared, item):
        raise ValueError(f"item {item} is wrong")

    with pytest.raises(ValueError, match=r"^item 7 is wrong$"):
        run_tasks(refuse, None, [7], label="refusals", weights=[1.0], console=quiet())


def test_the_number_of_workers_can_be_limited(ray_session):
    def pid(shared, item):
        return os.getpid()

    outcome = run_tasks(pid, None, list(range(4)), label="pids", weights=[1.0] * 4, console=quiet(), workers=1)
    assert outcome.seconds > 0
    assert sum(w.tasks for w in outcome.workers) == 4
