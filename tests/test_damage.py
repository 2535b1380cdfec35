"""Faults drawn at random in the files of a run and its cache are made good or named; `tests.damage` draws more."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.cli import REPOSITORY, environment


@pytest.mark.long
def test_what_is_damaged_is_never_believed():
    drawn = subprocess.run(
        [sys.executable, "-m", "tests.damage", "--draws", "40", "--first", "5000"],
        cwd=REPOSITORY,
        env=environment() | {"RAY_AUTH_MODE": "disabled"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert drawn.returncode == 0, drawn.stdout + drawn.stderr
