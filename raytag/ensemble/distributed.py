"""The ensemble search on Ray: the only module here that knows it."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import ray
from ray.exceptions import RayError, RayTaskError
from rich.console import Console

from raytag.console import Progress, duration, say
from raytag.ensemble.effort import make_shards, measure_speed
from raytag.ensemble.pairs import Pairs
from raytag.ensemble.subsets import Board, Objective, merge, search_trees
from raytag.ensemble.trees import Tree, count_subsets

R = TypeVar("R")

MAX_RETRIES = 3  # of a task whose worker was lost


@dataclass(frozen=True)
class Worker:
    """A process that ran tasks."""

    host: str
    pid: int
    tasks: int
    seconds: float


@dataclass(frozen=True)
class Outcome(Generic[R]):
    """What tasks returned, in the order in which they were given, and where they ran."""

    results: list[R]
    workers: list[Worker]
    seconds: float


@ray.remote(num_cpus=1, max_retries=MAX_RETRIES)
def _run_task(function: Callable[[Any, Any], Any], shared: Any, item: Any) -> tuple[Any, str, int, float]:
    started = time.perf_counter()
    result = function(shared, item)
    return result, socket.gethostname(), os.getpid(), time.perf_counter() - started


def count_cpus() -> int:
    """CPUs of the cluster, at least one."""
    return max(1, int(ray.cluster_resources().get("CPU", 1)))


def run_tasks(
    function: Callable[[Any, Any], R],
    shared: Any,
    items: Sequence[Any],
    *,
    label: str,
    weights: Sequence[float],
    console: Console,
    workers: int | None = None,
) -> Outcome[R]:
    """Run ``function(shared, item)`` for each item as Ray tasks of one CPU.

    Parameters
    ----------
    function : callable
        Importable by the workers.
    shared : object
        Put into the object store once; numpy arrays in it are read without a copy, and are read-only.
    items : sequence
    label, weights, console
        For the progress display.
    workers : int, optional
        At most so many tasks at a time; by default as many as the cluster takes.

    Raises
    ------
    RuntimeError
        A task lost its worker more than MAX_RETRIES times. An error of the task itself is raised as it is.
    """
    started = time.perf_counter()
    reference = ray.put(shared)
    waiting = list(range(len(items)))[::-1]
    running: dict[Any, int] = {}
    done: dict[int, tuple[R, str, int, float]] = {}
    try:
        with Progress(console, label, sum(weights)) as progress:
            while waiting or running:
                while waiting and (workers is None or len(running) < workers):
                    index = waiting.pop()
                    running[_run_task.remote(function, reference, items[index])] = index
                for ready in ray.wait(list(running), num_returns=1)[0]:
                    index = running.pop(ready)
                    done[index] = ray.get(ready)
                    progress.advance(weights[index])
    except RayTaskError as error:
        raise error.cause from None
    except RayError as error:
        raise RuntimeError(
            f"{label}: a task lost its worker {MAX_RETRIES + 1} times (out of memory?): {error}"
        ) from None
    finally:
        for leftover in running:
            ray.cancel(leftover, force=True)
    return Outcome(
        results=[done[i][0] for i in range(len(items))],
        workers=_workers(list(done.values())),
        seconds=time.perf_counter() - started,
    )


def _workers(done: Sequence[tuple[Any, str, int, float]]) -> list[Worker]:
    spent: dict[tuple[str, int], list[float]] = {}
    for _, host, pid, seconds in done:
        spent.setdefault((host, pid), []).append(seconds)
    return [Worker(host, pid, len(times), round(sum(times), 3)) for (host, pid), times in sorted(spent.items())]


def search(
    pairs: Pairs,
    sizes: Sequence[int],
    objectives: Sequence[Objective],
    *,
    console: Console,
    workers: int | None = None,
) -> tuple[list[Board], Outcome[list[Board]]]:
    """`raytag.ensemble.subsets.search_trees` over all subsets of some sizes, spread over the cluster.

    The boards are those of a single process, to the last bit.
    """
    slots = workers or count_cpus()
    speed = measure_speed(pairs, sizes)
    shards = make_shards(pairs.n_models, sizes, speed, slots)
    costs = [speed.seconds(shard) for shard in shards]
    if sum(costs) > 10:
        say(console, f"About {duration(sum(costs) / slots)} on {slots} cores, in {len(shards)} shards")
    outcome = run_tasks(
        _search_shard,
        (pairs, tuple(objectives)),
        shards,
        label=f"subset search ({count_subsets(pairs.n_models, sizes):,} subsets)",
        weights=costs,
        console=console,
        workers=workers,
    )
    return merge(outcome.results), outcome


def _search_shard(shared: tuple[Pairs, tuple[Objective, ...]], trees: list[Tree]) -> list[Board]:
    pairs, objectives = shared
    return search_trees(pairs, trees, objectives)
