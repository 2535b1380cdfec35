#!/usr/bin/env python3
"""Search the best ensemble of a run's complete experiments."""

from __future__ import annotations

import sys

from raytag.errors import explain_errors


def main() -> int:
    with explain_errors("an ensemble is written as a whole or not at all, and the runs are as they were"):
        import tyro

        from raytag.console import make_console
        from raytag.ensemble.options import EnsembleOptions

        options = tyro.cli(EnsembleOptions, prog="ensemble_search.py")
        from raytag.ensemble.command import ensemble_search  # takes seconds to import: --help should not

        return ensemble_search(options, make_console())


if __name__ == "__main__":
    sys.exit(main())
