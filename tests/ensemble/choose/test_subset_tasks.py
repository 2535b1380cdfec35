"""The subset search on the cluster gives the bits of one process, with kernels that are ready before."""

from __future__ import annotations

import io
import os

import numpy as np
from rich.console import Console

from raytag.blends import subsets
from raytag.blends.cost import Speed
from raytag.blends.exchange import swap_search
from raytag.blends.greedy import greedy_selection
from raytag.blends.pairs import log_probabilities, reduce_pairs
from raytag.blends.scorer import Scorer
from raytag.blends.subsets import Objective
from raytag.blends.trees import plan_trees
from raytag.blends.warmup import warm_up
from raytag.cluster.tasks import run_tasks
from raytag.compiled.once import count_kernels
from raytag.ensemble.choose import subset_tasks
from raytag.ensemble.choose.subset_tasks import search
from tests.ensemble.fakes import simulate


def quiet():
    return Console(file=io.StringIO())


def test_same_bits_as_one_process(ray_session, monkeypatch):
    probabilities, targets = simulate(11, 60, 6, own=1.5, signal=1.5)
    pairs = reduce_pairs(log_probabilities(probabilities), targets, np.arange(60) % 4)
    goals, sizes = [Objective((0, 1, 2, 3), 40), Objective((0, 1, 3), 1)], range(1, 8)
    expected = subsets.search_trees(pairs, plan_trees(11, sizes, subsets.TREE_LIMIT), goals)
    for speed in (Speed(1e-4, 1e-6), Speed(1e-4, 1e-2)):  # few shards, many shards
        monkeypatch.setattr(subset_tasks, "measure_speed", lambda pairs, sizes, speed=speed: speed)
        boards, outcome = search(pairs, sizes, goals, console=quiet())
        assert [list(board) for board in boards] == [list(board) for board in expected]
        assert sum(w.tasks for w in outcome.workers) == len(outcome.results)
        assert all(w.pid != os.getpid() for w in outcome.workers)


def test_kernels_are_ready_before_the_first_shard(ray_session):
    """A worker that is warm compiles nothing, whatever it is sent."""

    def counts(shared, trees):
        subset_tasks._search_shard(shared, trees)
        scorer = Scorer(shared[0])
        greedy_selection(scorer, [0, 1])
        swap_search(scorer, [0, 1], 3, starts=2)
        return count_kernels()

    probabilities, targets = simulate(7, 40, 6, own=1.5, signal=1.5)
    pairs = reduce_pairs(log_probabilities(probabilities), targets, np.arange(40) % 2)
    shared = pairs, (Objective((0, 1), 3), Objective((0,), 1))
    trees = plan_trees(7, range(1, 8), 20)
    (found,) = run_tasks(
        counts, shared, [trees], label="kernels", weights=[1.0], console=quiet(), prepare=warm_up
    ).results
    loaded, compiled = found
    assert loaded > 4
    assert compiled == 0


def test_no_sizes_no_search(ray_session):
    probabilities, targets = simulate(3, 20, 4)
    pairs = reduce_pairs(log_probabilities(probabilities), targets)
    (board,), outcome = search(pairs, [], [Objective((0,), 3)], console=quiet())
    assert len(board) == 0
    assert outcome.results == []
