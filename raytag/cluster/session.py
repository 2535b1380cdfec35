"""Joining a Ray cluster, or starting Ray on this machine, beside what else is to be done."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from rich.console import Console

from raytag.console import say


@contextmanager
def ray_session(
    address: str | None, *, dashboard: bool = False, console: Console | None = None
) -> Iterator[Callable[[], None]]:
    """Join the cluster at ``address``, or start Ray on this machine; a Ray that is already there is used.

    Parameters
    ----------
    address : str or None
        None: this machine.
    dashboard : bool
        Start Ray's dashboard on this machine; a cluster has its own.
    console : rich.console.Console, optional
        With ``dashboard``: where its address is said.

    Yields
    ------
    callable
        To be called once, before Ray is used: returns when it is there. Until then starting it takes none of the
        caller's time. Raises ValueError when no cluster answers at ``address``.
    """
    import ray

    if ray.is_initialized():
        yield lambda: None
        return
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    started, ended = threading.Event(), threading.Event()
    found: list[Any] = []  # the context of ray.init, or its error

    def live() -> None:
        # One thread for Ray's whole life: its processes end with the thread that started them.
        try:
            # "local": without it Ray would join whatever cluster it last heard of here, even a dead one
            found.append(
                ray.init(
                    address=address or "local",
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    include_dashboard=None if address else dashboard,
                )
            )
        except BaseException as error:
            found.append(error)
        started.set()
        ended.wait()
        with suppress(Exception):
            ray.shutdown()

    def ready() -> None:
        started.wait()
        if isinstance(found[0], ConnectionError):
            raise ValueError(f"--address {address}: no Ray cluster answers there ({found[0]})")
        if isinstance(found[0], BaseException):
            raise found[0]
        if dashboard and console is not None:
            say(console, describe_dashboard(found[0].dashboard_url))

    thread = threading.Thread(target=live, name="ray")
    logging.getLogger("ray._private.worker").setLevel(logging.ERROR)  # it would warn: not the main thread
    thread.start()
    try:
        with _exit_on_sigterm():
            yield ready
    finally:
        ended.set()
        thread.join()


@contextmanager
def _exit_on_sigterm() -> Iterator[None]:
    """End as on an error, so that what was opened is closed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def describe_dashboard(url: str | None) -> str:
    """Where Ray's dashboard is, and how to get in."""
    if not url:
        return "This Ray has no dashboard"
    words = f"Ray's dashboard: http://{url}"
    if os.environ.get("RAY_AUTH_MODE", "token") == "token":
        words += " (it asks for a token: the command ray get-auth-token prints it)"
    return words
