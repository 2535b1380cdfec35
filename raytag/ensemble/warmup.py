"""Compiled kernels, once a node: the first process compiles them, the others load what it stored.

numba keeps compiled code in a folder (``__pycache__`` beside the sources, or what `raytag.kernel_cache` found), but
nothing keeps ten workers that start at once from compiling the same kernels ten times. `warm_up` makes them take
turns: whoever holds the lock beside that code compiles, and leaves a stamp; whoever finds the stamp loads.

Compiled code is for argument types: element type, memory order and whether an array may be written. `warm_up`
therefore sends a small problem through the very functions that a search calls, with read-only arrays, as a worker
gets them from an object store.
"""

from __future__ import annotations

import hashlib
import platform
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import llvmlite  # type: ignore[import-untyped]
import llvmlite.binding as llvm  # type: ignore[import-untyped]
import numba
import numpy as np
from filelock import FileLock
from numba.core.registry import CPUDispatcher

from raytag.ensemble.pairs import log_probabilities, reduce_pairs
from raytag.ensemble.scoring import Scorer
from raytag.ensemble.subsets import TREE_LIMIT, Objective, search_trees
from raytag.ensemble.swaps import swap_search
from raytag.ensemble.trees import plan
from raytag.ensemble.weights import weight_search

#: Seconds that a process waits for another's compilation before it compiles by itself; compiling takes about six.
PATIENCE = 300.0


def warm_up() -> None:
    """Load the kernels of the ensemble search; on a node that has none, compile them in one process only."""
    once(_search_small_problem, Path(str(_kernels()[0].stats.cache_path)), fingerprint())


def once(load: Callable[[], None], folder: Path, key: str, patience: float = PATIENCE) -> None:
    """Call ``load`` in every process, but in one alone until it has succeeded once.

    Parameters
    ----------
    load : callable
        Compiles what ``folder`` lacks and stores it there.
    folder : Path
        Where compiled code lies; the lock and the stamp ``kernels-KEY.nbdone`` are put beside it, under names that
        go with it when ``*.nb*`` is deleted. Nodes that share the folder share both.
    key : str
        Names what is compiled and for which processor.
    patience : float
        Seconds to wait for the lock. After that, and where files cannot be locked, the process goes on alone: it
        costs time and nothing else.
    """
    stamp = folder / f"kernels-{key}.nbdone"
    with ExitStack() as turn:
        if not stamp.exists():
            with suppress(OSError, NotImplementedError):  # a timeout is an OSError
                turn.enter_context(FileLock(folder / f"kernels-{key}.nblock", timeout=patience))
            if stamp.exists():
                turn.close()  # loading needs no turns
        load()
        with suppress(OSError):
            stamp.touch()


def fingerprint() -> str:
    """16 hexadecimal digits for the sources of the kernels, the compiler's version and the processor."""
    sources = [path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py"))]
    host = (llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten())
    words = (numba.__version__, llvmlite.__version__, platform.python_version(), *host)
    digest = hashlib.sha256(repr(words).encode())
    for source in sources:
        if b"numba" in source:
            digest.update(hashlib.sha256(source).digest())
    return digest.hexdigest()[:16]


def count_kernels() -> tuple[int, int]:
    """How many kernels of the ensemble search this process has loaded from the cache, and compiled."""
    kernels = _kernels()
    loaded = sum(sum(k.stats.cache_hits.values()) for k in kernels)
    return loaded, sum(sum(k.stats.cache_misses.values()) for k in kernels)


def _kernels() -> list[CPUDispatcher]:
    """The compiled functions of the modules of the ensemble search, whose code lies in one folder."""
    modules = [module for name, module in sys.modules.items() if name.startswith("raytag.ensemble.")]
    found = [value for module in modules for value in vars(module).values() if isinstance(value, CPUDispatcher)]
    return [k for k in dict.fromkeys(found) if k.py_func.__module__.startswith("raytag.ensemble.")]


def _search_small_problem() -> None:
    """Everything that workers do with kernels, on a few clips."""
    n_models, n_clips, n_classes = 5, 6, 3
    values = np.arange(n_models * n_clips * n_classes) * 37 % 89 / 89.0  # in no order, so that models disagree
    targets = np.eye(n_classes)[np.arange(n_clips) % n_classes]
    log_probs = log_probabilities(values.reshape(n_models, n_clips, n_classes))
    pairs = reduce_pairs(log_probs, targets, np.arange(n_clips) % 2)
    search_trees(pairs, plan(n_models, [1, 2, 4], TREE_LIMIT), [Objective((0, 1), 1)])
    swap_search(Scorer(pairs), (0, 1), 2, starts=2)
    weight_search(Scorer(pairs), (0, 1), sweeps=1)
