"""SIGINT, SIGTERM and SIGHUP: a last word and the exit code of shells; a second one ends at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from contextlib import nullcontext

import pytest

from raytag import signals
from raytag.errors import explain_errors

NUMBERS = [pytest.param(number, id=number.name) for number in signals.SIGNALS]
KEPT = "what is finished is kept"


@pytest.fixture(autouse=True)
def command(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["launch.py", "--runs-dir", "s3://me:pass/word@bucket/runs"])
    monkeypatch.setattr(os, "_exit", lambda code: (_ for _ in ()).throw(Dead(code)))
    monkeypatch.setattr("atexit.register", lambda function: None)


class Dead(BaseException):
    """The process would be gone."""


def end_of(*numbers: int, closing: tuple[int, ...] = (), patiently: bool = False) -> int | None:
    """The exit code of a command to which signals come, others while it closes what it opened; None: it goes on."""
    try:
        with explain_errors(KEPT), signals.noted() if patiently else nullcontext():
            try:
                for number in numbers:
                    os.kill(os.getpid(), number)
            finally:
                for number in closing:
                    os.kill(os.getpid(), number)
    except SystemExit as end:
        return end.code
    return None


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_ends_a_command_with_what_is_kept_and_its_number(number, capsys):
    before = [signal.getsignal(n) for n in signals.SIGNALS]
    assert end_of() is None
    assert [signal.getsignal(n) for n in signals.SIGNALS] == before
    assert end_of(number) == 128 + number
    words = f"interrupted: {KEPT}; continue with: python launch.py --runs-dir s3://***@bucket/runs\n"
    assert capsys.readouterr().err == words
    with pytest.raises(Dead):  # Python takes a while to end
        os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("number", NUMBERS)
def test_work_that_is_wound_up_only_notes_the_first(number):
    assert end_of(number, patiently=True) is None
    assert (signals.received(), signals.exit_code()) == (number, 128 + number)
    assert end_of(patiently=True) is None
    assert signals.received() == 0
    assert end_of(number, signal.SIGTERM, patiently=True) == 128 + number


def test_a_second_signal_while_a_command_ends_stops_it_dead():
    with pytest.raises(Dead) as end:
        end_of(signal.SIGTERM, closing=(signal.SIGINT,))
    assert end.value.args == (128 + signal.SIGTERM,)


def test_a_terminal_that_closes_says_so_more_than_once():
    """The kernel to the foreground, the shell to its jobs."""
    assert end_of(signal.SIGHUP, closing=(signal.SIGHUP,)) == 129
    assert end_of(signal.SIGHUP, signal.SIGHUP, signal.SIGHUP, patiently=True) is None


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_that_a_finaliser_swallows_ends_the_command_right_after(number, capsys):
    class Swallows:
        def __del__(self) -> None:
            os.kill(os.getpid(), number)
            time.sleep(0)  # the handler runs here, and Python drops what it raises

    def command() -> None:
        with explain_errors(KEPT):
            Swallows()
            time.sleep(20)

    with pytest.raises(SystemExit) as end:
        command()
    assert end.value.code == 128 + number
    assert capsys.readouterr().err.startswith("interrupted: ")


def test_other_errors_of_finalisers_are_shown(capsys):
    class Fails:
        def __del__(self) -> None:
            raise OSError("no such handle")

    with explain_errors(KEPT):
        Fails()
    assert "no such handle" in capsys.readouterr().err


def test_other_threads_leave_signals_alone():
    before = [signal.getsignal(n) for n in signals.SIGNALS]
    seen = []

    def work():
        with explain_errors():
            seen.extend(signal.getsignal(n) for n in signals.SIGNALS)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == before
