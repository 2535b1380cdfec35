"""Commands that are told to end at any moment, by any signal: the last word, the exit code, nothing left over."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import psutil
import pytest

from tests.cli import REPOSITORY, SMALL, environment, run
from tests.ensemble.fakes import make_store
from tests.recordings import make_folder

pytestmark = pytest.mark.long

SIGNALS = [pytest.param(n, id=n.name) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
LAUNCH = ["launch.py", "--data", "recordings", "--num-samples", "1", "--stopping", "none", *SMALL, "--seed", "3"]
LAUNCH += [
    "--checkpoint-seconds",
    "0",
    "--set",
    "sampling.samples_per_epoch=24",
    "--epochs",
    "5",
    "--cpus-per-trial",
    "2",
]


def wait_for(condition: Callable[[], object], what: str, seconds: float = 240) -> None:
    patience = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < patience, f"waited in vain for {what}"
        time.sleep(0.005)


class Command:
    """A command in a process group of its own, as a terminal starts it, and what it has said so far."""

    def __init__(self, arguments: list[str], cwd: Path) -> None:
        script, *rest = arguments
        self.cwd, self.output, self.began = cwd, "", time.time()
        self.process = subprocess.Popen(
            [sys.executable, str(REPOSITORY / script), *rest],
            cwd=cwd,
            env=environment() | {"PYTHONPATH": str(REPOSITORY)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        for line in self.process.stdout:
            self.output += line

    def wait_for(self, moment: str | Callable[[Command], bool]) -> None:
        def there() -> bool:
            found = bool(moment(self) if callable(moment) else re.search(moment, self.output))
            assert found or self.process.poll() is None, f"it ended before {moment!r}:\n{self.output}"
            return found

        wait_for(there, f"{moment!r}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)  # where the test went wrong
        self.process.wait()

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self, *numbers: int) -> int:
        """Send signals to the whole group, as a terminal does; the exit code, once nothing is left of it."""
        children = self.children()
        for number in numbers:
            # Ray's own processes end of SIGTERM: it comes from those who know one number only
            (os.kill if number == signal.SIGTERM else os.killpg)(self.process.pid, number)
            time.sleep(0.2 if len(numbers) > 1 else 0.0)
        code = self.process.wait(timeout=60)
        self.reader.join()
        gone, left = psutil.wait_procs(children, timeout=15)
        assert not left, f"{left} of {len(gone) + len(left)} still run"
        assert "Traceback" not in self.output, self.output
        assert "*** SIG" not in self.output, self.output
        return code


def listens(command: Command) -> bool:
    """Its handlers are in place, which is the first thing that a command does."""
    status = Path(f"/proc/{command.process.pid}/status").read_text()
    caught = int(re.search(r"SigCgt:\s*(\w+)", status)[1], 16)
    return all(caught >> number - 1 & 1 for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))


def checkpoints(folder: Path) -> list[Path]:
    return list(folder.glob("runs/*/experiments/*/fold_*/checkpoint-?.json"))


def trains(command: Command) -> bool:
    """It has written a checkpoint of its own."""
    return any(state.stat().st_mtime > command.began for state in checkpoints(command.cwd))


def finished(command: Command) -> int:
    return len(list(command.cwd.glob("runs/*/experiments/*/fold_*/result.json")))


MOMENTS = {
    "importing": listens,
    "Ray starts": "clips",
    "features": r"features: .* to compute",
    "the bank": r"features: .* cached, 0 to compute|clips computed",
    "the plan": "Run recordings",
    "a worker starts": r"fold \d: started",
    "training": trains,
    # the fold may be an earlier launch's: a signal while Python itself starts can be lost
    "between folds": lambda command: finished(command) == 1 and listens(command),
}


@pytest.mark.parametrize("number", SIGNALS)
def test_a_launch_ends_in_order_at_any_moment_and_goes_on(tmp_path, number):
    make_folder(tmp_path / "recordings")
    arguments = [*LAUNCH, "--run", "recordings"]
    some = MOMENTS if number == signal.SIGINT else {name: MOMENTS[name] for name in ("features", "training")}
    for name, moment in some.items():
        with Command(arguments, tmp_path) as command:
            command.wait_for(moment)
            code = command.end(number)
        assert code == 128 + number, f"{name}: {code}\n{command.output}"
        last = command.output.strip().splitlines()[-1]
        assert re.search(r"(kept; c|Kept: .*C)ontinue with: python \S*launch\.py --data recordings", last), last
        assert not list(tmp_path.glob("runs/*/lease.json")), name
        assert not list(tmp_path.glob("runs/*/stop-*")), name
        if name == "training":
            assert "running trials write their checkpoints" in command.output
    code, output = run(*arguments, cwd=tmp_path)
    assert code == 0, output
    assert finished(command) == 2


@pytest.mark.parametrize("numbers", [(signal.SIGINT, signal.SIGINT), (signal.SIGTERM, signal.SIGINT)])
@pytest.mark.parametrize("moment", ["Ray starts", "training"])
def test_a_second_signal_ends_a_launch_at_once(tmp_path, numbers, moment):
    make_folder(tmp_path / "recordings")
    with Command([*LAUNCH, "--epochs", "4000", "--run", "recordings"], tmp_path) as command:
        command.wait_for(MOMENTS[moment])
        began = time.monotonic()
        assert command.end(*numbers) == 128 + numbers[0], command.output
    assert time.monotonic() - began < 20


def test_a_terminal_that_is_closed_leaves_checkpoints(tmp_path):
    """The kernel sends SIGHUP to the whole foreground, Ray's processes among them; writing fails from then on."""
    make_folder(tmp_path / "recordings")
    arguments = [*LAUNCH, "--epochs", "4000", "--run", "recordings"]
    pid, terminal = os.forkpty()
    if pid == 0:
        os.chdir(tmp_path)
        os.execve(
            sys.executable, [sys.executable, str(REPOSITORY / arguments[0]), *arguments[1:]], dict(environment())
        )
    drain = threading.Thread(target=lambda: [None for _ in iter(lambda: _read(terminal), b"")], daemon=True)
    drain.start()
    try:
        wait_for(lambda: checkpoints(tmp_path) or _ended(pid), "a checkpoint")
        assert not _ended(pid)
        children = psutil.Process(pid).children(recursive=True)
        before = max(state.stat().st_mtime_ns for state in checkpoints(tmp_path))
        os.close(terminal)
        wait_for(lambda: _ended(pid), "its end")
    finally:
        os.kill(pid, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status == 129
    assert not psutil.wait_procs(children, timeout=15)[1]
    assert max(state.stat().st_mtime_ns for state in checkpoints(tmp_path)) > before
    assert not list(tmp_path.glob("runs/*/lease.json"))
    log = "".join(path.read_text() for path in sorted(tmp_path.glob("runs/*/events/*")))
    assert '"event": "interrupt"' in log
    assert '"interrupted": true' in log
    assert "lost_worker" not in log


def _ended(pid: int) -> bool:
    return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""


def searches(command: Command) -> bool:
    return any("raytag" in " ".join(child.cmdline()) for child in command.children() if child.is_running())


@pytest.mark.parametrize("number", SIGNALS)
def test_an_ensemble_search_ends_in_order_at_any_moment(tmp_path, number):
    make_store(tmp_path, n_models=12, n_clips=400)
    arguments = ["ensemble_search.py", "--size", "1-7", "--stackers", "8"]
    before = sorted(tmp_path.rglob("*"))
    for moment in (MOMENTS["importing"], "Run fake: 12 models", searches):
        with Command(arguments, tmp_path) as command:
            command.wait_for(moment)
            assert command.end(number) == 128 + number, command.output
        assert "an ensemble is written as a whole or not at all" in command.output
        assert re.search(r"continue with: python \S*ensemble_search\.py --size 1-7", command.output)
        left = (
            set(tmp_path.rglob("*"))
            - set(before)
            - {tmp_path / "runs/fake" / name for name in ("ensembles", "log.txt")}
        )
        assert not left


@pytest.mark.parametrize("number", SIGNALS)
def test_a_check_ends_in_order_and_keeps_its_features(tmp_path, number):
    make_folder(tmp_path / "recordings", clips=60)
    for moment in (MOMENTS["importing"], r"features: .* to compute"):
        with Command(["raytag/__main__.py", "check", "recordings"], tmp_path) as command:
            command.wait_for(moment)
            assert command.end(number) == 128 + number, command.output
        assert "interrupted: computed features are kept; continue with: raytag check recordings" in command.output
