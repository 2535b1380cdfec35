#!/usr/bin/env python3
"""Prediction: tiles of many clips in one batch beside a call for each clip; a recording of an hour beside a minute.

    python benchmarks/speed/predict.py --data ../shared/data/esc10/audio [--clips 60] [--json PATH]

Of the clips the networks alone are timed, on one core, with weights that are not trained. The recordings are one of
the folder's, repeated; of them `raytag predict` is timed as a whole process, by an experiment of --folds folds.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile
import torch
from _timing import add_json_argument, compare, machine, print_table, write_json
from rich import box
from rich.console import Console
from rich.table import Table

from raytag.batch import Feed
from raytag.datasets.listing import AUDIO_SUFFIXES
from raytag.datasets.table import ClipTable
from raytag.experiment import Experiment
from raytag.features.bank import Bank
from raytag.features.shards import compute_clip
from raytag.models.tagger import tagger
from raytag.predict import predict, restored
from raytag.store.predictions import predictions_frame
from raytag.store.run import RunStore

HERE = Path(__file__).resolve().parents[2]
CLASSES = tuple(f"class{i:02d}" for i in range(80))
CPU = torch.device("cpu")
CHILD = """
import resource, sys
from raytag.cli import main
code = main(sys.argv[1:])
print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
sys.exit(code)
"""


def opened(files: list[Path], experiment: Experiment) -> tuple[Feed, np.ndarray]:
    """The usable ones, as the input reads test clips, and their rows."""
    features = experiment.features
    cells = [cell for file in files if not (cell := compute_clip("", str(file), (), features))["reason"]]
    frames = [np.frombuffer(cell["features"], "<i2").reshape(-1, features.width) for cell in cells]
    bank = Bank(np.concatenate(frames), np.cumsum([0, *map(len, frames)]), [str(i) for i in range(len(frames))])
    return experiment.input.for_test().open(bank, features), np.arange(len(bank))


def write_repeated(source: Path, target: Path, seconds: int) -> None:
    """A recording, again and again, as 16-bit WAV."""
    samples, rate = soundfile.read(source, dtype="int16")
    with soundfile.SoundFile(target, "w", rate, samples[0].size, subtype="PCM_16") as file:
        left = seconds * rate
        while left > 0:
            file.write(samples[:left])
            left -= len(samples)


def make_run(folder: Path, experiment: Experiment, state: Mapping[str, torch.Tensor], folds: int) -> None:
    """A run that holds the experiment with weights for each fold."""
    names = [f"{k}.wav" for k in range(folds)]
    clips = pd.DataFrame({"clip": names, "fname": names, "path": names, "labels": CLASSES[0], "subset": "curated"})
    clips = clips.assign(fold=range(folds), group="", duration=1.0, rate=44100)
    store = RunStore.open_for(str(folder / "runs"), "run", ClipTable(clips, CLASSES, folder, "none"), "none")
    store.add(experiment)
    for k in range(folds):
        oof = predictions_frame(names[k : k + 1], np.zeros((1, len(CLASSES))), CLASSES)
        fold = store.fold(experiment.id, k)
        fold.finish(weights=state, oof=oof, test=None, curve=None, result={"lwlrap": 0.5, "labels": 1})


def measure(folder: Path, experiment: Experiment, recording: Path, minutes: int) -> dict[str, Any]:
    """Seconds and peak memory of the whole command."""
    file, out = folder / f"{minutes}.wav", folder / f"{minutes}.csv"
    write_repeated(recording, file, 60 * minutes)
    command = ["predict", "--run", "run", "--runs-dir", str(folder / "runs"), "--experiment", experiment.id]
    command += ["--device", "cpu", "--out", str(out), str(file)]
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", CHILD, *command], cwd=HERE, capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - started
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    peak = int(done.stdout.rsplit("peak ", 1)[1])
    peak *= 1 if sys.platform == "darwin" else 1024
    return {"minutes": minutes, "seconds": round(seconds, 1), "peak_mb": round(peak / 1e6)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a folder of recordings")
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--base-size", type=int, default=16)
    parser.add_argument("--folds", type=int, default=2)
    parser.add_argument("--minutes", type=int, nargs="+", default=[1, 60])
    parser.add_argument("--rounds", type=int, default=5)
    add_json_argument(parser)
    options = parser.parse_args()
    torch.set_num_threads(1)
    files = sorted(file for file in options.data.iterdir() if file.suffix in AUDIO_SUFFIXES)
    experiment = Experiment(name="predicts").replace({"model.base_size": options.base_size})
    state = tagger(experiment, len(CLASSES)).state_dict()
    model, (feed, rows) = restored(experiment, state, len(CLASSES), CPU), opened(files[: options.clips], experiment)
    candidates = {
        "a call for each clip": lambda: [predict(model, feed, rows[i : i + 1], CPU) for i in rows],
        "tiles of many clips in a batch": lambda: predict(model, feed, rows, CPU),
    }
    timings = compare(candidates, rounds=options.rounds, per=len(rows), unit="clips")
    what = f"{len(rows)} clips, {feed.count_tiles(rows).sum()} tiles, base size {options.base_size}, one core"
    print_table(what, timings)
    with tempfile.TemporaryDirectory(prefix="raytag-benchmark-") as name:
        make_run(Path(name), experiment, state, options.folds)
        lengths = [measure(Path(name), experiment, files[0], minutes) for minutes in options.minutes]
    columns = ("minutes", "seconds", "times as fast as it sounds", "peak MB")
    title = f"raytag predict, {options.folds} folds, the whole process"
    table = Table(*columns, title=title, title_justify="left", box=box.MARKDOWN)
    for row in lengths:
        speed = f"{60 * row['minutes'] / row['seconds']:.1f}"
        table.add_row(str(row["minutes"]), str(row["seconds"]), speed, str(row["peak_mb"]))
    Console(width=120).print(table)
    print(machine())
    write_json(options.json, {what: timings, title: lengths})


if __name__ == "__main__":
    main()
