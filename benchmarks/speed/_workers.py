"""Processes that work whenever they are told to, for candidates that cannot share a process."""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from _timing import Row


def timed(workers: Mapping[str, Worker], rounds: int) -> None:
    """Rounds of all workers, in an order that rotates; a first one is not counted."""
    names = list(workers)
    for i in range(rounds + 1):
        shift = i % len(names)
        for name in names[shift:] + names[:shift]:
            workers[name].round(keep=i > 0)
    for worker in workers.values():
        worker.stop()


class Worker:
    """A process that runs ``serve`` and does a round of its work at a time.

    Parameters
    ----------
    arguments
        Of the interpreter: a script and what it is told.
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_TUNABLES"))}
        self.process = subprocess.Popen(
            [sys.executable, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.wall: list[float] = []
        self.cpu: list[float] = []
        self.faults: list[float] = []
        self.per = 1.0
        self.first: Any = None

    def round(self, *, keep: bool) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("round\n")
        self.process.stdin.flush()
        reply = self.process.stdout.readline()
        if not reply:
            raise SystemExit("a worker process ended; its message is above")
        wall, cpu, faults, self.per, first = json.loads(reply)
        if keep:
            self.wall.append(wall)
            self.cpu.append(cpu)
            self.faults.append(faults)
        else:
            self.first = first

    def stop(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()

    def row(self, name: str, unit: str, baseline: Worker) -> Row:
        def ratio(theirs: list[float], ours: list[float]) -> float:
            share = self.per / baseline.per
            return share * statistics.median(a / b for a, b in zip(theirs, ours, strict=True))

        return Row(
            name=name,
            unit=unit,
            per=self.per,
            rounds=len(self.wall),
            wall=statistics.median(self.wall),
            wall_range=(min(self.wall), max(self.wall)),
            cpu=statistics.median(self.cpu),
            cpu_range=(min(self.cpu), max(self.cpu)),
            wall_ratio=ratio(baseline.wall, self.wall),
            cpu_ratio=ratio(baseline.cpu, self.cpu),
        )


def serve(work: Callable[[], tuple[float, Any]], warm_up: int = 1) -> None:
    """Do ``work`` for every line read and answer how long it took.

    Parameters
    ----------
    work
        Returns how many units it has done, and something to tell, as JSON: that of the very first time is kept.
    warm_up
        How often it is done before the first round.
    """
    first, *_ = [work()[1] for _ in range(warm_up)]
    for _ in sys.stdin:
        before, started = _spent(), time.perf_counter()
        units, _ = work()
        seconds = time.perf_counter() - started
        cpu, faults = (now - then for now, then in zip(_spent(), before, strict=True))
        print(json.dumps([seconds, cpu, faults, units, first]), flush=True)


def _spent() -> tuple[float, int]:
    """CPU seconds of this process and of the children that it has waited for, and its page faults."""
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime, own.ru_minflt
