"""Compiled kernels, once a node: the first process compiles them, the others load what it stored.

numba keeps compiled code in a folder (`raytag.compiled.cache_folder`), but nothing keeps ten workers that start at
once from compiling the same kernels ten times. Each room that has kernels has a module ``warmup`` with a function
``warm_up()``: it sends a small problem through the very functions that workers call, by way of `once`, which makes
processes take turns. Whoever holds the lock compiles and leaves a stamp; whoever finds the stamp goes on.

Compiled code is for argument types: element type, memory order and whether an array may be written. Small problems
therefore hand over arrays as workers get them.
"""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from filelock import FileLock
from rich.console import Console

from raytag.compiled.cache_folder import PACKAGE, kernel_digest
from raytag.console import say

#: Seconds that a process waits for another's compilation before it compiles by itself; compiling takes some ten.
PATIENCE = 300.0

_ready: set[str] = set()  # rooms whose kernels are compiled, as this process knows


def once(room: str, compile_all: Callable[[], None], patience: float = PATIENCE) -> None:
    """Have a room's kernels compiled on this node, by this process or by another one.

    Parameters
    ----------
    room : str
        Whose kernels they are, such as ``features``: the package ``raytag.ROOM``.
    compile_all : callable
        Calls them all; where the stamp says that they are compiled it is not called, and they load when used.
    patience : float
        Seconds to wait for another process. After that, and where files cannot be locked, the process goes on
        alone: it costs time and nothing else.
    """
    if room in _ready:
        return
    stamp = stamp_of(room)
    with ExitStack() as turn:
        if not stamp.exists():
            with suppress(OSError, NotImplementedError):  # a timeout is an OSError
                turn.enter_context(FileLock(stamp.with_suffix(".nblock"), timeout=patience))
        if not stamp.exists():
            compile_all()
            with suppress(OSError):
                stamp.touch()
    _ready.add(room)


def stamp_of(room: str) -> Path:
    """The file that says that a room's kernels are compiled: beside them, and gone with them if ``*.nb*`` is."""
    return Path(os.environ["NUMBA_CACHE_DIR"]) / f"raytag-{room}-{fingerprint()}.nbdone"


@cache
def fingerprint() -> str:
    """16 hexadecimal digits for the kernels' sources, where they lie, the compiler's version and the processor.

    Nodes that share the folder share what fits all four. numba keeps code by the path of its source.
    """
    import llvmlite  # type: ignore[import-untyped]
    import llvmlite.binding as llvm  # type: ignore[import-untyped]
    import numba

    host = (llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten())
    words = (
        kernel_digest(),
        str(PACKAGE),
        numba.__version__,
        llvmlite.__version__,
        platform.python_version(),
        *host,
    )
    return hashlib.sha256(repr(words).encode()).hexdigest()[:16]


@contextmanager
def compiling(console: Console, *rooms: str) -> Iterator[Callable[[], None]]:
    """Within it, kernels that this machine lacks are compiled beside what else is done, each room's in a process.

    Parameters
    ----------
    console : rich.console.Console
        For one line if there is anything to compile.
    rooms : str
        Whose kernels will be needed.

    Yields
    ------
    callable
        Waits until all is compiled. If it was not, for whatever reason, the first worker does it, and tells.
    """
    missing = [room for room in rooms if not stamp_of(room).exists()]
    if not missing:
        yield lambda: None
        return
    say(console, f"Compiling kernels for this processor, once for all launches: {', '.join(missing)} …")
    started = time.monotonic()
    processes = [_compile(room) for room in missing]

    def wait() -> None:
        codes = [process.wait() for process in processes]
        if processes and not any(codes):
            say(console, f"Kernels compiled in {time.monotonic() - started:.0f} s")
        processes.clear()

    try:
        yield wait
    finally:
        for process in processes:
            process.kill()  # what it has finished is kept
            process.wait()


def _compile(room: str) -> subprocess.Popen[bytes]:
    code = f"import sys; sys.path.insert(0, {str(PACKAGE.parent)!r}); "
    code += f"from raytag.{room}.warmup import warm_up; warm_up()"
    pipes: Any = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    # in a session of its own: Ctrl-C is the command's business, which then ends it
    return subprocess.Popen([sys.executable, "-c", code], start_new_session=True, **pipes)


def count_kernels() -> tuple[int, int]:
    """How many of raytag's kernels this process has loaded from the cache, and how many it compiled."""
    stats = [kernel.stats for kernel in imported_kernels()]
    return sum(sum(s.cache_hits.values()) for s in stats), sum(sum(s.cache_misses.values()) for s in stats)


def imported_kernels() -> list[Any]:
    """The compiled functions of all modules of raytag that are imported."""
    from numba.core.registry import CPUDispatcher

    modules = [module for name, module in sys.modules.items() if name.startswith("raytag.")]
    found = [value for module in modules for value in vars(module).values() if isinstance(value, CPUDispatcher)]
    return [k for k in dict.fromkeys(found) if k.py_func.__module__.startswith("raytag.")]
