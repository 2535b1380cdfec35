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
from tests.cli import SMALL, call, start
from tests.recordings import make_folder

RUN = "runs/specaug_mixup-recordings"


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("racing") / "recordings", clips=36, folds=3)


@pytest.fixture(scope="module")
def command(recordings):
    race = ["--data", recordings, "--num-samples", "6", "--search", "hyperopt", "--keep", "2", "--epochs", "4"]
    return [*race, *SMALL, "--set", "sampling.samples_per_epoch=24", "--cache-dir", recordings.parent / "cache"]


@pytest.fixture(scope="module")
def work(tmp_path_factory, command, ray_session):
    """A folder in which a race was run to its end."""
    work = tmp_path_factory.mktemp("work")
    code, output = call("launch.py", *command, cwd=work)
    assert code == 0, output
    return work


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


def check_finished(directory):
    """Experiments are complete or were dropped, and no fold was trained or counted twice."""
    decisions = explained(directory)
    dropped = {d["experiment"] for d in decisions if d["event"] == "drop"}
    assert dropped
    store = RunStore(str(directory / "runs"), "specaug_mixup-recordings")
    assert set(store.experiments()) - dropped == set(store.complete())
    assert len(store.complete()) >= 2
    folds = [(e["experiment"], e["fold"]) for e in events(directory) if e["event"] == "fold"]
    assert len(folds) == len(set(folds))
    assert len({e["index"] for e in events(directory) if e["event"] == "propose"}) == 6


def test_a_run_explains_its_decisions(work):
    check_finished(work)


@pytest.mark.long
def test_a_run_killed_twice_explains_its_decisions(tmp_path, work, command):
    """kill -9 of the driver after a random number of events, twice, then to the end."""
    rng = random.Random(0)
    for _ in range(2):
        before = len(events(tmp_path))
        process = start("launch.py", *command, cwd=tmp_path)
        try:
            wanted = before + rng.randint(3, 9)
            while len(events(tmp_path)) < wanted and process.poll() is None:
                time.sleep(rng.uniform(0.01, 0.1))
            assert process.poll() is None, process.communicate()[0]
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        explained(tmp_path)
    code, output = call("launch.py", *command, cwd=tmp_path)
    assert code == 0, output
    check_finished(tmp_path)


def test_a_larger_portfolio_takes_experiments_up_again_within_a_time_budget(work, command):
    code, output = call("launch.py", *command, "--keep", "6", "--time-budget", "1h", cwd=work)
    assert code == 0, output
    assert "One complete experiment (3 folds of 4 epochs) takes about" in output
    reopened = [d["experiment"] for d in explained(work) if d["event"] == "reopen"]
    assert reopened
    assert all(f"{e}: taken up again" in output for e in reopened)
    assert len(RunStore(str(work / "runs"), "specaug_mixup-recordings").complete()) == 6
    orders = [e["folds"] for e in events(work) if e["event"] == "race"]
    assert orders == [orders[0]] * len(orders)  # later launches keep the run's order of folds
