"""A search outlives its nodes: one joins while it runs and is killed in the middle of a shard."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.cli import REPOSITORY, environment


@pytest.mark.long
def test_a_node_that_joins_gets_work_and_its_death_changes_no_bit(tmp_path):
    script = REPOSITORY / "benchmarks/speed/nodes.py"
    command = [script, "--models", "22", "--size", "6", "--clips", "300", "--late"]
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    first, last = re.findall(r"^(?:first|last) node: (\d+) shards begun, (\d+) ended$", done.stdout, re.M)
    (shards,) = re.findall(r"^(\d+) shards in [\d.]+ s; run again: \d+$", done.stdout, re.M)
    assert last == ("1", "0")
    assert first == (shards, shards)
    assert int(shards) > 4
    assert "a worker was lost" in done.stdout
    assert "the same 6 boards to the bit" in done.stdout
