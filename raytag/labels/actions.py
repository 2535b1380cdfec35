"""What corrections say of clips: JSON corrections files and edited tables, merged into one file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from raytag.datasets.corrections import REMOVE, Corrections, labels_in
from raytag.datasets.table import DatasetError, join_labels
from raytag.datasets.tables.csv_file import read_csv
from raytag.experiment import CorrectionsFile

#: What is said of clips by fname: labels, or None to remove it.
Actions = dict[str, tuple[str, ...] | None]


def read_actions(path: Path, classes: Sequence[str] | None = None) -> Corrections:
    """A JSON corrections file, or a CSV with the columns fname and action.

    An action is ``remove`` or labels, separated by commas; rows without one say nothing.

    Parameters
    ----------
    path : Path
    classes : sequence of str, optional
        Labels have to be among these, where they are known.

    Raises
    ------
    ValueError
        It is neither, names a clip twice, or gives labels that are none; with file and line.
    """
    if path.suffix.lower() == ".json":
        file = CorrectionsFile.read(str(path))
        return Corrections.parse(file.model_copy(update={"file": str(path)}), classes)  # named as it was given
    table = read_csv(path)
    at_fname, at_action = table.require("fname", "action")
    labels: Actions = {}
    lines: dict[str, int] = {}
    for line, cells in table.rows:
        fname, action = cells[at_fname], cells[at_action]
        if not action:
            continue
        if fname in labels:
            raise DatasetError(f"{path}:{line}: {fname} has an action on line {lines[fname]} already")
        action = REMOVE if action.casefold() == REMOVE else action  # spreadsheets begin cells with a capital
        labels[fname] = labels_in(action, classes, f"{path}:{line}: {fname}")
        lines[fname] = line
    return Corrections(str(path), labels, lines)


class Conflict(NamedTuple):
    """A clip of which files say different things: ``FILE:LINE says Bark`` each, in the order of the files."""

    fname: str
    said: tuple[str, ...]


def merge(files: Sequence[Corrections], prefer: str = "first") -> tuple[Actions, list[Conflict]]:
    """All that files say, and where they disagree: there the ``first`` or the ``last`` file holds.

    Labels in another order are the same labels.

    Returns
    -------
    actions : dict
        By fname, sorted.
    conflicts : list of Conflict
        By fname.
    """
    said: dict[str, list[Corrections]] = {}
    for file in files:
        for fname in file.labels:
            said.setdefault(fname, []).append(file)
    actions: Actions = {}
    conflicts = []
    for fname, own in sorted(said.items()):
        actions[fname] = own[0 if prefer == "first" else -1].labels[fname]
        meant = {None if (labels := file.labels[fname]) is None else frozenset(labels) for file in own}
        if len(meant) > 1:
            words = [f"{f.path}:{f.lines[fname]} says {in_words(f.labels[fname])}" for f in own]
            conflicts.append(Conflict(fname, tuple(words)))
    return actions, conflicts


def in_words(labels: Sequence[str] | None) -> str:
    """An action as corrections files have it."""
    return REMOVE if labels is None else join_labels(labels)


def as_json(actions: Mapping[str, Sequence[str] | None]) -> bytes:
    """A corrections file (`raytag.datasets.corrections`), a clip a line."""
    text = json.dumps({fname: in_words(own) for fname, own in actions.items()}, indent=2, ensure_ascii=False)
    return f"{text}\n".encode()


def read_scores(path: Path) -> tuple[dict[str, tuple[str, ...]], NDArray[np.float64], NDArray[np.float64]]:
    """A CSV with the columns fname, labels, score and perhaps margin: labels of each clip, and both in its order.

    Without margins they are the scores.

    Raises
    ------
    ValueError
        It is none, names a clip twice, or has labels or numbers that are none; with file and line.
    """
    table = read_csv(path)
    at_fname, at_labels, at_score = table.require("fname", "labels", "score")
    numbers = {"score": at_score}
    if "margin" in table.columns:
        numbers["margin"] = table.columns.index("margin")
    labels: dict[str, tuple[str, ...]] = {}
    found: dict[str, list[float]] = {name: [] for name in numbers}
    for line, cells in table.rows:
        where = f"{path}:{line}: {cells[at_fname]}"
        if cells[at_fname] in labels:
            raise DatasetError(f"{where} stands twice in the file")
        own = labels_in(cells[at_labels], None, where)
        if not own:
            raise DatasetError(f"{where}: labels are expected, not {cells[at_labels]!r}")
        for name, at in numbers.items():
            try:
                number = float(cells[at])
            except ValueError:
                number = float("nan")
            if not np.isfinite(number):
                raise DatasetError(f"{where}: the {name} {cells[at]!r} is no number")
            found[name].append(number)
        labels[cells[at_fname]] = own
    return labels, np.array(found["score"]), np.array(found.get("margin", found["score"]))
