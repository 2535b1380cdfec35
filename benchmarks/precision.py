#!/usr/bin/env python3
"""Does training in bfloat16 cost lwlrap? The same folds and seeds under bf16 and fp32, in one run.

    python benchmarks/precision.py --data DIR [--seeds 2] [--epochs 15] [--base-size 8]

Predictions are float32 either way. Prints lwlrap fold by fold and the mean paired difference with its 95 %
interval over (fold, seed) pairs. Needs a processor with native bf16 for the comparison to say anything of speed.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import ray
from rich.console import Console

from raytag import datasets, space
from raytag.features.cache import build
from raytag.store.files import Storage
from raytag.store.run import FoldStore
from raytag.train.fold import train_fold


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--space", default="specaug_mixup", help="whose base experiment is trained")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--base-size", type=int, default=8)
    args = parser.parse_args()

    table = datasets.load(args.data)
    base = space.load(args.space).first
    base = base.replace({"training.epochs": args.epochs, "model.base_size": args.base_size})
    with tempfile.TemporaryDirectory() as scratch:
        ray.init("local", log_to_driver=False, include_dashboard=False)
        manifest = build(table, base.features, f"{scratch}/cache", console=Console(stderr=True))
        table = table.drop(manifest.quarantined["clip"].tolist())
        bank = manifest.bank(table.clips["clip"].tolist())
        ray.shutdown()
        print("seed  fold    bf16    fp32    bf16-fp32   seconds bf16  fp32", flush=True)
        differences = []
        for seed in range(args.seeds):
            for fold in range(table.n_folds):
                results = {}
                for precision in ("bf16", "fp32"):
                    experiment = base.replace({"training.precision": precision, "training.seed": seed})
                    store = FoldStore(Storage(f"{scratch}/{precision}-{seed}-{fold}"))
                    outcome = train_fold(experiment, fold, table, bank, store)
                    assert outcome.result is not None
                    results[precision] = outcome.result
                bf16, fp32 = results["bf16"], results["fp32"]
                differences.append(bf16["lwlrap"] - fp32["lwlrap"])
                print(
                    f"{seed:4d}  {fold:4d}  {bf16['lwlrap']:.4f}  {fp32['lwlrap']:.4f}    {differences[-1]:+.4f}  "
                    f"{bf16['seconds']:12.1f} {fp32['seconds']:6.1f}",
                    flush=True,
                )
    error = 1.96 * np.std(differences, ddof=1) / np.sqrt(len(differences))
    print(f"mean difference {np.mean(differences):+.4f} ± {error:.4f} (95 %, {len(differences)} pairs)")


if __name__ == "__main__":
    main()
