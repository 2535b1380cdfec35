"""What SIGINT, SIGTERM and SIGHUP do to a command: one of them ends it in order, another one at once.

Left to itself Python answers the first with a traceback and dies of the others where it stands. Within
`interruptible` all three raise KeyboardInterrupt in the main thread, so that whatever was opened is closed; within
`noted` the first one is only noted, for work that is wound up rather than dropped. It is no exception of its own:
Ray raises a new KeyboardInterrupt for one that comes while it waits. `received` tells which signal it was. Python
drops whatever is raised while it runs a finaliser or the callback of a weak reference (imports run many): there it
is raised again right after.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

#: SIGHUP says that the terminal was closed; not every system has it.
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
HANGUP = getattr(signal, "SIGHUP", None)


class _State:
    first: int = 0  # signal of this command
    ending = False  # KeyboardInterrupt was raised
    patient = False  # the first signal is for whoever asks `received`
    again: threading.Timer | None = None  # raises a KeyboardInterrupt that was dropped


def received() -> int:
    """The first signal that came since the command began, or 0."""
    return _State.first


@contextmanager
def interruptible() -> Iterator[None]:
    """Within it the signals raise KeyboardInterrupt; while the command ends for one, another stops it dead.

    Handlers are those of the process: outside the main thread nothing changes. After a signal they stay, for Python
    itself takes a while to end.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _State.first, _State.ending, _State.patient, _State.again = 0, False, False, None
    before = {number: signal.signal(number, _handle) for number in SIGNALS}
    unraisable, sys.unraisablehook = sys.unraisablehook, _unraisable
    try:
        yield
    finally:
        sys.unraisablehook = unraisable
        if _State.again:
            _State.again.cancel()
        if not _State.ending:
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def noted() -> Iterator[None]:
    """Within it the first signal only shows in `received`; another one raises KeyboardInterrupt."""
    _State.patient = True
    try:
        yield
    finally:
        _State.patient = False


def exit_code() -> int:
    """128 and the number of the signal that ended the command, as shells count."""
    return 128 + (_State.first or signal.SIGINT)


def _handle(number: int, frame: FrameType | None) -> None:
    if number == HANGUP and _State.first:
        return  # a terminal that closes says so more than once: that is no impatience
    first = not _State.first
    _State.first = _State.first or number
    if _State.patient and first:
        return
    if _State.ending:
        if sys.__stdout__ is not None and sys.__stdout__.isatty():
            os.write(sys.__stdout__.fileno(), b"\x1b[?25h")  # a progress display had hidden the cursor
        os._exit(exit_code())
    _State.ending = True
    atexit.register(_ignore)
    raise KeyboardInterrupt


def _unraisable(dropped: sys.UnraisableHookArgs) -> None:
    """A KeyboardInterrupt that Python has dropped: the signal once more, when the main thread is out of here."""
    if not (issubclass(dropped.exc_type, KeyboardInterrupt) and _State.ending):
        sys.__unraisablehook__(dropped)
        return
    _State.ending = False
    main = threading.main_thread().ident
    assert main is not None
    _State.again = threading.Timer(0.01, signal.pthread_kill, (main, signal.SIGINT))
    _State.again.daemon = True
    _State.again.start()


def _ignore() -> None:
    """While Python takes itself apart: it would put the system's answers in place, which end it without a code."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
