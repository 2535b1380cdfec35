"""Advice about failed experiments: only what changes the outcome."""

from __future__ import annotations

import errno
from types import SimpleNamespace

import pytest

from raytag import plugins
from raytag.experiment import Experiment, Loss
from raytag.search.failures import advice, cause, why_lost

COMMAND = "python launch.py --data x"
#: What Ray says of a worker that was killed, and of one that its own watch over memory killed.
KILLED = """The actor died unexpectedly before finishing this task. Worker exit type: SYSTEM_ERROR. Worker exit
detail: Worker unexpectedly exits with a connection error code 2. End of file. There are some potential root causes.
(1) The process is killed by SIGKILL by OOM killer due to high memory usage. (2) ray stop --force is called."""
SHORT = "Task was killed due to the node running low on memory. Memory on the node was 15.28GB / 16.00GB (0.95)"


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("fold 0: FloatingPointError: a-1 fold 0 diverged in epoch 3", "diverged"),
        (f"fold 1: {why_lost(KILLED, 4)}", "lost"),
        (f"fold 1: {why_lost(SHORT, 4)}", "memory"),
        ("fold 1: MemoryError: ", "memory"),
        ("fold 1: OutOfMemoryError: CUDA out of memory. Tried to allocate", "memory"),
        ("fold 0: RuntimeError: [enforce fail] DefaultCPUAllocator: can't allocate memory", "memory"),
        ("fold 0: OSError: [Errno 28] No space left on device", "files"),
        ("fold 0: FileNotFoundError: gone", "files"),
        ("fold 0: ValueError: fold 0 has 0 training clips", "other"),
        ("fold 0: SafetensorError: Error while deserializing header", "other"),
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
    reason = f"fold 0: {why_lost(KILLED, 4)}"
    assert "Was memory short?" in said(reason)
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


SHARED = SimpleNamespace(gpus=0.0, runs_dir="runs", run="mine", trusted=())


class Unheard(Exception):
    """As safetensors' errors: of no kind that Python has."""


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "files"),
        (Unheard("Error while deserializing header: checkpoint.safetensors"), "other"),
        (KeyError("tensors"), "other"),
        (MemoryError("8 GiB"), "memory"),
        (TypeError("unhashable"), "other"),
        (ConnectionError("s3://me:secret@bucket/runs: no answer"), "files"),
    ],
)
def test_an_error_of_a_trial_is_reported_as_what_it_is(monkeypatch, error, kind):
    """And once: were it not caught, Tune would start the trial again, and say that its worker died."""
    pytest.importorskip("torch")
    from raytag.search import trial

    told = []

    def fail(runs_dir, run):
        raise error

    monkeypatch.setattr(trial, "warm_up", lambda: None)
    monkeypatch.setattr(trial, "RunStore", fail)
    monkeypatch.setattr(trial.tune, "report", told.append)
    trial.run_trial({"experiment": Experiment().id, "fold": 1, "blind": []}, SHARED)
    (words,) = told
    assert words["state"] == "failed"
    assert words["reason"].startswith(f"{type(error).__name__}: ")
    assert str(error).replace("me:secret", "***") in words["reason"]
    assert "Traceback" in words["trace"]
    assert "me:secret" not in str(words)
    assert cause(f"fold 1: {words['reason']}") == kind


TIRED = """
from raytag.losses.bce import BCE

class Tired(BCE):
    def build(self, num_classes):
        return 1 / 0
"""


def test_an_error_in_a_users_own_code_is_reported_with_its_line(monkeypatch, tmp_path):
    pytest.importorskip("torch")
    from raytag.search import trial

    told = []
    (tmp_path / "tired.py").write_text(TIRED)
    loss = Loss(f"Tired@{plugins.load(tmp_path / 'tired.py').hash}")
    monkeypatch.setattr(trial, "warm_up", lambda: None)
    monkeypatch.setattr(trial, "RunStore", lambda *where: loss.build(3))
    monkeypatch.setattr(trial.tune, "report", told.append)
    trial.run_trial({"experiment": Experiment().id, "fold": 1, "blind": []}, SHARED)
    assert told[0]["reason"] == f"ZeroDivisionError: division by zero ({tmp_path}/tired.py:6)"
