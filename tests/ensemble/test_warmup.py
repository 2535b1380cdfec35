"""Of the processes of a node one compiles, the others load; nothing that goes wrong with files stops them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from filelock import FileLock

from raytag.ensemble.warmup import fingerprint, once
from tests.cli import REPOSITORY, environment

KERNEL = """
from numba import njit

@njit(cache=True)
def double(x):
    return 2 * x
"""

WORKER = """
import json, sys, time
from pathlib import Path
import small_kernel
from raytag.ensemble.warmup import once

def load():
    before = time.time()
    small_kernel.double(3)
    if small_kernel.double.stats.cache_misses:
        time.sleep(1)  # real kernels take longer; the others come to the lock meanwhile
    spans.append((before, time.time()))

spans = []
print("ready", flush=True)
sys.stdin.readline()  # both start at once
once(load, Path(small_kernel.double.stats.cache_path), "key")
stats = small_kernel.double.stats
print(json.dumps([sum(stats.cache_hits.values()), sum(stats.cache_misses.values()), spans]))
"""


def test_two_processes_on_an_empty_cache_compile_once(tmp_path):
    (tmp_path / "small_kernel.py").write_text(KERNEL)
    cache = tmp_path / "cache"
    env = environment() | {"NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": f"{tmp_path}:{REPOSITORY}"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen([sys.executable, "-c", WORKER], env=env, **pipes) for _ in range(2)]
    try:
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            process.stdin.write("go\n")
            process.stdin.flush()
        found = sorted(json.loads(process.communicate(timeout=100)[0]) for process in processes)
    finally:
        for process in processes:
            process.kill()
    (_, _, [(_, compiled)]), (_, _, [(loaded_from, _)]) = found
    assert [(hits, misses) for hits, misses, _ in found] == [(0, 1), (1, 0)]
    assert loaded_from >= compiled
    assert [path.name for path in cache.rglob("*.nbdone")] == ["kernels-key.nbdone"]


def test_a_stamp_is_left_by_success_only(tmp_path):
    def fail():
        raise RuntimeError("no compiler")

    with pytest.raises(RuntimeError, match="no compiler"):
        once(fail, tmp_path, "key")
    assert not (tmp_path / "kernels-key.nbdone").exists()
    once(lambda: None, tmp_path, "key")
    assert (tmp_path / "kernels-key.nbdone").exists()
    with FileLock(tmp_path / "kernels-key.nblock"):  # the next one does not ask for it
        once(lambda: None, tmp_path, "key", patience=0)


def test_who_waits_in_vain_goes_on_alone(tmp_path):
    called = []
    with FileLock(tmp_path / "kernels-key.nblock"):
        once(lambda: called.append("locked"), tmp_path, "key", patience=0.1)
    once(lambda: called.append("no folder"), tmp_path / "nowhere" / "at all", "key")
    assert called == ["locked", "no folder"]


def test_the_fingerprint_is_of_this_version():
    assert fingerprint() == fingerprint()
    assert len(fingerprint()) == 16
