"""The command ``raytag``: what is asked of runs that exist, one file a subcommand.

A subcommand is a row of `COMMANDS` and a module with ``add_arguments(parser)`` and ``run(arguments)``, which
returns the exit code; ``KEPT`` says what is left of a long one that is stopped half-way. Its docstring is its help.
Until arguments are parsed nothing that takes time is imported: help must come at
once, so ``run`` imports what it needs. Imports of raytag whatever lies below: everything.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import sys
from collections.abc import Sequence

from raytag import __version__
from raytag.errors import explain_errors

#: Name: the module, and what it does in a line.
COMMANDS = {
    "check": ("raytag.cli.check", "what raytag understands of a folder of recordings, and what looks wrong in it"),
    "explain": ("raytag.cli.explain", "every decision of a run's race with its reason, decided again from the log"),
    "labels": ("raytag.cli.labels", "which labels to trust: noisy clips rated, corrections listed, merged, made"),
    "plugin": ("raytag.cli.plugin", "what a file of your own brings, and whether it keeps what trainings rely on"),
    "predict": ("raytag.cli.predict", "what a run says of recordings that it never saw, as CSV or Parquet"),
    "preview": ("raytag.cli.preview", "training samples before and after augmentation, as pictures and sounds"),
    "prune": ("raytag.cli.prune", "free the disk from weights and checkpoints that no ensemble needs"),
    "score": ("raytag.cli.score", "lwlrap of a run or a submission by class; what leaderboards said beside CV"),
    "space": ("raytag.cli.space", "what a search space says of itself, what it draws first, and what varies in it"),
    "status": ("raytag.cli.status", "what runs now, what finished, was dropped and why, and the disk it uses"),
    "verify": ("raytag.cli.verify", "whether all that a run holds is what was written"),
    "windows": ("raytag.cli.windows", "out-of-fold probabilities of each tile of a clip, beside the clip's"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand; the exit code is 2 where the user can mend what is wrong.

    Parameters
    ----------
    arguments : sequence of str, optional
        Instead of those of the command line.
    """
    name, *rest = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if name in ("-h", "--help", "--version"):
        print(f"raytag {__version__}" if name == "--version" else _help())
        return 0
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(COMMANDS)}"
        print(f"error: there is no command {name!r}; {hint} (raytag --help)", file=sys.stderr)
        return 2
    module = importlib.import_module(COMMANDS[name][0])
    parser = argparse.ArgumentParser(
        f"raytag {name}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    module.add_arguments(parser)
    options = parser.parse_args(rest)
    with explain_errors(getattr(module, "KEPT", "")):
        return int(module.run(options))


def _help() -> str:
    width = max(map(len, COMMANDS))
    rows = [f"  {name:{width}}  {words}" for name, (_, words) in COMMANDS.items()]
    return "\n".join(["usage: raytag COMMAND …", "", *rows, "", "raytag COMMAND --help explains its options."])
