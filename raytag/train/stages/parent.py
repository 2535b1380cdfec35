"""How an experiment names the one that it learns from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, SerializeAsAny

from raytag.experiment import Experiment


def _parent(value: Any) -> Any:
    if isinstance(value, Mapping | Experiment):
        return value
    if isinstance(value, str | Path):
        return stored(str(value))
    raise ValueError(f"give an Experiment, or the folder of one in a run (runs/RUN/experiments/ID), not {value!r}")


class StoredExperiment(Experiment):
    """One that a run holds: it stays as it was trained, whatever a launch sets."""

    settable: ClassVar[bool] = False

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Experiment) and self.fields() == other.fields()

    def __hash__(self) -> int:
        return hash(self.id)


def stored(folder: str) -> Experiment:
    """The experiment of a folder ``runs/RUN/experiments/ID``, or of its ``experiment.json``.

    Raises
    ------
    ValueError
        There is none.
    """
    from raytag.store.run import RunStore

    uri = folder.removesuffix("experiment.json").rstrip("/")
    run, mark, name = uri.rpartition("/experiments/")
    if not mark or "/" in name:
        raise ValueError(f"{folder!r} is no experiment of a run: give its folder, as runs/RUN/experiments/ID")
    try:
        store = RunStore.find(run if "://" in run else str(Path(run).absolute()), "")
        return StoredExperiment(**store.experiment(name).fields())
    except FileNotFoundError as error:
        raise ValueError(f"{folder!r}: {error}") from None


#: An `Experiment`; also given as the folder of one in a run.
Parent = Annotated[SerializeAsAny[Experiment], BeforeValidator(_parent)]
