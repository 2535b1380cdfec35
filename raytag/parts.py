"""Parts of an experiment, and the families that some of them are chosen from by name.

A part is a frozen group of fields. Where there are several ways to do its job (networks, losses, optimizers,
schedules, inputs), each way is a class of its own that declares its own fields beside the code that they configure,
and the part is one of them: ``name`` chooses the class, ``--set model.name=X`` takes X's defaults for what is not
said. A family's members stand in a table, name -> ``"module:Class"``, so that listing the names imports nothing.

A part's module is imported where an experiment is read, so it should import quickly: what needs torch imports it
inside `Network.build` and the like. A member that does not costs its users two seconds, no more.
"""

from __future__ import annotations

import difflib
import importlib
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Generic, Literal, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, ValidationError, model_serializer

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


@dataclass(frozen=True)
class Needs:
    """Marks a field that only some data can use: what they must have, and the value that does without it."""

    what: str
    neutral: Any


class Part(BaseModel):
    """A frozen group of fields; unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)

    def fields(self) -> dict[str, Any]:
        """The fields by name, as they are."""
        return {field: getattr(self, field) for field in type(self).model_fields}

    def chosen(self) -> dict[str, Any]:
        """The fields that differ from their declared defaults, as JSON values: what identity is made of."""
        plain = self.model_dump(mode="json")
        declared = type(self).model_fields
        return {
            field: plain[field]
            for field, value in self.fields().items()
            if declared[field].is_required() or value != declared[field].get_default(call_default_factory=True)
        }


class Member(Part):
    """A part that is chosen from a family; its class is called what the table calls it.

    Attributes
    ----------
    worth_varying : mapping of str to Distribution
        Fields, and the ranges in which a search may expect gains (`raytag.space.worth_varying`).
    """

    worth_varying: ClassVar[Mapping[str, Any]] = {}

    @property
    def name(self) -> str:
        """What chooses this class."""
        return type(self).__name__

    @model_serializer(mode="wrap")
    def _with_name(self, fields: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {"name": self.name, **fields(self)}


class Input(Member):
    """The fields of an input: how the features of clips become what a network sees."""


class Network(Member):
    """The fields of a network."""

    @abstractmethod
    def build(self, num_classes: int) -> nn.Module:
        """The network with fresh weights, drawn from torch's global generator."""


class Loss(Member):
    """The fields of a loss, and the loss itself."""

    #: weights of the outputs of a network with auxiliary heads: main output first, then deep to shallow
    aux_weights: tuple[Annotated[float, Field(ge=0)], ...] = (1.0, 0.4, 0.2, 0.1)

    @abstractmethod
    def __call__(self, logits: Tensor, targets: Tensor, noisy: Tensor) -> Tensor:
        """Logits (B, C), targets (B, C), noisy (B,) bool -> scalar."""


class Optimizer(Member):
    """One of torch's optimizers, by its own name and with its own fields."""

    lr: float = Field(9e-4, gt=0)  # Plateau: the start; OneCycle: the peak
    weight_decay: float = Field(0.0, ge=0)

    @abstractmethod
    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """torch's optimizer of these parameters."""


class Rate(Protocol):
    """The learning rate as a state machine: a pure function of the step and of the metrics seen so far."""

    def lr_at(self, step: int) -> float:
        """Rate of a step, counted from 0 over the whole training."""
        ...

    def epoch_end(self, metric: float) -> None:
        """Take note of an epoch's validation metric (larger is better)."""
        ...

    def state(self) -> dict[str, Any]:
        """What `load` needs, as JSON values."""
        ...

    def load(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state` returned."""
        ...


class Schedule(Member):
    """The fields of a learning-rate schedule.

    Attributes
    ----------
    open_ended : bool
        Whether the rate of a step is the same however many epochs the training has. Then a longer training begins
        with the very steps of a shorter one, and may go on from its last checkpoint (`raytag.train.twins`).
    """

    open_ended: ClassVar[bool]

    @abstractmethod
    def start(self, lr: float, total_steps: int) -> Rate:
        """The rate of a training of ``total_steps``; ``lr`` is where it starts or peaks."""


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


def resolve(target: str) -> Any:
    """What ``module:name`` means; the module is imported now, so that a table of names costs nothing."""
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


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
