"""Racing through the command line: kills, changed rules and time budgets leave a log that explains itself."""

from __future__ import annotations

import random
import signal
import time

import pytest

from raytag.events import read_events
from raytag.search.replay import check
from raytag.storage import Storage
from raytag.store import RunStore
from tests.cli import SMALL, run, start
from tests.recordings import make_folder

RACE = ["--data", "recordings", "--epochs", "4", *SMALL, "--set", "sampling.samples_per_epoch=24"]
RUN = "runs/specaug_mixup-recordings"


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    directory = tmp_path_factory.mktemp("racing")
    make_folder(directory / "recordings", clips=36, folds=3)
    return directory


def events(directory):
    return read_events(Storage(str(directory / RUN))) if (directory / RUN / "events").exists() else []


def explained(directory):
    """The decisions in the log, all of which follow from the facts before them."""
    log = events(directory)
    keys = {e["key"] for e in log if e["event"] == "race"}
    assert len(keys) == 1
    decisions, wrong = check(log, keys.pop())
    assert wrong == []
    return decisions


def test_a_run_killed_three_times_explains_its_decisions(work):
    """kill -9 of the driver after a random number of events, three times, then to the end."""
    command = [*RACE, "--num-samples", "8", "--search", "hyperopt"]
    rng = random.Random(0)
    for _ in range(3):
        before = len(events(work))
        process = start("launch.py", *command, cwd=work)
        try:
            wanted = before + rng.randint(4, 14)
            while len(events(work)) < wanted and process.poll() is None:
                time.sleep(rng.uniform(0.01, 0.1))
            assert process.poll() is None, process.communicate()[0]
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        explained(work)
    code, output = run("launch.py", *command, cwd=work)
    assert code == 0, output
    decisions = explained(work)
    dropped = {d["experiment"] for d in decisions if d["event"] == "drop"}
    assert dropped
    store = RunStore(str(work / "runs"), "specaug_mixup-recordings")
    assert set(store.experiments()) - dropped == set(store.complete())
    assert len(store.complete()) >= 3
    folds = [(e["experiment"], e["fold"]) for e in events(work) if e["event"] == "fold"]
    assert len(folds) == len(set(folds))  # no fold was trained or counted twice
    assert len({e["index"] for e in events(work) if e["event"] == "propose"}) == 8


def test_a_larger_portfolio_takes_experiments_up_again(work):
    code, output = run("launch.py", *RACE, "--num-samples", "8", "--search", "hyperopt", "--keep", "8", cwd=work)
    assert code == 0, output
    reopened = [d["experiment"] for d in explained(work) if d["event"] == "reopen"]
    assert reopened
    assert all(f"{e}: taken up again" in output for e in reopened)
    assert len(RunStore(str(work / "runs"), "specaug_mixup-recordings").complete()) == 8


def test_a_time_budget_says_what_it_means_and_draws_as_many_as_fit(tmp_path):
    make_folder(tmp_path / "recordings", clips=36, folds=3)
    code, output = run("launch.py", *RACE, "--time-budget", "1s", "--fold-order", "2,0,1", cwd=tmp_path)
    assert code == 0, output
    assert "One is trained all the same" in output
    assert "fold order 2, 0, 1" in output
    store = RunStore(str(tmp_path / "runs"), "specaug_mixup-recordings")
    assert len(store.experiments()) == len(store.complete()) == 1
    assert [e["folds"] for e in events(tmp_path) if e["event"] == "race"] == [[2, 0, 1]]
