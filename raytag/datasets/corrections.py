"""Corrections: a JSON file that removes training clips or gives them other labels.

``{"0a1b2c3d.wav": "remove", "4e5f6a7b.wav": "Bark,Growling"}`` is the form of argus-freesound's
``corrections.json``. A file speaks of one subset. Corrections change what a model is trained and stopped on;
predictions are always scored on all clips with their original labels.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from raytag.datasets.table import ClipTable, DatasetError, join_labels, multi_hot, split_labels
from raytag.datasets.tables.labels import fault_of

if TYPE_CHECKING:
    from raytag.experiment import CorrectionsFile

REMOVE = "remove"


@dataclass(frozen=True)
class Corrections:
    """A corrections file: what it says of each ``fname``, None meaning removal, and the line that says it."""

    path: str
    labels: Mapping[str, tuple[str, ...] | None]
    lines: Mapping[str, int]

    @classmethod
    def parse(cls, file: CorrectionsFile, classes: Sequence[str] | None) -> Corrections:
        """What a corrections file says; ``classes`` None: labels are looked at by their form alone.

        Raises
        ------
        DatasetError
            Its text is lost, not JSON of the form above, names a clip twice, or a label that is not in ``classes``.
        """
        path = file.file
        if file.text is None:
            raise DatasetError(
                f"the run lost its copy of the corrections {path}: put that file, as it was, back there"
            )
        text = file.text.removeprefix("\ufeff")
        try:
            pairs = json.loads(text, object_pairs_hook=tuple)
        except json.JSONDecodeError as error:
            raise DatasetError(f"{path}:{error.lineno}: not valid JSON: {error.msg}") from None
        form = 'expected is one object {"fname": "remove" or "label,label"}'
        if not isinstance(pairs, tuple):  # arrays are lists, objects tuples of pairs
            raise DatasetError(f"{path}:1: {form}")
        labels: dict[str, tuple[str, ...] | None] = {}
        lines: dict[str, int] = {}
        for fname, action in pairs:
            line = _line_of(text, fname)
            if fname in labels:
                raise DatasetError(f"{path}:{line}: {fname} stands twice in the file")
            if not isinstance(action, str) or not action.strip():
                raise DatasetError(f"{path}:{line}: {fname}: {form}, not {action!r}")
            lines[fname] = line
            labels[fname] = labels_in(action, classes, f"{path}:{line}: {fname}")
        return cls(path, labels, lines)


@dataclass(frozen=True)
class Correction:
    """What corrections mean for the rows of a table, rows ascending.

    Parameters
    ----------
    removed : np.ndarray [shape=(n_removed,), int64]
        Rows not to train on.
    relabelled : np.ndarray [shape=(n_relabelled,), int64]
        Rows with other labels; they may equal the original ones.
    targets : np.ndarray [shape=(n_relabelled, n_classes), float32]
        Their labels.
    """

    removed: np.ndarray
    relabelled: np.ndarray
    targets: np.ndarray


def labels_in(action: str, classes: Sequence[str] | None, where: str) -> tuple[str, ...] | None:
    """Labels that a correction gives, None where it removes.

    Raises
    ------
    DatasetError
        They are no labels, or not of ``classes`` where these are known; the message begins with ``where``.
    """
    if action == REMOVE:
        return None
    names = tuple(label.strip() for label in split_labels(action))
    fault = fault_of(names, action)
    unknown = [] if classes is None else [name for name in names if name not in classes]
    if unknown and not fault:
        fault = f"label {unknown[0]!r} is not one of the {len(classes or ())} classes"
    if fault:
        raise DatasetError(f"{where}: {fault}")
    return names


def apply(table: ClipTable, corrections: Corrections, subset: str) -> Correction:
    """Translate corrections to rows of ``table``.

    Names of clips that were dropped from the table (``ClipTable.drop``) are passed over.

    Raises
    ------
    DatasetError
        A name that the subset does not have.
    """
    rows = table.rows(subset)
    row_of = dict(zip(table.clips["fname"].to_numpy()[rows], rows.tolist(), strict=True))
    dropped = set(table.dropped["fname"][table.dropped["subset"] == subset])
    removed: list[int] = []
    relabelled: list[tuple[int, str]] = []
    for fname, labels in corrections.labels.items():
        if fname not in row_of:
            if fname in dropped:
                continue
            raise DatasetError(
                f"{corrections.path}:{corrections.lines[fname]}: no {subset} clip is named {fname!r}; "
                "names are those of the dataset's CSV, with their suffix"
            )
        if labels is None:
            removed.append(row_of[fname])
        else:
            relabelled.append((row_of[fname], join_labels(labels)))
    relabelled.sort()
    return Correction(
        removed=np.array(sorted(removed), dtype=np.int64),
        relabelled=np.array([row for row, _ in relabelled], dtype=np.int64),
        targets=multi_hot([text for _, text in relabelled], table.classes),
    )


def corrected_rows(table: ClipTable, file: CorrectionsFile, subset: str) -> Correction:
    """Rows of ``subset`` that a corrections file removes or relabels."""
    return apply(table, Corrections.parse(file, table.classes), subset)


def _line_of(text: str, fname: str) -> int:
    """Line of a key in JSON text, for messages; 1 where it is written with escapes."""
    at = text.find(f'"{fname}"')
    return text.count("\n", 0, max(at, 0)) + 1
