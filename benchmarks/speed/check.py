"""What `raytag check` costs: beside the cache build alone, and what a launch after it saves.

    python benchmarks/speed/check.py --data ../shared/data/esc10/audio [--clips 6000] [--rounds 2]

The clips are 16-bit WAV files of 5 s made from the recordings of a folder, each with a gain of its own. Seconds of
whole processes, Ray's start included; a launch is timed up to its first trial. Caches lie in folders of their own.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
from _timing import machine
from rich import box
from rich.console import Console
from rich.table import Table

from raytag.datasets.demo import make_demo

HERE = Path(__file__).resolve().parents[2]
BUILD = """
import sys, ray
from raytag import datasets
from raytag.experiment import Features
from raytag.features.cache import build_cache
ray.init(log_to_driver=False, include_dashboard=False)
build_cache(datasets.load(sys.argv[1]), Features(), sys.argv[2])
"""


def make_clips(recordings: Path, folder: Path, n: int) -> None:
    """``n`` WAV files and a table of ten classes and five folds."""
    sources = sorted(path for path in recordings.iterdir() if path.suffix in (".ogg", ".wav"))
    (folder / "audio").mkdir()
    lines = ["fname,labels,fold"]
    for i in range(n):
        samples, rate = soundfile.read(sources[i % len(sources)], dtype="float32", frames=5 * 44100, fill_value=0)
        samples = samples if samples.ndim == 1 else samples[:, 0]
        gain = 0.9 / max(float(np.abs(samples).max()), 1e-3) * (1 - 0.5 * i / n)
        soundfile.write(folder / "audio" / f"{i:05d}.wav", samples * gain, rate, subtype="PCM_16")
        lines.append(f"{i:05d}.wav,class{i % 10},{i % 5}")
    (folder / "clips.csv").write_text("\n".join(lines) + "\n")


def seconds(command: Sequence[str], until: str = "") -> float:
    """Of a whole process, or to the first line that begins so."""
    environment = os.environ | {"PYTHONPATH": str(HERE), "PYTHONUNBUFFERED": "1", "COLUMNS": "200"}
    started = time.perf_counter()
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    process = subprocess.Popen([sys.executable, *command], env=environment, **pipes)
    assert process.stdout is not None
    printed = []
    for line in process.stdout:
        printed.append(line)
        if until and line.startswith(until):
            taken = time.perf_counter() - started
            process.terminate()
            process.communicate()
            return taken
    if process.wait() != 0:
        raise SystemExit("".join(printed))
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="recordings; by default the demo data")
    parser.add_argument("--clips", type=int, default=6000)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="raytag-benchmark-") as name:
        root = Path(name)
        make_clips(options.data or make_demo(HERE / "data" / "demo") / "train_curated", root, options.clips)
        check = ["-c", "import sys; from raytag.cli import main; sys.exit(main(sys.argv[1:]))", "check", name]
        launch = [str(HERE / "launch.py"), "--data", name, "--num-samples", "1", "--epochs", "1"]
        seconds([*check, "--cache-dir", f"{name}/first"])  # kernels, and the files in the page cache
        for i in range(options.rounds):
            one, two, runs = f"{name}/build{i}", f"{name}/check{i}", f"{name}/runs{i}"
            for what, taken in (
                ("the cache build alone", seconds(["-c", BUILD, name, one])),
                ("raytag check", seconds([*check, "--cache-dir", two])),
                ("raytag check again", seconds([*check, "--cache-dir", two])),
                (
                    "a launch to its first trial",
                    seconds([*launch, "--runs-dir", f"{runs}a", "--cache-dir", f"{runs}c"], "Run "),
                ),
                (
                    "a launch after raytag check",
                    seconds([*launch, "--runs-dir", f"{runs}b", "--cache-dir", two], "Run "),
                ),
            ):
                found.setdefault(what, []).append(taken)
    table = Table("", "seconds", "range", title=f"{options.clips} WAV clips of 5 s", box=box.MARKDOWN)
    for what, values in found.items():
        table.add_row(what, f"{statistics.median(values):.1f}", f"{min(values):.1f}–{max(values):.1f}")
    Console(width=120).print(table)
    print(machine())


if __name__ == "__main__":
    main()
