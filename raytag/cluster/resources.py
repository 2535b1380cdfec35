"""What the cluster has: CPUs, room for a bank, and how many trials run at a time, as Ray places them.

Ray is imported when it is asked: what only counts need not wait for it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

UNITS = 10_000  # Ray counts resources in ten-thousandths
LOOK_SECONDS = 1.0  # between two looks at the cluster: it is asked for at every event


def count_cpus() -> int:
    """CPUs of the cluster, at least one."""
    import ray

    return max(1, int(ray.cluster_resources().get("CPU", 1)))


def object_store_room() -> int:
    """Bytes of the smallest object store of a node."""
    import ray

    return int(min(node["Resources"].get("object_store_memory", 0) for node in ray.nodes() if node["Alive"]))


class Slots:
    """Trials that fit on the cluster as it is now; a callable.

    Parameters
    ----------
    cpus, gpus : float
        What a trial takes; fractions are allowed.
    """

    def __init__(self, cpus: float, gpus: float) -> None:
        self.cpus, self.gpus = cpus, gpus
        self._looked = -LOOK_SECONDS
        self._found = 0

    def __call__(self) -> int:
        import ray

        now = time.monotonic()
        if now - self._looked >= LOOK_SECONDS:
            nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
            self._found = sum(trials_on(resources, self.cpus, self.gpus) for resources in nodes)
            self._looked = now
        return self._found


@dataclass(frozen=True)
class Resources:
    """What a trial takes, and what there is for trials.

    Attributes
    ----------
    cpus, gpus : float
        Of a trial; fractions are allowed.
    slots : Slots
        Trials that run at a time.
    may_grow : bool
        Whether nodes may join, so that it makes sense to ask for more than there is room for.
    """

    cpus: float
    gpus: float
    slots: Slots
    may_grow: bool

    @classmethod
    def find(cls, cpus: float, gpus: float | None, may_grow: bool) -> Self:
        """Resources of this cluster for trials of ``cpus`` and ``gpus``; by default half a GPU where it has any.

        Raises
        ------
        ValueError
            No trial fits, and no node may join.
        """
        import ray

        there = ray.cluster_resources()
        if gpus is None:
            gpus = 0.5 if there.get("GPU", 0) else 0.0
        slots = Slots(cpus, gpus)
        if slots() < 1 and not may_grow:
            raise ValueError(
                f"no trial fits: one takes {cpus:g} CPUs and {gpus:g} GPUs of one node, the cluster has "
                f"{there.get('CPU', 0):g} and {there.get('GPU', 0):g} in all. Lower --cpus-per-trial or "
                "--gpus-per-trial"
            )
        return cls(cpus, gpus, slots, may_grow)


def trials_on(resources: Mapping[str, float], cpus: float, gpus: float) -> int:
    """How many trials one node runs at a time.

    Parameters
    ----------
    resources : mapping of str to float
        The node's, as Ray names them: CPU, GPU.
    cpus, gpus : float
        What a trial takes. It shares one card with others, or takes whole cards: 0.4 GPU on two cards are 4
        trials, not 5.
    """
    room = []
    if cpus:
        room.append(_units(resources.get("CPU", 0.0)) // _units(cpus))
    if gpus:
        cards = int(resources.get("GPU", 0.0))
        room.append(cards * (UNITS // _units(gpus)) if gpus < 1 else cards // int(gpus))
    return min(room, default=0)


def _units(quantity: float) -> int:
    return max(1, round(quantity * UNITS)) if quantity else 0
