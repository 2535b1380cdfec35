"""Damaged recordings, cache files and folds by the hundred: used, refused with a reason or made again, no crash."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.cli import environment
from tests.conftest import REPOSITORY


def fuzz(kind, count, folder):
    """What became of so many inputs."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.features.fuzzing", kind, str(count), str(folder)],
        cwd=REPOSITORY,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    print(kind, found)
    return found


@pytest.mark.long
def test_damaged_recordings_are_used_or_left_out_with_a_reason(tmp_path):
    found = fuzz("audio", 1400, tmp_path)
    assert sum(found.values()) == 1400
    assert found["used"] > 100
    assert {"unreadable", "truncated", "too_large"} <= set(found)


@pytest.mark.long
def test_nothing_of_a_damaged_cache_is_believed(table, run, tmp_path):
    run(table)
    found = fuzz("cache", 400, tmp_path / "cache")
    assert found["bank damaged"] > 50
    assert found["noticed"] > 100


@pytest.mark.long
def test_a_damaged_fold_is_refused_and_one_of_before_never_ends_in_a_traceback(tmp_path):
    found = fuzz("fold", 600, tmp_path)
    assert sum(found.values()) == 600
    assert found["refused"] > 200
    assert found["passed over"] > 50
