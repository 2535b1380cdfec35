"""How long `raytag status` takes for a large run: the whole process, and the same with --json.

    python benchmarks/speed/status.py [--experiments 200] [--folds 5] [--rounds 3]

The run holds the files of finished folds, small ones, and a log of as many events as its race would have written.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _timing import machine

from raytag.experiment import Experiment

HERE = Path(__file__).resolve().parents[2]


def make_run(run: Path, experiments: int, folds: int) -> None:
    """A run of which one experiment in ten was dropped after its first fold and the others are complete."""
    folder = run / "events"
    folder.mkdir(parents=True)
    (run / "run.json").write_text(
        json.dumps({"format": 1, "name": run.name, "data": "here", "n_folds": folds, "classes": ["a"]})
    )
    race = {"event": "race", "settings": {"stopping": "paired", "keep": 3}, "number": experiments}
    events = [race | {"folds": list(range(folds)), "weights": [1.0] * folds}]
    for i in range(experiments):
        experiment = Experiment().replace({"training.seed": i})
        own = run / "experiments" / experiment.id
        events.append({"event": "propose", "experiment": experiment.id, "index": i})
        for fold in range(1 if i % 10 == 0 else folds):
            (own / f"fold_{fold}").mkdir(parents=True)
            for name in ("weights.safetensors", "oof.parquet", "test.parquet", "curve.csv"):
                (own / f"fold_{fold}" / name).write_bytes(b"x" * 1000)
            result = {"experiment": experiment.id, "fold": fold, "lwlrap": 0.5 + i / 1000, "labels": 100}
            (own / f"fold_{fold}" / "result.json").write_text(json.dumps(result))
            events.append({"event": "fold", "experiment": experiment.id, "fold": fold, "lwlrap": 0.5})
            events.append({"event": "tell", "experiment": experiment.id, "index": i, "value": 0.5})
        (own / "experiment.json").write_text(experiment.to_json())
        if i % 10 == 0:
            events.append({"event": "drop", "experiment": experiment.id, "rung": None, "reason": "below the bar"})
    lines = [json.dumps({"n": n, "time": "", "key": "k", **event}) for n, event in enumerate(events)]
    (folder / "001.jsonl").write_text("\n".join(lines) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiments", type=int, default=200)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(machine())
    environment = os.environ | {"PYTHONPATH": str(HERE)}
    with tempfile.TemporaryDirectory() as folder:
        make_run(Path(folder) / "run", options.experiments, options.folds)
        for more in ([], ["--json"]):
            took = []
            for _ in range(options.rounds):
                started = time.perf_counter()
                command = [sys.executable, "-m", "raytag", "status", f"{folder}/run", *more]
                subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
                took.append(time.perf_counter() - started)
            size = f"{options.experiments} experiments × {options.folds} folds"
            print(f"raytag status {' '.join(more):7} {size}: {statistics.median(took):.2f} s")


if __name__ == "__main__":
    main()
