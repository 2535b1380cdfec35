"""What tune_malloc promises: no page faults once memory has been touched."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from raytag.train import memory

SCRIPT = """
import resource, sys, threading
import torch
from raytag.train.memory import tune_malloc

def faults(rounds):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(rounds):
        a = torch.ones(16_000_000)
        b = a * 2
        del a, b
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def work():
    faults(2)
    before = [faults(5) for _ in range(3)]
    assert tune_malloc() and tune_malloc()
    faults(10)
    print(min(before), min(faults(5) for _ in range(3)))

if sys.argv[1] == "main":
    work()
else:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
@pytest.mark.parametrize("where", ["main", "thread"])
def test_page_faults_disappear(where: str) -> None:
    pytest.importorskip("torch")
    done = subprocess.run([sys.executable, "-c", SCRIPT, where], capture_output=True, text=True, check=True)
    before, after = (int(number) for number in done.stdout.split())
    # The least of three times: where small blocks came to lie among large ones, the heap grows by one tensor, once.
    pages = 5 * 2 * 64_000_000 // 4096  # what five rounds of two 64 MB tensors touch
    assert before > 0.5 * pages
    assert after < 0.02 * pages


def test_without_glibc_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert memory.tune_malloc.__wrapped__() is False
