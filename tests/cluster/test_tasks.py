"""Work on the cluster: lost workers cost their piece only, errors are raised, nothing is left running.

Tasks are defined within the tests: Ray then sends them by value, and its workers need not find this module.
"""

from __future__ import annotations

import io
import os
import signal
import tempfile
import threading
import time

import psutil
import pytest
import ray
from rich.console import Console

from raytag.cluster import tasks
from raytag.cluster.tasks import keep_workers, run_tasks


def quiet():
    return Console(file=io.StringIO())


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
    assert outcome.repeated == (3,)
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
    assert [w.tasks for w in outcome.workers] == [4]
    assert outcome.repeated == ()


def free_cpus(wanted):
    patience = time.monotonic() + 30
    while ray.available_resources().get("CPU", 0) != wanted and time.monotonic() < patience:
        time.sleep(0.05)
    return ray.available_resources().get("CPU", 0)


def test_an_interruption_leaves_nothing_running(ray_session, tmp_path):
    def sleep(folder, item):
        open(f"{folder}/{os.getpid()}", "w").close()
        time.sleep(100)

    def interrupt():
        while not os.listdir(tmp_path):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    # a process that runs tests beside another one ignores the signal
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        threading.Thread(target=interrupt, daemon=True).start()
        with pytest.raises(KeyboardInterrupt):
            run_tasks(sleep, str(tmp_path), [1, 2], label="naps", weights=[1.0] * 2, console=quiet())
    finally:
        signal.signal(signal.SIGINT, before)
    assert free_cpus(2) == 2
    patience = time.monotonic() + 30
    while any(psutil.pid_exists(int(pid)) for pid in os.listdir(tmp_path)) and time.monotonic() < patience:
        time.sleep(0.05)
    assert not any(psutil.pid_exists(int(pid)) for pid in os.listdir(tmp_path))


def test_workers_stay_for_the_next_job_while_they_are_kept(ray_session):
    """A job of one item needs one of them; after an error none is kept; at the end all CPUs are free again."""

    def meet(folder, item):
        open(f"{folder}/{os.getpid()}", "w").close()
        patience = time.monotonic() + 60
        while len(os.listdir(folder)) < 2 and time.monotonic() < patience:
            time.sleep(0.01)
        return os.getpid()

    def add(shared, item):
        if item < 0:
            raise ValueError("too small")
        return shared + item

    def run(function, shared, items):
        return run_tasks(function, shared, items, label="kept", weights=[1.0] * len(items), console=quiet())

    with tempfile.TemporaryDirectory() as folder, keep_workers():
        first = run(meet, folder, [1, 2, 3]).results
        assert len(set(first)) == 2
        assert free_cpus(0) == 0
        second = run(add, 10, [1, 2, 3, 4])
        assert second.results == [11, 12, 13, 14]
        assert {w.pid for w in second.workers} <= set(first)
        os.kill(first[0], signal.SIGKILL)  # a kept one that dies costs nothing
        assert run(add, 20, [1, 2, 3, 4]).results == [21, 22, 23, 24]
        with pytest.raises(ValueError, match="too small"):
            run(add, 0, [1, -1])
    assert free_cpus(2) == 2


def test_what_waits_for_cpus_is_said_and_goes_on_when_there_are_some(ray_session, monkeypatch):
    class Blocker:
        def begin(self):
            return True

    monkeypatch.setattr(tasks, "SILENCE", 0.3)
    blocker = ray.remote(num_cpus=2)(Blocker).remote()
    assert ray.get(blocker.begin.remote())
    output = io.StringIO()
    threading.Timer(1.5, ray.kill, [blocker]).start()
    outcome = run_tasks(
        lambda shared, item: item, None, [5], label="squares", weights=[1.0], console=Console(file=output)
    )
    assert outcome.results == [5]
    assert "squares: no worker for 0 s; 1 wait for a CPU each, of the cluster's 2 CPUs 0 are free" in (
        " ".join(output.getvalue().split())
    )


def test_more_workers_than_cpus_do_not_wait_for_each_other(ray_session):
    outcome = run_tasks(
        lambda shared, item: -item, None, [1, 2, 3], label="signs", weights=[1.0] * 3, console=quiet(), workers=3
    )
    assert outcome.results == [-1, -2, -3]
