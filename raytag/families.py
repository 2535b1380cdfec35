"""Families: all the ways to do one job, chosen by name, and what is said where a choice is wrong.

A family's members stand in a table, name -> ``"module:Class"``, so that listing the names imports nothing.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import ValidationError

from raytag.parts import Member, resolve

M = TypeVar("M", bound=Member)


class Family(Generic[M]):
    """All the ways to do one job, and the one that is taken where nothing is said.

    ``family(name, field=value)`` makes a member.

    Parameters
    ----------
    what : str
        What a member is called in messages: ``"model"``.
    table : str
        ``"module:TABLE"`` of a mapping from name to ``"module:Class"``.
    default : str
        A name of the table.
    """

    def __init__(self, what: str, table: str, default: str) -> None:
        self.what, self.default = what, default
        self._table = table

    @property
    def table(self) -> Mapping[str, str]:
        """Name -> ``"module:Class"``."""
        table: Mapping[str, str] = resolve(self._table)
        return table

    def pick(self, name: str) -> type[M]:
        """The class of that name, ignoring case and underscores.

        Raises
        ------
        ValueError
            No such name; the nearest are given, or all of them.
        """
        plain = {_plain(known): known for known in self.table}
        if _plain(str(name)) in plain:
            found: type[M] = resolve(self.table[plain[_plain(str(name))]])
            return found
        near = [plain[key] for key in difflib.get_close_matches(_plain(str(name)), list(plain), n=2)]
        raise ValueError(f"no {self.what} is called {name!r}; {hint(near, self.table)}")

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
            f"{self.what}: give a {self.what} of raytag or a mapping of its name and fields: {value!r}"
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


def _plain(name: str) -> str:
    return name.replace("_", "").lower()
