"""Work in pieces, spread over the cluster.

A pool of actors of one CPU each pulls the items of a job: whoever is idle gets the next one. An actor receives what
all items share once, and reads it in shared memory. Actors for which the cluster has no CPU wait, and hold up
nobody; a long job asks for more of them than there are CPUs, so that CPUs that join the cluster get work at once,
and an autoscaler sees that there is some. The item of a lost actor is given to another one.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import ray
from ray.exceptions import RayError, RayTaskError
from rich.console import Console

from raytag.cluster.resources import count_cpus
from raytag.console import ProgressBar, say

R = TypeVar("R")

MAX_RETRIES = 3  # of an item whose worker was lost
SILENCE = 60.0  # s without a single live worker, after which the console says what is waited for
LOOK = 1.0  # s between looks at the cluster while nothing happens


@dataclass(frozen=True)
class Worker:
    """A process that ran items."""

    host: str
    pid: int
    tasks: int
    seconds: float


@dataclass(frozen=True)
class TaskResults(Generic[R]):
    """What a function returned for items, in the order in which they were given, and where it ran.

    ``repeated`` holds the numbers of the items that ran again, once for each time that they lost their worker.
    """

    results: list[R]
    workers: list[Worker]
    seconds: float
    repeated: tuple[int, ...] = ()


class Runner:
    """Takes a job, then runs items of it. Ray's dashboard shows what repr says."""

    def __repr__(self) -> str:
        return "raytag tasks"

    def begin(self, job: tuple[Callable[[Any, Any], Any], Any, Callable[[], None] | None]) -> None:
        self.function, self.shared, prepare = job
        if prepare is not None:
            prepare()

    def run(self, item: Any) -> tuple[Any, str, int, float]:
        started = time.perf_counter()
        result = self.function(self.shared, item)
        return result, socket.gethostname(), os.getpid(), time.perf_counter() - started


# not restarted by Ray: the pool does that, so that an item is never run by two generations of an actor
_Actor: Any = ray.remote(num_cpus=1, max_restarts=0, max_task_retries=0)(Runner)

#: Live actors without work, while `keep_workers` is in force.
_kept: list[Any] | None = None


@contextmanager
def keep_workers() -> Iterator[None]:
    """Within it, the processes of one `run_tasks` are those of the next, which saves starting them.

    They hold on to their CPUs until the end, and to what the last job shared.
    """
    global _kept
    if _kept is not None:
        yield
        return
    _kept = []
    try:
        yield
    finally:
        actors, _kept = _kept, None
        _stop(actors)


def _stop(actors: Iterable[Any]) -> None:
    for actor in actors:
        with suppress(Exception):  # it may be gone already, and so may Ray
            ray.kill(actor, no_restart=True)


def run_tasks(
    function: Callable[[Any, Any], R],
    shared: Any,
    items: Sequence[Any],
    *,
    label: str,
    weights: Sequence[float],
    console: Console,
    workers: int | None = None,
    prepare: Callable[[], None] | None = None,
) -> TaskResults[R]:
    """Run ``function(shared, item)`` for each item in worker processes of one CPU each.

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
        At most so many processes; by default one for each CPU of the cluster, later ones included.
    prepare : callable, optional
        Called once in each process before its first item, such as `raytag.blends.warmup.warm_up`.

    Raises
    ------
    RuntimeError
        An item lost its worker more than MAX_RETRIES times, or no worker survives its start. An error of the
        function itself is raised as it is.
    """
    started = time.perf_counter()
    pool = _Pool(ray.put((function, shared, prepare)), label, console, workers, len(items))
    waiting = list(range(len(items)))[::-1]
    repeated: list[int] = []
    done: dict[int, tuple[R, str, int, float]] = {}
    finished = False
    try:
        with ProgressBar(console, label, sum(weights)) as progress:
            while len(done) < len(items):
                while waiting and pool.idle:
                    index = waiting.pop()
                    pool.give(index, items[index])
                pool.grow(len(items) - len(done))
                for index, result in pool.finished():
                    if isinstance(result, RayError):
                        repeated.append(index)
                        if repeated.count(index) > MAX_RETRIES:
                            times = f"{MAX_RETRIES + 1} times"  # Ray's error says more
                            raise RuntimeError(f"{label}: a task lost its worker {times}: {result}")
                        say(console, f"{label}: a worker was lost; part {index + 1} of {len(items)} runs again")
                        waiting.append(index)
                    else:
                        done[index] = result
                        progress.advance(weights[index])
        finished = True
    except RayTaskError as error:
        raise error.cause from None
    finally:
        pool.close(keep=finished)
    return TaskResults(
        results=[done[i][0] for i in range(len(items))],
        workers=_workers(list(done.values())),
        seconds=time.perf_counter() - started,
        repeated=tuple(repeated),
    )


