"""What a search space holds: what it says of itself, its first experiments, and what varies.

    raytag space                         the spaces that there are, a line each
    raytag space argus_winners           one of them: its help, what comes first, what varies
    raytag space mine.py --json          the same of a file of yours, for scripts

Spaces are files of values in search_spaces/, under the current folder or beside launch.py; docs/argus.md and
docs/stages.md explain some that come with raytag. Experiments stand with the fields that differ from the defaults.
"""

from __future__ import annotations

import argparse
import ast
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from raytag.experiment import Experiment
    from raytag.space import Space


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("space", metavar="SPACE", nargs="?", help="its name, or the path of its file")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")


def run(arguments: argparse.Namespace) -> int:
    """List the spaces, or tell of one."""
    from raytag import space
    from raytag.console import make_console, say
    from raytag.space.files import find

    console = make_console()
    if arguments.space is None:
        summaries = {name: _summary(find(name)) for name in space.available()}
        if arguments.json:
            print(json.dumps(summaries, indent=2))
            return 0
        width = max(map(len, summaries), default=0)
        for name, summary in summaries.items():
            say(console, f"{name:{width}}  {summary}")
        return 0
    told = _told(space.load(arguments.space))
    if arguments.json:
        print(json.dumps(told, indent=2))
        return 0
    say(console, told["help"])
    for note in told["notes"]:
        say(console, note, style="yellow")
    for stage in ("earlier", "first"):
        for experiment in told[stage]:
            fields = ", ".join(f"{key}={value}" for key, value in experiment["differs"].items())
            say(console, f"{stage:8} {experiment['id']}  {fields}")
    for number, branch in enumerate(told["varies"]):
        for key, values in branch.items():
            say(console, f"varies   {f'[{number + 1}] ' if len(told['varies']) > 1 else ''}{key}  {values}")
    return 0


def _summary(path: Path) -> str:
    """The first line of a file's docstring; the file is not run."""
    try:
        return (ast.get_docstring(ast.parse(path.read_bytes())) or "").partition("\n")[0]
    except (SyntaxError, ValueError) as error:
        return f"{path} is no Python file: {error}"


def _told(chosen: Space) -> dict[str, Any]:
    return {
        "name": chosen.name,
        "file": chosen.path,
        "help": chosen.help,
        "notes": list(chosen.notes),
        "earlier": [_experiment(e) for e in chosen.earlier],
        "first": [_experiment(e) for e in chosen.firsts],
        "varies": [{key: str(values) for key, values in branch.vary.items()} for branch in chosen.branches],
    }


def _experiment(experiment: Experiment) -> dict[str, Any]:
    """What tells it from an experiment of defaults; an earlier one by its identity."""
    from raytag.experiment import FAMILIES
    from raytag.experiment import Experiment as Known
    from raytag.space import plain

    differs = {}
    for name, part in experiment.all_parts().items():
        for field in FAMILIES[name].identity(part) if name in FAMILIES else part.chosen():
            value = getattr(part, field)
            differs[f"{name}.{field}"] = value.id if isinstance(value, Known) else plain(value)
    return {"id": experiment.id, "stage": experiment.stage, "differs": differs}
