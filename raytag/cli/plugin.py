"""What a plugin brings, and whether it keeps all that trainings rely on: the contracts of raytag.testing.

    raytag plugin my_net.py              every class with its fields, tried as its defaults build it
    raytag plugin my_net.py --json       the same for scripts

The file is imported, as a space with PLUGINS = ["my_net.py"] does: it runs as your own code. The exit code is 1
where a promise is broken, which is named, and 2 where the file cannot be imported.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from raytag.parts import Member
    from raytag.plugins import Plugin


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="a Python file with networks, losses, front ends, inputs, …")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Load, try and tell; 1 if anything is broken."""
    import json

    from raytag import plugins
    from raytag.console import make_console, say

    plugin = plugins.load(arguments.file)
    found = [_tried(plugin, family, cls) for family, classes in plugin.members.items() for cls in classes]
    broken = sum(member["broken"] is not None for member in found)
    if arguments.json:
        print(json.dumps({"file": plugin.file, "hash": plugin.hash, "members": found}, indent=2))
        return int(broken > 0)
    console = make_console()
    say(console, f"{arguments.file} @{plugin.hash}")
    for member in found:
        fields = ", ".join(f"{name}={value}" for name, value in member["fields"].items())
        say(console, f"  {member['family']:9} {member['name']}  {fields}")
        words, style = (f"ok {member['tried']}".rstrip(), "green") if member["broken"] is None else ("", "bold red")
        say(console, f"  {'':9} {words or 'broken: ' + member['broken']}", style=style)
    return int(broken > 0)


def _tried(plugin: Plugin, family: str, cls: type[Member]) -> dict[str, Any]:
    """A class as its defaults make it: what it was tried on, or which promise it breaks."""
    from pydantic import ValidationError

    from raytag import plugins
    from raytag.families import explain, reach

    told: dict[str, Any] = {"family": family, "name": cls.name, "fields": {}, "tried": "", "broken": None}
    try:
        with reach([plugin.hash], alone=True):  # a feature set beside an input is meant, whatever else is loaded
            member = cls()
            told["fields"] = {k: v for k, v in member.model_dump(mode="json").items() if k != "name"}
            told["tried"] = _check(family, member)
    except ValidationError as error:
        told["broken"] = f"cannot be made as its defaults are: {explain(error, family)}"
    except AssertionError as error:
        told["broken"] = str(error) or f"an assertion at {plugins.place(error)}"
    except Exception as error:
        where = f" ({own})" if (own := plugins.place(error)) else ""
        told["broken"] = f"{type(error).__name__}: {error}{where}"
    return told


def _check(family: str, member: Any) -> str:
    """Hold a member to the contract of its family; what it was tried on, in words."""
    from raytag.experiment import Features
    from raytag.testing.features import check_features
    from raytag.testing.front_ends import check_front_end
    from raytag.testing.inputs import check_input
    from raytag.testing.losses import check_loss
    from raytag.testing.models import check_network

    if family == "model":
        return f"on {check_network(member)}"
    if family == "front_end":
        return f"on {check_front_end(member)}"
    if family == "input":
        features = Features(member.reads)
        check_input(member, features)
        return f"with features {features.name}"
    if family == "loss":
        check_loss(member)
    elif family == "features":
        check_features(member)
    else:
        return "(made; there is no contract for it)"
    return ""
