"""Advice about failed experiments: only what changes the outcome."""

from __future__ import annotations

import errno
from types import SimpleNamespace

import pytest

from raytag.experiment import Experiment
from raytag.search.failures import advice, cause

COMMAND = "python launch.py --data x"


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("fold 0: FloatingPointError: a-1 fold 0 diverged in epoch 3", "diverged"),
        ("fold 1: its worker died too often (out of memory?)", "memory"),
        ("fold 1: OutOfMemoryError: CUDA out of memory. Tried to allocate", "memory"),
        ("fold 0: RuntimeError: [enforce fail] DefaultCPUAllocator: can't allocate memory", "memory"),
        ("fold 0: OSError: [Errno 28] No space left on device", "files"),
        ("fold 0: FileNotFoundError: gone", "files"),
        ("fold 0: ValueError: fold 0 has 0 training clips", "other"),
        ("no colon", "other"),
    ],
)
def test_causes(reason, expected):
    assert cause(reason) == expected


def said(reason: str, number: int = 1, **changes) -> str:
    failed = {f"e{i}": reason for i in range(number)}
    experiments = {name: Experiment().replace({"optimizer.lr": 0.004 + i / 1000}) for i, name in enumerate(failed)}
    given = {"cpus": 1.0, "gpus": 0.0, "slots": 2, "traces": "runs/x/events"} | changes
    (words,) = advice(failed, experiments, COMMAND, **given)
    return words


def test_a_diverged_training_is_not_tried_again():
    words = said("fold 0: FloatingPointError: diverged", 2)
    assert words.startswith("2 experiments diverged and would diverge again")
    assert "--set optimizer.lr=0.002" in words
    assert COMMAND not in words


def test_a_lost_worker_is_tried_again_with_more_room():
    reason = "fold 0: its worker died too often (out of memory?)"
    assert f"{COMMAND} --cpus-per-trial 2;" in said(reason)
    assert f"{COMMAND} --gpus-per-trial 1;" in said(reason, gpus=0.5)
    alone = said(reason, slots=1)  # it had the machine to itself
    assert COMMAND not in alone
    assert "--set training.batch_size" in alone


def test_other_causes():
    assert said("fold 0: OSError: No space left on device").endswith(f"try them again: {COMMAND}")
    words = said("fold 0: ValueError: something")
    assert "runs/x/events" in words
    assert COMMAND not in words
    both = {"e0": "fold 0: ValueError: x", "e1": "fold 0: ZeroDivisionError: y"}
    assert len(advice(both, {"e1": Experiment()}, COMMAND, 1.0, 0.0, 2, "events")) == 2
    assert advice({}, {}, COMMAND, 1.0, 0.0, 2, "events") == []


def test_a_full_disk_is_reported_as_what_it_is(monkeypatch):
    pytest.importorskip("torch")
    from raytag.search import trial

    def fail(runs_dir, run):
        raise OSError(errno.ENOSPC, "No space left on device")

    told = []
    monkeypatch.setattr(trial, "warm_up", lambda: None)
    monkeypatch.setattr(trial, "RunStore", fail)
    monkeypatch.setattr(trial.tune, "report", told.append)
    shared = SimpleNamespace(gpus=0.0, runs_dir="runs", run="mine")
    trial.run_trial({"experiment": Experiment().to_json(), "fold": 1}, shared)
    (words,) = told
    assert words["state"] == "failed"
    assert "No space left on device" in words["reason"]
    assert cause(f"fold 1: {words['reason']}") == "files"
