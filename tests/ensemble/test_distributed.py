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
from raytag.ensemble.distributed import Speed, make_shards, run_tasks, search
from raytag.ensemble.nested import objectives
from raytag.ensemble.pairs import log_probabilities, reduce_pairs
from raytag.ensemble.trees import count_subsets, plan
from tests.ensemble.fakes import simulate


def quiet():
    return Console(file=io.StringIO())


@pytest.mark.parametrize("speed", [Speed(1e-4, 1e-6), Speed(1e-3, 1e-2), Speed(0.05, 3.0)])
@pytest.mark.parametrize("slots", [1, 2, 16])
def test_shards_hold_every_subset_once(speed, slots):
    shards = make_shards(11, (2, 3, 5), speed, slots)
    trees = [tree for shard in shards for tree in shard]
    members = [tree.members(i) for tree in trees for i in range(tree.size)]
    assert len(members) == len(set(members)) == count_subsets(11, (2, 3, 5))
    assert all(shards)
    assert len(shards) >= min(slots, 2)


def test_long_searches_are_cut_into_shards_of_seconds():
    speed = Speed(0.02, 1e-6)
    costs = [speed.seconds(shard) for shard in make_shards(36, range(1, 8), speed, 2)]
    assert 2 * distributed.SHARDS_PER_SLOT <= len(costs) <= 20
    assert max(costs) < 2 * distributed.SHARD_SECONDS


def test_short_searches_are_cut_into_one_shard_a_slot():
    assert len(make_shards(12, range(1, 8), Speed(1e-3, 1e-6), 2)) == 2


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
