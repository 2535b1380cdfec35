"""Run raytag's commands as users do, in processes of their own with Ray's own defaults; or, which takes a fraction
of the time, in this process on the Ray of the tests."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
SMALL = ["--set", "model.base_size=4", "--set", "input.crop_frames=64", "--set", "training.batch_size=4"]


def environment() -> dict[str, str]:
    """The caller's environment without what test sessions set for Ray."""
    ray = {"RAY_AUTH_MODE", "RAY_DEDUP_LOGS", "RAY_ADDRESS"}
    return {k: v for k, v in os.environ.items() if k not in ray} | {"COLUMNS": "200", "PYTHONUNBUFFERED": "1"}


def start(script: str, *arguments: str | Path, cwd: Path) -> subprocess.Popen[str]:
    """Start ``python script arguments`` in ``cwd``."""
    return subprocess.Popen(
        [sys.executable, str(REPOSITORY / script), *map(str, arguments)],
        cwd=cwd,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(script: str, *arguments: str | Path, cwd: Path, timeout: float = 240) -> tuple[int, str]:
    """Exit code and everything printed."""
    process = start(script, *arguments, cwd=cwd)
    try:
        output, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        output, _ = process.communicate()
        raise AssertionError(f"{script} took longer than {timeout} s; it printed:\n{output}") from None
    return process.returncode, output


def call(script: str, *arguments: str | Path, cwd: Path) -> tuple[int, str]:
    """The same in this process; what needs Ray needs ``ray_session``. An error that is not explained is raised."""
    output = io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(output),
    ):
        patch.setattr(sys, "argv", [script, *map(str, arguments)])
        patch.setenv("COLUMNS", "200")
        patch.chdir(cwd)
        try:
            code = importlib.import_module(Path(script).stem).main()
        except SystemExit as end:
            code = end.code
    return code, output.getvalue()
