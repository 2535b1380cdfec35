#!/usr/bin/env python3
"""Memory of a launch with three feature sets and two families, against the size of its banks.

    python ../shared/tools/make_fsd.py --out data/fsd0 --seed 0
    python benchmarks/speed/shared_memory.py --data data/fsd0

Launches a mixture of argus-freesound's network at two geometries and a network on waveforms, then searches its
ensemble. Meanwhile it looks twice a second at all processes of the launch: shared memory counts each page once
(Pss_Shmem), private memory (Pss_Anon) is the driver's alone.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil

from raytag.features.manifest import feature_hash
from raytag.space import load

REPOSITORY = Path(__file__).resolve().parents[2]
SPACE = """
SPACES = [
    (1, "specaug_mixup"),
    (1, "specaug_mixup", {"features.sample_rate": 22050, "features.fmax": 11025, "features.n_mels": 96,
        "features.n_fft": 2048, "features.hop_length": 256}),
    (1, "waveforms"),
]
"""
SMALL = ["--epochs", "2", "--set", "model.base_size=4", "--set", "sampling.samples_per_epoch=64"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--num-samples", default="6")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        (work / "three.py").write_text(SPACE)
        command = ["launch.py", "--space", "three.py", "--data", str(args.data.resolve()), "--run", "three"]
        shared, private, quiet = watch([*command, "--num-samples", args.num_samples, "--keep", "4", *SMALL], work)
        watch(["ensemble_search.py", "--run", "three", "--size", "1-3"], work)
        os.chdir(work)  # where the space and its cache are
        sizes = {feature_hash(f): (f, bank_bytes(work, f)) for f in load("three.py").feature_sets}
        report = json.loads(next((work / "runs/three/ensembles").glob("*/ensemble.json")).read_text())
    for features, size in sizes.values():
        print(f"bank {size / 1e6:8.1f} MB  {features.name} at {features.sample_rate} Hz")
    total = sum(size for _, size in sizes.values())
    print(f"sum  {total / 1e6:8.1f} MB")
    print(f"shared memory of the launch, at most: {shared / 1e6:.1f} MB, {shared / total:.3f} of the sum")
    print(f"private memory of the driver, at most: {private / 1e6:.1f} MB; once trials run: {quiet / 1e6:.1f} MB")
    print(f"ensemble: {', '.join(report['members'])}")


def bank_bytes(work: Path, features: object) -> int:
    """Bytes of the usable clips' features, from the manifest that the launch has written."""
    import pandas as pd
    import pyarrow.parquet as pq

    rows: pd.DataFrame = pq.read_table(work / "cache" / feature_hash(features) / "manifest.parquet").to_pandas()
    return int(rows.loc[rows["reason"] == "", "frames"].sum()) * features.width * 2


def watch(command: list[str], work: Path) -> tuple[int, int, int]:
    """Run a command to its end: most shared memory of its processes, most and last private memory of the first."""
    process = subprocess.Popen([sys.executable, str(REPOSITORY / command[0]), *command[1:]], cwd=work)
    most = driver = last = 0
    while process.poll() is None:
        with suppress(psutil.NoSuchProcess):
            everyone = [process.pid, *(p.pid for p in psutil.Process(process.pid).children(recursive=True))]
            most = max(most, sum(rollup(pid, "Pss_Shmem") for pid in everyone))
            last = rollup(process.pid, "Pss_Anon") or last
            driver = max(driver, last)
        time.sleep(0.5)
    if process.returncode:
        sys.exit(process.returncode)
    return most, driver, last


def rollup(pid: int, what: str) -> int:
    """Bytes of one kind of memory of a process; 0 where it is gone."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith(f"{what}:"):
                return int(line.split()[1]) * 1024
    return 0


if __name__ == "__main__":
    main()
