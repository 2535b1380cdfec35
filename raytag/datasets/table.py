"""The table of clips: what every reader gives and everything else of raytag takes."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from raytag.datasets.findings import DatasetError, Finding

SUBSETS = ("curated", "noisy", "test")

#: Columns of ``ClipTable.clips`` and how pandas holds them.
COLUMNS = {
    "clip": "str",
    "fname": "str",
    "path": "str",
    "labels": "str",
    "subset": "str",
    "fold": "int64",
    "group": "str",
    "duration": "float64",
    "rate": "int64",
}


def _empty() -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(dtype=dtype) for name, dtype in COLUMNS.items()})


def fingerprint(classes: Sequence[str], clips: pd.DataFrame) -> str:
    """16 hexadecimal digits that change with clip ids, labels, subsets, folds, groups, classes and order.

    Audio, its place on the disk and the machine do not enter.
    """
    content = [list(classes), *(clips[name].tolist() for name in ("clip", "labels", "subset", "fold", "group"))]
    return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode()).hexdigest()[:16]


@dataclass(frozen=True, eq=False)
class ClipTable:
    """All clips of a dataset, one row a clip.

    Parameters
    ----------
    clips : pd.DataFrame
        RangeIndex; the columns are

        ========  =======  ==================================================================
        clip      str      unique identity: POSIX path relative to the dataset folder
        fname     str      file name as the dataset's CSV has it
        path      str      absolute path
        labels    str      as `join_labels` joins them, in class order; "" for test and unlabelled clips
        subset    str      "curated", "noisy" or "test"
        fold      int64    0..n_folds-1 for curated clips, -1 for all others
        group     str      clips that must stay in one fold; "" is a group of its own
        duration  float64  seconds, NaN where the file is missing or unreadable
        rate      int64    Hz, 0 where the file is missing or unreadable
        ========  =======  ==================================================================
    classes : tuple of str
        Class order of targets, predictions and submissions.
    directory : Path
        The dataset folder, absolute.
    layout : str
        Name of the reader that recognised it.
    submission : tuple of str, optional
        ``fname`` in the order of the sample submission. It keeps names whose clips were dropped.
    dropped : pd.DataFrame
        Rows that ``drop`` took out, with the same columns.
    findings : tuple of Finding
        What is odd in the tables and recordings.
    read_as : tuple of str
        How each table was read.
    """

    clips: pd.DataFrame
    classes: tuple[str, ...]
    directory: Path
    layout: str
    submission: tuple[str, ...] | None = None
    dropped: pd.DataFrame = field(default_factory=_empty)
    findings: tuple[Finding, ...] = ()
    read_as: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        missing = [name for name in COLUMNS if name not in self.clips.columns]
        if missing:
            raise DatasetError(
                f"a table of clips needs the columns {', '.join(COLUMNS)}; missing: {', '.join(missing)}"
            )
        if not isinstance(self.clips.index, pd.RangeIndex) or self.clips.index.start != 0:
            raise DatasetError("a table of clips needs the row numbers 0, 1, … as its index (reset_index)")
        if self.clips["clip"].duplicated().any():
            twice = self.clips["clip"][self.clips["clip"].duplicated()].iloc[0]
            raise DatasetError(f"clip {twice} stands twice in the table")

    def __len__(self) -> int:
        return len(self.clips)

    @property
    def n_folds(self) -> int:
        """Number of folds; they are numbered 0..n_folds-1."""
        return int(self.clips["fold"].max()) + 1 if len(self.clips) else 0

    def rows(self, subset: str) -> np.ndarray:
        """Row numbers of a subset in table order, int64."""
        if subset not in SUBSETS:
            raise DatasetError(f"no such subset: {subset!r}; there are {', '.join(SUBSETS)}")
        return np.flatnonzero((self.clips["subset"] == subset).to_numpy()).astype(np.int64)

    def targets(self, rows: np.ndarray | None = None) -> np.ndarray:
        """Labels as zeros and ones, float32 of shape (n, n_classes), for all rows or the given ones."""
        labels = self.clips["labels"].to_numpy(dtype=object)
        return multi_hot(labels if rows is None else labels[rows], self.classes)

    def fingerprint(self) -> str:
        """See `fingerprint`."""
        return fingerprint(self.classes, self.clips)

    def drop(self, clip_ids: Collection[str]) -> ClipTable:
        """The table without these clips, rows renumbered; the class list stays as it is.

        Raises
        ------
        DatasetError
            An unknown clip, or a fold that would have no clip left.
        """
        names = set(clip_ids)
        unknown = sorted(names - set(self.clips["clip"]))
        if unknown:
            raise DatasetError(f"cannot drop {unknown[0]}: no such clip in {self.directory}")
        gone = self.clips["clip"].isin(names)
        kept = self.clips[~gone].reset_index(drop=True)
        lost = sorted(set(self.clips["fold"]) - set(kept["fold"]) - {-1})
        if lost:
            raise DatasetError(
                f"none of the clips of fold {lost[0]} in {self.directory} is usable; look at the reasons that the "
                "feature cache gives, or make other folds (n_folds, fold_method)"
            )
        dropped = pd.concat([self.dropped, self.clips[gone]], ignore_index=True)
        return replace(self, clips=kept, dropped=dropped)


def join_labels(labels: Sequence[str]) -> str:
    """Labels as one text, separated by commas; a name that holds a comma or a quote is quoted as in a CSV."""
    if not any("," in label or '"' in label for label in labels):
        return ",".join(labels)
    return ",".join('"' + label.replace('"', '""') + '"' if re.search('[,"]', label) else label for label in labels)


def split_labels(text: str) -> tuple[str, ...]:
    """The labels that `join_labels` joined."""
    if '"' in text:
        return tuple(next(csv.reader([text], skipinitialspace=True)))
    return tuple(text.split(",")) if text else ()


def group_names(groups: Iterable[str]) -> NDArray[np.object_]:
    """The group of each clip, object (n,); one without, "", is a group of its own, whose name sorts first."""
    return np.array([group or f"\1{i}" for i, group in enumerate(groups)], dtype=object)


def multi_hot(labels: Collection[str], classes: tuple[str, ...]) -> np.ndarray:
    """Joined labels as float32 (n, n_classes); a label outside ``classes`` is a ``DatasetError``."""
    index = {name: i for i, name in enumerate(classes)}
    targets = np.zeros((len(labels), len(classes)), dtype=np.float32)
    for row, text in enumerate(labels):
        for label in split_labels(text):
            if label not in index:
                raise DatasetError(f"label {label!r} is not one of the {len(classes)} classes")
            targets[row, index[label]] = 1.0
    return targets
