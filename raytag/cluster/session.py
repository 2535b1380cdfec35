"""Joining a Ray cluster, or starting Ray on this machine, beside what else is to be done.

A Ray that is started here is this user's alone: it listens on 127.0.0.1, and its files, which Ray itself leaves
open to everybody, lie below a private folder.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from rich.console import Console

from raytag.compiled.cache_folder import private_folder
from raytag.console import say
from raytag.errors import RefusedError
from raytag.signals import HANGUP

LONGEST = 40  # letters of the folder of Ray's files: the paths of sockets in it may have 107, 103 on some systems


START_ATTEMPTS = 3


def init_ray(**options: Any) -> Any:
    """``ray.init``; again where the node was not there within the 30 s that Ray gives it, as on a busy machine."""
    import ray

    for left in reversed(range(START_ATTEMPTS)):
        try:
            return ray.init(**options)
        except Exception as error:
            if not left or "timed out during startup" not in str(error):
                raise
            with suppress(Exception):
                ray.shutdown()
    raise AssertionError("unreachable")


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
        caller's time. Raises ValueError when no cluster answers at ``address``, RefusedError when Ray does not
        start.
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
        if HANGUP:  # they inherit this: a terminal that closes leaves trials time for their checkpoints
            signal.pthread_sigmask(signal.SIG_BLOCK, {HANGUP})
        try:
            with _as_raytag_likes(alone=address is None):
                # "local": without it Ray would join whatever cluster it last heard of here, even a dead one
                own: dict[str, Any] = (
                    {} if address else {"include_dashboard": dashboard, "_temp_dir": _own_folder()}
                )
                quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
                found.append(init_ray(address=address or "local", **quiet, **own))
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
            raise RefusedError(f"Ray did not start; try again when less runs here ({found[0]})") from found[0]
        if dashboard and console is not None:
            say(console, describe_dashboard(found[0].dashboard_url))

    thread = threading.Thread(target=live, name="ray", daemon=True)  # should nobody come to end it
    logging.getLogger("ray._private.worker").setLevel(logging.ERROR)  # it would warn: not the main thread
    thread.start()
    try:
        yield ready
    finally:
        ended.set()
        thread.join()


@contextmanager
def _as_raytag_likes(alone: bool) -> Iterator[None]:
    """What Ray reads from its constants while it starts in this process; its workers keep their own.

    Its answer to SIGTERM, a C++ stack on the screen, would replace raytag's. And a Ray ``alone`` on this machine
    needs no address that other machines reach: Ray itself forgoes it on systems where it has no clusters.
    """
    from ray._private import ray_constants

    wanted = {"RAY_DISABLE_FAILURE_SIGNAL_HANDLER": True} | ({"ENABLE_RAY_CLUSTER": False} if alone else {})
    before = {name: getattr(ray_constants, name) for name in wanted}
    vars(ray_constants).update(wanted)
    try:
        yield
    finally:
        vars(ray_constants).update(before)


def _own_folder() -> str | None:
    """Where Ray's files go; None where Ray shall choose.

    Ray makes its folders writable for everybody, those of code that workers import and of their sockets too.
    """
    if "RAY_TMPDIR" in os.environ or not hasattr(os, "getuid"):
        return None
    folder = str(private_folder("raytag") / "ray")
    return folder if len(folder) <= LONGEST else None


def describe_dashboard(url: str | None) -> str:
    """Where Ray's dashboard is, and how to get in."""
    if not url:
        return "This Ray has no dashboard"
    words = f"Ray's dashboard: http://{url}"
    if os.environ.get("RAY_AUTH_MODE", "token") == "token":
        words += " (it asks for a token: the command ray get-auth-token prints it)"
    return words
