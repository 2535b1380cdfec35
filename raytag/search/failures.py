"""What to do about experiments that failed: the option that changes the outcome, by cause."""

from __future__ import annotations

import builtins
from collections.abc import Mapping

from raytag.experiment import Experiment

#: What a reason says where memory was short, and where a worker left no word of its own.
OUT_OF_MEMORY = ("MemoryError", "out of memory", "can't allocate memory")
LOST = "worker died"


def why_lost(error: str, times: int) -> str:
    """Why a trial's worker was lost each time, as far as Ray's ``error`` tells: it guesses at memory anyway."""
    if "running low on memory" in error:
        return f"its worker was killed {times} times: the machine ran out of memory"
    return f"its worker died {times} times: killed from outside, or crashed"


def cause(reason: str) -> str:
    """``diverged``, ``memory``, ``lost``, ``files`` or ``other``, from ``fold K: Error: …`` or `why_lost`."""
    if any(words in reason for words in OUT_OF_MEMORY):
        return "memory"
    if LOST in reason:
        return "lost"
    kind = getattr(builtins, reason.split(": ")[1] if ": " in reason else "", None)
    if isinstance(kind, type) and issubclass(kind, ArithmeticError):
        return "diverged"
    return "files" if isinstance(kind, type) and issubclass(kind, OSError) else "other"


def advice(
    failed: Mapping[str, str],
    experiments: Mapping[str, Experiment],
    command: str,
    cpus: float,
    gpus: float,
    slots: int,
    traces: str,
) -> list[str]:
    """One sentence a cause.

    Parameters
    ----------
    failed : mapping of str to str
        Reason by experiment.
    experiments : mapping of str to Experiment
        By the same names.
    command : str
        What was run. It is advised again only where that can help: training is repeatable.
    cpus, gpus : float
        What a trial takes.
    slots : int
        Trials that run at a time.
    traces : str
        Where tracebacks are.
    """
    groups: dict[str, list[str]] = {}
    for name, reason in failed.items():
        groups.setdefault(cause(reason), []).append(name)
    said = []
    for what, names in groups.items():
        many = "1 experiment" if len(names) == 1 else f"{len(names)} experiments"
        if what == "diverged":
            lowest = min(experiments[name].optimizer.lr for name in names)
            said.append(
                f"{many} diverged and would diverge again: give the space lower optimizer.lr, or fix it, e.g. "
                f"--set optimizer.lr={lowest / 2:.2g}"
            )
        elif what in ("memory", "lost"):
            smaller = "a smaller --set training.batch_size or --set model.base_size needs less"
            share = f"--gpus-per-trial {min(1.0, 2 * gpus):g}" if gpus else f"--cpus-per-trial {2 * cpus:g}"
            fewer = f"fewer at a time leave each more: {command} {share}; " if slots > 1 else ""
            if what == "lost":
                said.append(f"{many} lost their worker each time. Was memory short? Then {fewer}{smaller}")
            else:
                said.append(f"{many} ran out of memory: {fewer}{smaller}")
        elif what == "files":
            said.append(
                f"{many} could not read or write files; once there is room and access, try them again: {command}"
            )
        else:
            said.append(f"{many} failed, and would again unless the reason goes; tracebacks: {traces}")
    return said