class _Pool:
    """The actors of one job: starting (perhaps waiting for a CPU), idle, or busy with an item."""

    def __init__(self, job: Any, label: str, console: Console, most: int | None, n_items: int) -> None:
        self.job, self.label, self.console, self.most = job, label, console, most
        self.idle: list[Any] = []
        self.starting: dict[Any, Any] = {}  # what an actor promises: the actor
        self.busy: dict[Any, tuple[Any, int]] = {}  # what it promises: the actor, and the number of its item
        self.cpus = count_cpus()
        self.lost_starts = 0  # in a row
        self.seen = time.monotonic()  # when an actor was last known to live
        self.old: list[Any] = []  # from an earlier job
        self.begun: list[Any] = []  # all of them: whenever an interruption comes, none is forgotten
        while _kept and len(self.old) < min(n_items, most or n_items):
            self.old.append(_kept.pop())
            self._begin(self.old[-1])

    def _begin(self, actor: Any) -> None:
        self.begun.append(actor)
        self.starting[actor.begin.remote(self.job)] = actor

    def grow(self, items_left: int) -> None:
        """Ask for actors: as many as there are CPUs, then as many again as live, for CPUs that may join."""
        live = len(self.idle) + len(self.busy)
        wanted = min(max(self.cpus, 2 * live), items_left, self.most or items_left)
        for _ in range(wanted - live - len(self.starting)):
            self._begin(_Actor.remote())

    def give(self, index: int, item: Any) -> None:
        """Let an idle actor run an item."""
        actor = self.idle.pop()
        self.busy[actor.run.remote(item)] = actor, index

    def finished(self) -> Iterator[tuple[int, Any]]:
        """Wait a while; numbers of items with their results, or with the error that lost them."""
        promises = [*self.busy, *self.starting]
        # all that are there, but no longer than until the first is
        ready = ray.wait(promises, num_returns=1, timeout=min(LOOK, SILENCE))[0]
        if ready and len(promises) > 1:
            ready = ray.wait(promises, num_returns=len(promises), timeout=0)[0]
        for promise in ready:
            if promise in self.starting:
                self._started(promise)
                continue
            actor, index = self.busy.pop(promise)
            try:
                result = ray.get(promise)
            except RayTaskError:
                _stop([actor])
                raise
            except RayError as error:
                _stop([actor])
                result = error
            else:
                self.idle.append(actor)
            yield index, result
        self._look()

    def _started(self, promise: Any) -> None:
        actor = self.starting.pop(promise)
        try:
            ray.get(promise)
        except RayTaskError:
            _stop([actor])
            raise
        except RayError as error:
            _stop([actor])
            self.lost_starts += 1
            if self.lost_starts > MAX_RETRIES * max(self.cpus, 1):
                raise RuntimeError(
                    f"{self.label}: {self.lost_starts} workers in a row were lost while they started: {error}"
                ) from None
        else:
            self.lost_starts = 0
            self.idle.append(actor)

    def _look(self) -> None:
        """Say what is waited for when no actor has lived for a while."""
        now = time.monotonic()
        if self.idle or self.busy:
            self.seen = now
        elif now - self.seen >= SILENCE:
            self.seen = now
            there, free = ray.cluster_resources().get("CPU", 0), ray.available_resources().get("CPU", 0)
            say(
                self.console,
                f"{self.label}: no worker for {SILENCE:.0f} s; {len(self.starting)} wait for a CPU each, "
                f"of the cluster's {there:g} CPUs {free:g} are free",
            )

    def close(self, *, keep: bool) -> None:
        """Stop the actors, those first that only wait; ``keep``: leave those that live to `keep_workers`."""
        kept: list[Any] = []
        if keep and _kept is not None:
            kept = [*self.idle, *(actor for actor in self.starting.values() if actor in self.old)]
            _kept.extend(kept)
        for actors in (self.starting.values(), self.begun):  # to stop one twice does no harm
            _stop(actor for actor in actors if actor not in kept)


def _workers(done: Sequence[tuple[Any, str, int, float]]) -> list[Worker]:
    spent: dict[tuple[str, int], list[float]] = {}
    for _, host, pid, seconds in done:
        spent.setdefault((host, pid), []).append(seconds)
    return [Worker(host, pid, len(times), round(sum(times), 3)) for (host, pid), times in sorted(spent.items())]
