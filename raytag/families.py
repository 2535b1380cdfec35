"""Families: all the ways to do one job, chosen by name, and what is said where a choice is wrong.

A family's members stand in a table, name -> ``"module:Class"``, so that listing the names imports nothing.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import ValidationError

from raytag.parts import Member, resolve

M = TypeVar("M", bound=Member)

#: Between the name of a plugin's class and its plugin's hash: ``MyNet@1a2b3c4d`` (`raytag.plugins`).
SIGN = "@"
#: Hashes of the plugins whose classes may be called without it; None: of all that are loaded.
_in_reach: ContextVar[Collection[str] | None] = ContextVar("in_reach", default=None)


class Family(Generic[M]):
    """All the ways to do one job, and the one that is taken where nothing is said.

    ``family(name, field=value)`` makes a member.

    Parameters
    ----------
    base : class
        What all members are.
    what : str
        What a member is called in messages: ``"model"``.
    table : str
        ``"module:TABLE"`` of a mapping from name to ``"module:Class"``.
    default : str
        A name of the table.

    Attributes
    ----------
    brought : dict of str to class
        What plugins brought (`raytag.plugins`), by the whole name.
    """

    def __init__(self, base: type[Any], what: str, table: str, default: str) -> None:
        self.base, self.what, self.default = base, what, default
        self._table = table
        self.brought: dict[str, type[M]] = {}

    @property
    def table(self) -> Mapping[str, str]:
        """Name -> ``"module:Class"``."""
        table: Mapping[str, str] = resolve(self._table)
        return table

    def pick(self, name: str) -> type[M]:
        """The class of that name, ignoring case and underscores; one of a plugin by its whole name, or in `reach`.

        Raises
        ------
        ValueError
            No such name (the nearest are given, or all of them), or one that several plugins have.
        """
        wanted, plain = plain_name(str(name)), {plain_name(known): known for known in self.table}
        if wanted in plain:
            found: type[M] = resolve(self.table[plain[wanted]])
            return found
        reach = _in_reach.get()
        near_by = {f: cls for f, cls in self.brought.items() if reach is None or f.partition(SIGN)[2] in reach}
        called = [full for full, cls in near_by.items() if plain_name(cls.__name__) == wanted]
        called += [full for full in self.brought if plain_name(full) == wanted]
        if len(called) == 1:
            return self.brought[called[0]]
        if called:
            raise ValueError(f"{self.what} {name!r} may be {' or '.join(called)}: give the whole name")
        if SIGN in wanted:
            raise ValueError(
                f"no {self.what} is called {name!r} here: it is of a plugin, and no file with that content is "
                "loaded; name the file in PLUGINS of the space"
            )
        plain |= {plain_name(cls.__name__): cls.__name__ for cls in near_by.values()}
        near = [plain[key] for key in difflib.get_close_matches(wanted, list(plain), n=2)]
        raise ValueError(f"no {self.what} is called {name!r}; {hint(near, plain.values())}")

    def __call__(self, name: str | None = None, **fields: Any) -> M:
        """The member of that name with these fields, the others at their defaults.

        Raises
        ------
        ValueError
            As `pick`; a field that the member does not have (who has it is said), or a value that it does not take.
        """
        chosen = self.pick(self.default if name is None else name)
        for field in fields:
            if field not in chosen.model_fields:
                raise ValueError(self._no_field(chosen, field))
        try:
            return chosen(**fields)
        except ValidationError as error:
            raise ValueError(explain(error, self.what)) from None

    def parse(self, value: Any) -> M:
        """A member from itself or from a mapping of ``name`` and fields."""
        if isinstance(value, Mapping):
            return self(**value)
        if isinstance(value, Member) and self.pick(value.name) is type(value):
            return value
        raise ValueError(
            f"{self.what}: give a {self.what} of raytag or of a plugin, or a mapping of its name and "
            f"fields: {value!r}"
        )

    def identity(self, part: M) -> dict[str, Any]:
        """What differs from the default member, as JSON values: the fields, and the name of another one."""
        return ({} if part.name == self.default else {"name": part.name}) | part.chosen()

    def changed(self, part: M, changes: Mapping[str, Any]) -> M:
        """The part with other fields; another ``name`` takes the defaults of its class for what is not said."""
        if "name" in changes and self.pick(changes["name"]) is not type(part):
            return self(**changes)
        return self(**{"name": part.name, **part.fields(), **changes})

    def _no_field(self, chosen: type[M], field: str) -> str:
        own = list(chosen.model_fields)
        others = [name for name, target in self.table.items() if field in resolve(target).model_fields]
        words = f"the {self.what} {chosen.__name__} has no field {field!r}"
        if others:
            return f"{words}; {' and '.join(others)} {'has' if len(others) == 1 else 'have'} it"
        near = [f"{self.what}.{name}" for name in difflib.get_close_matches(field, own, n=2)]
        return f"{words}; {hint(near, own)}"


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


def explain(error: ValidationError, part: str = "") -> str:
    """What pydantic found, a clause for each fault, with the dotted key."""
    lines = []
    for item in error.errors():
        key = ".".join(str(place) for place in ([part] if part else []) + list(item["loc"]))
        text = item["msg"].removeprefix("Value error, ")
        words = text if text.startswith(key) else f"{key or 'experiment'}: {text}"
        # a fault of several fields names them itself; pydantic would give the whole part
        lines.append(words if isinstance(item["input"], Mapping) else f"{words} (given: {item['input']!r})")
    return "; ".join(lines)


def hint(near: list[str], known: Iterable[str]) -> str:
    """What else a name may have meant."""
    return f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(known)}"


def plain_name(name: str) -> str:
    """A name without what makes no difference: case and underscores."""
    return name.replace("_", "").lower()


@contextmanager
def reach(hashes: Iterable[str], *, alone: bool = False) -> Iterator[None]:
    """Meanwhile the classes of these plugins may be called without the hash; beside those that may, or ``alone``.

    Outside of this any plugin that is loaded may.
    """
    token = _in_reach.set({*hashes} if alone else {*hashes, *(_in_reach.get() or ())})
    try:
        yield
    finally:
        _in_reach.reset(token)
