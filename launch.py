#!/usr/bin/env python3
"""Train fold × experiment trials of a search space on Ray."""

from __future__ import annotations

import sys

from raytag.errors import explain_errors


def main() -> int:
    with explain_errors("finished folds, checkpoints and computed features are kept"):
        import tyro

        from raytag.console import make_console
        from raytag.search.options import LaunchOptions

        options = tyro.cli(LaunchOptions, prog="launch.py")
        from raytag.search.start import start  # --help need not wait for it

        return start(options, make_console())


if __name__ == "__main__":
    sys.exit(main())
