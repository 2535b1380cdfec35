#!/usr/bin/env python3
"""The same work by two versions of raytag, in turn: training steps, batches, log-mels.

    git worktree add ../before COMMIT
    python benchmarks/speed/versions.py --before ../before

Each version runs in a process of its own, on one core and the same noise; rounds alternate. The ratio is the median
over rounds of (before / now) of CPU time: above 1 is faster now. The losses of the first steps tell whether both
compute the same numbers.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parents[2]
CLIPS, FRAMES = 64, 400


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="a checkout of the other version")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve()
        return
    if args.before is None:
        parser.error("--before names the checkout to compare with")
    both = {"before": start(args.before.resolve()), "now": start(HERE)}
    first = {name: json.loads(ask(process)) for name, process in both.items()}  # compiles, warms up
    times: dict[str, dict[str, list[float]]] = {name: {} for name in both}
    for _ in range(args.rounds):
        for name, process in both.items():
            for what, seconds in json.loads(ask(process))["seconds"].items():
                times[name].setdefault(what, []).append(seconds)
    for what, now in times["now"].items():
        before = times["before"][what]
        ratios = sorted(a / b for a, b in zip(before, now, strict=True))
        middle = f"{statistics.median(ratios):.3f} [{ratios[0]:.3f}, {ratios[-1]:.3f}]"
        both_ms = [f"{1e3 * statistics.median(seconds):8.2f} ms" for seconds in (before, now)]
        print(f"{what:22} before {both_ms[0]}  now {both_ms[1]}  before / now {middle}, {args.rounds} rounds")
    same = first["before"]["losses"] == first["now"]["losses"]
    print(f"losses of the first steps {'equal to the bit' if same else 'DIFFER'}: {first['now']['losses']}")
    for process in both.values():
        process.communicate()


def start(tree: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--serve"]
    return subprocess.Popen(
        command, cwd=tree, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def ask(process: subprocess.Popen[str]) -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("round\n")
    process.stdin.flush()
    return process.stdout.readline() or sys.exit("a version ended; its message is above")


def serve() -> None:
    """For every line read, a line of CPU seconds."""
    import numpy as np
    import pandas as pd
    import torch

    import raytag
    from raytag.datasets.table import ClipTable
    from raytag.experiment import Experiment
    from raytag.features import LogMel
    from raytag.features.bank import Bank
    from raytag.train.fold import FoldTraining
    from raytag.train.memory import tune_malloc

    print(f"{raytag.__file__}", file=sys.stderr)
    tune_malloc()
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    noise = rng.normal(-40 * 256, 10 * 256, (CLIPS * FRAMES, 128)).astype(np.int16)
    clips = pd.DataFrame({"clip": [str(i) for i in range(CLIPS)], "subset": ["curated", "noisy"] * (CLIPS // 2)})
    clips = clips.assign(fname=clips["clip"], path=clips["clip"], group="", duration=1.0, rate=44100)
    clips = clips.assign(labels=["ab"[i % 3 == 0] for i in range(CLIPS)], fold=np.arange(CLIPS) // 2 % 2)
    clips.loc[clips["subset"] == "noisy", "fold"] = -1
    table = ClipTable(clips, ("a", "b"), Path("noise"), "noise")
    bank = Bank(noise, np.arange(CLIPS + 1) * FRAMES, clips["clip"].tolist())
    fields = {"model.base_size": 16, "training.batch_size": 32, "sampling.noisy_prob": 0.3}
    trainings = {
        precision: FoldTraining(
            Experiment().replace({**fields, "training.precision": precision}), 0, table, bank, torch.device("cpu")
        )
        for precision in ("fp32", "bf16")
    }
    waveform, logmel = rng.normal(0, 0.1, 10 * 44100).astype(np.float32), LogMel()
    losses = []

    def step(training: FoldTraining) -> None:
        batch = training.make_batch(0)
        training.train_step(*batch) if isinstance(batch, tuple) else training.train_step(batch)
        if len(losses) < 8:
            losses.append(training.loss_sum)

    work: dict[str, tuple[int, Callable[[], object]]] = {
        f"training step, {precision}": (4, lambda training=training: step(training))
        for precision, training in trainings.items()
    }
    work["a batch of 32"] = (20, lambda: trainings["fp32"].make_batch(0))
    work["log-mel of 10 s"] = (20, lambda: logmel(waveform))
    for _ in sys.stdin:
        seconds = {}
        for what, (times, function) in work.items():
            before = time.process_time()
            for _ in range(times):
                function()
            seconds[what] = (time.process_time() - before) / times
        print(json.dumps({"seconds": seconds, "losses": losses}), flush=True)


if __name__ == "__main__":
    main()
