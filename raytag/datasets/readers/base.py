"""What all readers share: clips from the rows of a table, with checked names and labels."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Protocol

from raytag.datasets.findings import Finding, Problems, some
from raytag.datasets.listing import AUDIO_SUFFIXES, ListedClip, Listing
from raytag.datasets.table import DatasetError
from raytag.datasets.tables.csv_file import CsvFile, read_csv
from raytag.datasets.tables.labels import how_labels, split_cells

__all__ = ["CsvFile", "ListedClip", "Listing", "Reader", "Tables", "audio_files", "csv_entries", "read_csv"]

#: Columns of a wide table that are no classes.
_FACTS = ("fold", "group")
_LONGEST = 255  # bytes of a file name on all usual disks
_TRUE, _FALSE = {"1", "1.0", "true"}, {"0", "0.0", "false", ""}


class Reader(Protocol):
    """One layout of a dataset folder."""

    @property
    def name(self) -> str: ...

    @property
    def expects(self) -> str:
        """One sentence that says which files make this layout; shown when no reader recognises a folder."""
        ...

    def recognises(self, directory: Path) -> bool: ...

    def read(self, directory: Path, separator: str | None = None) -> Listing:
        """Read the tables; ``separator`` of labels is None where it is to be recognised."""
        ...


@dataclass
class Tables:
    """What was understood of tables while they were read."""

    separator: str | None = None
    read_as: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def listing(
        self,
        layout: str,
        entries: list[ListedClip],
        classes: tuple[str, ...] | None = None,
        submission: tuple[str, ...] | None = None,
    ) -> Listing:
        """What a reader gives, with all that was noted here."""
        return Listing(layout, entries, classes, submission, tuple(self.read_as), tuple(self.findings))


def check_fname(fname: str) -> str:
    """What is wrong with a file name that must lie within its folder; "" when nothing is."""
    if not fname:
        return "the file name is empty"
    if any(len(part.encode()) > _LONGEST for part in fname.split("/")):
        return f"no file can have a name as long as {fname[:40]!r}…"
    windows = PureWindowsPath(fname)
    if PurePosixPath(fname).is_absolute() or windows.drive or windows.root or ".." in re.split(r"[/\\]", fname):
        return f"file name {fname!r} leaves the audio folder; names are relative to it and hold no '..'"
    return ""


def csv_entries(
    table: CsvFile,
    folder: str,
    subset: str,
    *,
    fname_column: str = "fname",
    label_column: str | None = "labels",
    classes: Collection[str] = (),
    tables: Tables | None = None,
) -> list[ListedClip]:
    """Clips of a table whose audio lies in ``folder``, "" being the dataset folder itself.

    Rows that differ in the label alone are joined. Of a table with labels the columns ``fold`` and ``group`` are
    taken up where they exist.

    Parameters
    ----------
    table : CsvFile
    folder, subset : str
    fname_column, label_column : str
        ``label_column`` None: a table without labels.
    classes : collection of str
        Classes that are known beforehand; their names may hold the separator of labels.
    tables : Tables, optional
        Has the separator of labels, and takes up what was understood.

    Raises
    ------
    DatasetError
        Names that leave the folder, clips that stand twice, labels that are empty or stand twice: all together.
    """
    tables = tables or Tables()
    (at_fname,) = table.require(fname_column)
    at_labels = table.require(label_column)[0] if label_column is not None else None
    labels: Sequence[tuple[str, ...]] = [()] * len(table.rows)
    how = ""
    if at_labels is not None:
        cells = [(line, cells[at_labels]) for line, cells in table.rows]
        labels, how = split_cells(table.path, cells, tables.separator, classes)
    tables.read_as.append(f"{table.path.name}: {table.read_as}{how_labels(how)}")
    return _clips(table, folder, subset, at_fname, labels, at_labels is not None, tables)


def wide_entries(table: CsvFile, folder: str, subset: str, fname_column: str, tables: Tables) -> list[ListedClip]:
    """Clips of a wide table: a column of zeros and ones a class. See `csv_entries`."""
    (at_fname,) = table.require(fname_column)
    classes = wide_classes(table, fname_column)
    labels, problems = [], Problems()
    for line, cells in table.rows:
        for name, at in classes.items():
            if cells[at].lower() not in _TRUE | _FALSE:
                problems.add(table.path, line, f"{name} is {cells[at]!r}; in a column of a class stand 0 and 1")
        labels.append(tuple(name for name, at in classes.items() if cells[at].lower() in _TRUE))
    problems.raise_any()
    tables.read_as.append(f"{table.path.name}: {table.read_as}; a column of 0 and 1 a class")
    return _clips(table, folder, subset, at_fname, labels, True, tables)


def wide_classes(table: CsvFile, fname_column: str) -> dict[str, int]:
    """Classes of a wide table, and their columns: all but the file name, and those without a name."""
    skipped = (fname_column, *_FACTS)
    return {name: i for i, name in enumerate(table.columns) if name and name.casefold() not in skipped}


def is_wide(table: CsvFile, fname_column: str) -> bool:
    """Whether a table has a column of zeros and ones for each of two classes or more, and any label at all."""
    columns = wide_classes(table, fname_column).values()
    values = {cells[at].lower() for _, cells in table.rows for at in columns}
    return len(columns) > 1 and values <= _TRUE | _FALSE and bool(values & _TRUE)


def _clips(
    table: CsvFile,
    folder: str,
    subset: str,
    at_fname: int,
    labels: Sequence[tuple[str, ...]],
    has_labels: bool,
    tables: Tables,
) -> list[ListedClip]:
    at_fold = at_group = None
    if has_labels:  # in a sample submission these names would be classes
        at_fold, at_group = table.column("fold"), table.column("group")
    entries: dict[str, ListedClip] = {}
    first_row: dict[str, tuple[str, ...]] = {}
    joined: list[str] = []
    problems = Problems()
    for (line, cells), own in zip(table.rows, labels, strict=True):
        fname = cells[at_fname]
        fault = check_fname(fname)
        if fault:
            problems.add(table.path, line, fault)
            continue
        clip = str(PurePosixPath(folder) / fname)
        fold = cells[at_fold] if at_fold is not None else None
        group = cells[at_group] if at_group is not None else None
        entry = ListedClip(fname, clip, subset, own, fold, group, table.path, line)
        first = entries.setdefault(clip, entry)
        first_row.setdefault(clip, cells)
        if first is entry:
            continue
        if not has_labels or _other_cells(cells, at_fname) == _other_cells(first_row[clip], at_fname):
            problems.add(table.path, line, f"{fname} already stands on line {first.line}")
        elif (fold, group) != (first.fold, first.group):
            problems.add(
                table.path,
                line,
                f"{fname} has another fold or group here than on line {first.line}: correct one of them",
            )
        else:
            entries[clip] = replace(first, labels=tuple(dict.fromkeys((*first.labels, *own))))
            joined.append(f"{fname} on lines {first.line} and {line}")
    problems.raise_any()
    if joined:
        text = some(joined, f"row of {table.path.name} joins", f"rows of {table.path.name} join")
        tables.findings.append(
            Finding("rows-joined", f"{text} an earlier row of the same clip: its labels are added")
        )
    return list(entries.values())


def _other_cells(cells: tuple[str, ...], but: int) -> tuple[str, ...]:
    return cells[:but] + cells[but + 1 :]


def audio_files(folder: Path) -> list[str]:
    """Names of the audio files directly in a folder, sorted; none where it does not exist."""
    if not folder.is_dir():
        return []
    return sorted(
        p.name for p in folder.iterdir() if p.suffix.lower() in AUDIO_SUFFIXES and not p.name.startswith(".")
    )


def some_exist(folder: Path, names: Sequence[str]) -> bool:
    return any((folder / name).is_file() for name in names)


def submission_classes(table: CsvFile) -> tuple[str, ...]:
    """Class order of a sample submission: its columns after the first, which is ``fname``."""
    if table.columns[0] != "fname":
        raise DatasetError(
            f"{table.path}:1: the first column is {table.columns[0]!r}, expected is fname, then the classes"
        )
    classes = table.columns[1:]
    if not classes:
        raise DatasetError(f"{table.path}:1: no classes; a column for each is expected after fname")
    if "" in classes:
        raise DatasetError(f"{table.path}:1: '' cannot name a class; a column for each is expected after fname")
    return classes
