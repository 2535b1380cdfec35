"""`raytag.ensemble.stored.Predictor` on all CPUs of a cluster: recordings in blocks, each predicted by a worker."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import torch
from rich.console import Console

from raytag import plugins
from raytag.cluster.resources import count_cpus
from raytag.cluster.tasks import run_tasks
from raytag.ensemble.stored import Predicted, Predictor, Stored, experiments_of
from raytag.features.warmup import warm_up as warm_up_features
from raytag.train.warmup import warm_up as warm_up_networks

BLOCKS_PER_CPU = 4  # the last ones even out what the others took


def predict_spread(stored: Stored, files: Sequence[Path], console: Console, windows: bool = False) -> Predicted:
    """What `Predictor.predict` gives, by workers of one CPU each.

    Batches end where blocks do, so the last bits may be others. Ray must be there.

    Parameters
    ----------
    stored : Stored
        Its run is opened by each worker.
    files : sequence of Path
        To be seen under the same paths on all nodes; for a worker that does not see one it is unusable.
    console : rich.console.Console
        For the progress.
    windows : bool
        Give the tiles too.

    Raises
    ------
    FileNotFoundError
        A worker does not see the run.
    PluginError, DamagedError
        See `Predictor`.
    """
    experiments_of(stored)  # loads plugins that are trusted here, and refuses others
    paths = [file.absolute() for file in files]
    sizes = [path.stat().st_size if path.is_file() else 0 for path in paths]
    blocks = blocks_of(sizes, BLOCKS_PER_CPU * count_cpus())
    done = run_tasks(
        _predict,
        _Job(stored, plugins.trusted(), windows),
        [paths[block] for block in blocks],
        label="predict",
        weights=[1 + sum(sizes[block]) for block in blocks],
        console=console,
        prepare=_warm_up,
    )
    return Predicted.joined(done.results)


def blocks_of(sizes: Sequence[int], number: int) -> list[slice]:
    """About ``number`` runs of files of equal size, in bytes; a file that fills one stands alone."""
    share = max(1.0, sum(sizes) / number)
    blocks, start, held = [], 0, 0
    for i, size in enumerate(sizes):
        if i > start and held + size > share:
            blocks.append(slice(start, i))
            start, held = i, 0
        held += size
    return [*blocks, slice(start, len(sizes))]


class _Job:
    """What all blocks share; each worker loads the models once."""

    def __init__(self, stored: Stored, trusted: frozenset[str], windows: bool) -> None:
        self.stored, self.trusted, self.windows = stored, trusted, windows

    @cached_property
    def predictor(self) -> Predictor:
        plugins.trust(self.trusted)
        return Predictor(self.stored, torch.device("cpu"), threads=1)


def _predict(job: _Job, files: Sequence[Path]) -> Predicted:
    found = job.predictor.predict(files, windows=job.windows)
    for i, file in enumerate(files):
        if found.reasons[i] and not file.exists():
            found.reasons[i] += f" on {socket.gethostname()}: it must lie on a disk that all nodes share"
    return found


def _warm_up() -> None:
    warm_up_features()
    warm_up_networks()
