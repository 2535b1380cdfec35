"""Racing through the command line: kills, changed rules and time budgets leave a log that explains itself."""

from __future__ import annotations

import random
import signal
import time

import pytest

from raytag.search.race.replay import check
from raytag.store.events import read_events
from raytag.store.files import Storage
from raytag.store.run import RunStore
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
            wanted = before + rng.randint(3, 9)
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


def test_a_larger_portfolio_takes_experiments_up_again_within_a_time_budget(work):
    more = ["--num-samples", "8", "--search", "hyperopt", "--keep", "8", "--time-budget", "1h"]
    code, output = run("launch.py", *RACE, *more, cwd=work)
    assert code == 0, output
    assert "One complete experiment (3 folds of 4 epochs) takes about" in output
    reopened = [d["experiment"] for d in explained(work) if d["event"] == "reopen"]
    assert reopened
    assert all(f"{e}: taken up again" in output for e in reopened)
    assert len(RunStore(str(work / "runs"), "specaug_mixup-recordings").complete()) == 8
    orders = [e["folds"] for e in events(work) if e["event"] == "race"]
    assert orders == [orders[0]] * len(orders)  # later launches keep the run's order of folds
