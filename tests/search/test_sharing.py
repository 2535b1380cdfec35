"""It is real Ray: trials start together and share devices, the bank lies in memory once, worker deaths heal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
import ray

from raytag.features.bank import Bank
from tests.cli import environment
from tests.recordings import make_folder

TWO_CARDS = """
from pathlib import Path
import ray
from rich.console import Console
from raytag.search.options import LaunchOptions
from raytag.search.start import start
ray.init("local", num_cpus=2, num_gpus=2, include_dashboard=False, log_to_driver=False)
small = ("model.base_size=4", "input.crop_frames=64", "training.batch_size=4", "sampling.samples_per_epoch=48")
options = LaunchOptions(data=Path("recordings"), num_samples=3, epochs=8, gpus_per_trial=0.4, cpus_per_trial=0.3,
    stopping="none", set=small)
code = start(options, Console())
assert code == 0
"""

NODES = """
import errno, os, sys
import ray
from ray.cluster_utils import Cluster
from raytag.cluster.same_files import NodeError, check_nodes
from raytag.store.files import Storage
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
cluster.add_node(num_cpus=1)
cluster.wait_for_nodes()
ray.init(address=cluster.address, log_to_driver=False)
here = os.getcwd()
open("x.wav", "wb").close()
assert check_nodes(here + "/runs", here + "/cache", here + "/x.wav") == 2
assert not [f for f in os.listdir("runs") + os.listdir("cache")]
os.mkdir("cache/0123456789abcdef")
whole = Storage.write
def write(self, name, data):
    if self.root.endswith("cache"):
        raise OSError(errno.EROFS, "Read-only file system")
    whole(self, name, data)
Storage.write = write  # of this process: it cannot write to the cache, and need not
assert check_nodes(here + "/runs", here + "/cache", here + "/x.wav") == 2
Storage.write = whole
os.mkdir("elsewhere")
os.chdir("elsewhere")  # of this process only: the nodes resolve the next path to another folder
for folders in (("/proc/self/cwd/runs", here + "/cache"), (here + "/runs", "/proc/self/cwd/cache")):
    try:
        check_nodes(*folders, None)
    except NodeError as error:
        print(error)
try:
    check_nodes(here + "/runs", here + "/cache", "/proc/self/cwd/../elsewhere/x.wav")
except NodeError as error:
    print(error)
os.chdir(here)
ray.shutdown()
cluster.shutdown()
"""


def run_code(code, cwd):
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env=environment(), capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.long
def test_trials_start_together_as_many_as_fit_on_each_card(tmp_path):
    pytest.importorskip("torch")
    make_folder(tmp_path / "recordings", clips=12)
    output = run_code(TWO_CARDS, tmp_path)
    assert "4 trials at a time" in output  # of 0.4 GPU on two cards; two totals of one card would hold 5
    log = (tmp_path / "runs/specaug_mixup-recordings/events/001.jsonl").read_text().splitlines()
    trials = sorted((e for e in map(json.loads, log) if e["event"] == "fold"), key=lambda e: e["started"])
    assert len(trials) == 6
    first = trials[:4]
    assert max(t["started"] for t in first) < min(t["ended"] for t in trials)
    assert sorted(t["gpu_ids"] for t in first) == [["0"], ["0"], ["1"], ["1"]]
    assert len({t["pid"] for t in first}) == 4
    assert {t["pid"] for t in trials[4:]} <= {t["pid"] for t in first}  # a worker that is warm goes on
    assert all(t["started"] < t["first_step"] < t["ended"] for t in trials)
    assert next(e for e in map(json.loads, log) if e["event"] == "ready")["seconds"]["features"] > 0


def shared_bytes() -> int:
    """All shared memory that this process and those of its Ray map, each page counted once."""
    total = 0
    for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
        with suppress(OSError):
            lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
            total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss_Shmem"))
    return total


def test_the_bank_lies_in_shared_memory_once(ray_session):
    """argus-freesound holds every spectrogram in the memory of one process."""

    class Trial:
        def __init__(self, bank):
            self.bank = bank

        def read(self):
            return os.getpid(), int(self.bank.buffer.sum(dtype=np.int64)), self.bank.buffer.flags.writeable

    frames = 800_000
    buffer = np.ones((frames, 128), np.int16)
    before = shared_bytes()
    reference = ray.put(Bank(buffer=buffer, offsets=np.array([0, frames]), clips=("x",)))
    trials = [ray.remote(Trial).remote(reference) for _ in range(2)]
    (pid_a, sum_a, writeable_a), (pid_b, sum_b, writeable_b) = ray.get([t.read.remote() for t in trials])
    assert pid_a != pid_b
    assert sum_a == sum_b == 800_000 * 128
    assert not writeable_a
    assert not writeable_b
    assert (shared_bytes() - before) / buffer.nbytes == pytest.approx(1.0, abs=0.1)


@pytest.mark.long
def test_nodes_that_do_not_share_their_files_are_refused(tmp_path):
    runs, cache, data = [x for x in run_code(NODES, tmp_path).splitlines() if x.startswith("node ")]
    assert "does not see the runs folder" in runs
    assert "does not see the cache folder" in cache
    assert "does not see the recordings" in data
    for line in (runs, cache, data):
        assert "on a disk that all nodes share" in line
        assert "s3://" in line
