"""The console of the command lines, and how they write times."""

from __future__ import annotations

import math
import os
import sys

from rich.console import Console

PLAIN_WIDTH = 160  # columns where there is no terminal to ask: tables in a log file should not be cut


def make_console() -> Console:
    """Standard output: as wide as the terminal, wide enough for tables elsewhere."""
    if sys.stdout.isatty() or "COLUMNS" in os.environ:
        return Console()
    return Console(width=PLAIN_WIDTH)


def duration(seconds: float | None) -> str:
    """``75`` → ``1:15``, ``4000`` → ``1:06:40``; None → ``?``."""
    if seconds is None or not math.isfinite(seconds):
        return "?"
    whole = round(seconds)
    hours, minutes = whole // 3600, whole % 3600 // 60
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"
