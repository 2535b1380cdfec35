"""Named families of classes: a network or a loss is chosen by a string and built from an experiment's fields.

A table maps names to ``"module:Class"``, so that listing the names imports nothing. Experiments carry the fields of
the whole family (`raytag.experiment.Loss` has a ``beta`` for one loss and a ``q`` for another), so each class is
given those that its constructor takes, and only a field that no class of the family takes is an error.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal


def resolve(target: str) -> Any:
    """What ``module:name`` means; the module is imported now, so that a table of names costs nothing."""
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


def pick(what: str, table: Mapping[str, str], name: str) -> Any:
    """The class of that name, ignoring case and underscores.

    Parameters
    ----------
    what
        What the table holds, for messages: ``"model"``.
    table
        Name -> ``"module:Class"``.
    name
        As it stands in an experiment.

    Raises
    ------
    ValueError
        No such name; the nearest are given, or all of them.
    """
    plain = {_plain(known): known for known in table}
    if _plain(name) in plain:
        return resolve(table[plain[_plain(name)]])
    near = [plain[key] for key in difflib.get_close_matches(_plain(name), list(plain), n=2)]
    raise ValueError(f"no {what} is called {name!r}; {_hint(near, table)}")


def build(
    what: str, table: Mapping[str, str], name: str, fields: Mapping[str, Any], *, also: Iterable[str] = ()
) -> Any:
    """An instance of the class of that name, given those of the fields that its constructor takes.

    Parameters
    ----------
    what, table, name
        As in `pick`.
    fields
        Constructor arguments of any class of the table.
    also
        Further fields that are known but are the caller's business.

    Raises
    ------
    ValueError
        As `pick`; or a field that no class of the table takes (the nearest are given).
    """
    chosen = pick(what, table, name)
    families = [set(inspect.signature(resolve(target)).parameters) for target in table.values()]
    known = sorted(set(also).union(*families))
    for field in fields:
        if field not in known:
            near = difflib.get_close_matches(field, known, n=2)
            raise ValueError(f"no {what} has a field {field!r}; {_hint(near, known)}")
    taken = inspect.signature(chosen).parameters
    return chosen(**{field: value for field, value in fields.items() if field in taken})


def choice_of(table: Mapping[str, Any], words: str = "", *also: str) -> Any:
    """The type of a command line's option that names a member of a table.

    Parameters
    ----------
    table
        Name -> whatever has a sentence ``about`` itself, which stands in the help.
    words
        What the help begins with.
    also
        Further names, which ``words`` explain.
    """
    import tyro

    about = words + "; ".join(f"{name}: {member.about}" for name, member in table.items())
    return Annotated[Literal[*also, *table], tyro.conf.arg(help=about)]


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def _hint(near: list[str], known: Iterable[str]) -> str:
    return f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(known)}"
