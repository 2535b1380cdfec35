"""What a run costs to write and to read back: predictions of many experiments, digests, and waiting for the disk.

    python benchmarks/speed/read_back.py [--experiments 200] [--clips 5000] [--classes 80] [--folds 5]

Writes a run of random predictions to the folder of temporary files (about 4 bytes a value), reads them as an
ensemble search does (`load_oof`), and prints seconds and the memory that the process takes at most. Then the parts
of finishing a fold and of a checkpoint: seconds in ``fsync`` and in digests.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from _timing import machine

from raytag.datasets.table import ClipTable
from raytag.ensemble.predictions.oof import load_oof
from raytag.experiment import Experiment
from raytag.store.run import RunStore


def make_run(folder: Path, experiments: int, clips: int, classes: int, folds: int) -> RunStore:
    """A run whose experiments predicted noise."""
    import torch

    rng = np.random.default_rng(0)
    names = [f"class{c:03d}" for c in range(classes)]
    fnames = [f"{i:05d}.wav" for i in range(clips)]
    columns = {
        "clip": fnames,
        "fname": fnames,
        "path": fnames,
        "labels": [names[i % classes] for i in range(clips)],
    }
    rest = {"subset": "curated", "group": "", "duration": 1.0, "rate": 44100}
    table = pd.DataFrame(columns | rest).assign(fold=np.arange(clips) % folds)
    store = RunStore.open_for(str(folder), "run", ClipTable(table, tuple(names), folder, "benchmark"), "here")
    values = rng.random((clips, classes), dtype=np.float32)
    curve = pd.DataFrame([(1, 0.1, 0.5, 0.5, 1.0)], columns=["epoch", "lr", "train_loss", "lwlrap", "seconds"])
    for number in range(experiments):
        experiment = Experiment().replace({"training.seed": number})
        store.add(experiment)
        for fold in range(folds):
            rows = np.arange(fold, clips, folds)
            oof = pd.DataFrame(np.roll(values[rows], number, axis=0), columns=names)
            oof.insert(0, "fname", [fnames[i] for i in rows])
            store.fold(experiment.id, fold).finish(
                weights={"w": torch.zeros(1)}, oof=oof, test=None, curve=curve, result={"lwlrap": 0.5, "labels": 1}
            )
    return store


def timed(module: Any, name: str, spent: dict[str, float]) -> Callable[[], None]:
    """Count the seconds in a function of a module; returns what undoes it."""
    function = getattr(module, name)

    def counted(*given: Any) -> Any:
        started = time.perf_counter()
        try:
            return function(*given)
        finally:
            spent[name] = spent.get(name, 0.0) + time.perf_counter() - started

    setattr(module, name, counted)
    return lambda: setattr(module, name, function)


def writing(folder: Path) -> None:
    """Seconds of a fold's files on the demo data with a small and the default network."""
    import torch

    from raytag.store import files

    frame = pd.DataFrame(np.random.default_rng(0).random((60, 10), dtype=np.float32), columns=list("abcdefghij"))
    frame.insert(0, "fname", [f"{i}.wav" for i in range(60)])
    for megabytes in (1.2, 69.0):
        tensors = {f"w{i}": torch.randn(int(megabytes * 1e6 / 40)) for i in range(10)}
        for what in ("finish", "checkpoint"):
            store = RunStore.open_for(str(folder), f"w{megabytes}{what}", *_small(folder))
            fold = store.fold("e", 0)
            spent: dict[str, float] = {}
            undo = [timed(os, "fsync", spent)]
            undo += [timed(files, "digest", spent)] if hasattr(files, "digest") else []
            started = time.perf_counter()
            if what == "finish":
                fold.finish(weights=tensors, oof=frame, test=frame, curve=frame, result={"lwlrap": 0.5})
            else:
                fold.write_checkpoint(tensors, {"epoch": 1, "step": 0}, frame)
            took = time.perf_counter() - started
            parts = ", ".join(f"{name} {1000 * seconds:.1f} ms" for name, seconds in spent.items())
            print(f"{what} of {megabytes} MB of tensors: {1000 * took:.1f} ms, of which {parts}")
            for back in undo:
                back()


def _small(folder: Path) -> tuple[ClipTable, str]:
    columns = {"clip": ["a", "b"], "fname": ["a", "b"], "path": ["a", "b"], "labels": ["x", "y"], "fold": [0, 1]}
    rest = {"subset": "curated", "group": "", "duration": 1.0, "rate": 44100}
    return ClipTable(pd.DataFrame(columns | rest), ("x", "y"), folder, "benchmark"), "here"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("experiments", 200), ("clips", 5000), ("classes", 80), ("folds", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="raytag-benchmark-") as name:
        started = time.perf_counter()
        store = make_run(Path(name), options.experiments, options.clips, options.classes, options.folds)
        print(f"{options.experiments} experiments × {options.folds} folds written in", end=" ")
        print(f"{time.perf_counter() - started:.1f} s")
        for _ in range(2):
            started = time.perf_counter()
            oof = load_oof(store)
            print(f"read back in {time.perf_counter() - started:.2f} s: {oof.probabilities.nbytes / 1e6:.0f} MB")
            del oof
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(f"memory at most: {peak / 1e3:.0f} MB")
        if hasattr(store.fold("e", 0), "look"):
            started = time.perf_counter()
            whole = sum(
                bool(store.fold(e, k).look(read=("oof.parquet",))[0]) for e in store.experiments() for k in range(5)
            )
            print(f"a launch finds {whole} folds whole in {time.perf_counter() - started:.2f} s")
        writing(Path(name))
    print(machine())


if __name__ == "__main__":
    main()
