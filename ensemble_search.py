#!/usr/bin/env python3
"""Search the best ensemble of a run's complete experiments."""

from __future__ import annotations

import sys

import tyro

from raytag.console import make_console
from raytag.ensemble.options import EnsembleOptions
from raytag.errors import explain_errors


def main() -> int:
    options = tyro.cli(EnsembleOptions, prog="ensemble_search.py")
    with explain_errors():
        from raytag.ensemble.command import ensemble_search  # takes seconds to import: --help should not

        try:
            return ensemble_search(options, make_console())
        except KeyboardInterrupt:
            print("interrupted: no ensemble was written", file=sys.stderr)
            return 130


if __name__ == "__main__":
    sys.exit(main())
