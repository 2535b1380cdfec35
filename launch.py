#!/usr/bin/env python3
"""Train fold × experiment trials of a search space on Ray."""

from __future__ import annotations

import sys

import tyro

from raytag.console import make_console
from raytag.errors import explain_errors
from raytag.search.options import LaunchOptions


def main() -> int:
    options = tyro.cli(LaunchOptions, prog="launch.py")
    try:
        with explain_errors():
            from raytag.search.start import start  # --help need not wait for it

            return start(options, make_console())
    except KeyboardInterrupt:
        print("interrupted: what is finished is kept, the same command goes on from there", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
