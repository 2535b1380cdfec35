"""What all readers share: CSV files read with line numbers, checked names and labels, and their result."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Protocol

from raytag.datasets.table import DatasetError

#: Files that a folder listing takes for audio (what libsndfile decodes).
AUDIO_SUFFIXES = frozenset(
    {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au", ".w64", ".caf"}
)


@dataclass(frozen=True)
class ListedClip:
    """One clip as a CSV file, or a folder listing, states it."""

    fname: str
    clip: str  # POSIX path relative to the dataset folder
    subset: str
    labels: tuple[str, ...] = ()
    fold: str | None = None  # as written; None where there is no such column
    group: str | None = None
    csv: Path | None = None  # where it stands
    line: int = 0


@dataclass(frozen=True)
class Listing:
    """What a reader gives: entries in their order of appearance, curated clips first, then noisy, then test.

    ``classes`` is None where the layout states no class order; ``submission`` is the order of ``fname`` in the
    sample submission.
    """

    layout: str
    entries: list[ListedClip]
    classes: tuple[str, ...] | None = None
    submission: tuple[str, ...] | None = None


class Reader(Protocol):
    """One layout of a dataset folder."""

    @property
    def name(self) -> str: ...

    @property
    def expects(self) -> str:
        """One sentence that says which files make this layout; shown when no reader recognises a folder."""
        ...

    def recognises(self, directory: Path) -> bool: ...

    def read(self, directory: Path) -> Listing: ...


class Problems:
    """Collects what is wrong in CSV files, so that one attempt shows more than the first fault."""

    SHOWN = 5

    def __init__(self) -> None:
        self._messages: list[str] = []

    def add(self, path: Path | None, line: int, message: str) -> None:
        self._messages.append(f"{path}:{line}: {message}")

    def raise_any(self) -> None:
        if self._messages:
            more = len(self._messages) - self.SHOWN
            tail = [f"… and {more} more"] if more > 0 else []
            raise DatasetError("\n".join(self._messages[: self.SHOWN] + tail))


@dataclass(frozen=True)
class CsvFile:
    """A CSV file: its header and its rows, each with the line on which it starts (the header is line 1)."""

    path: Path
    columns: tuple[str, ...]
    rows: list[tuple[int, tuple[str, ...]]]

    def column(self, name: str) -> int | None:
        """Position of a column, None where there is none."""
        return self.columns.index(name) if name in self.columns else None

    def require(self, *names: str) -> list[int]:
        """Positions of columns that must be there."""
        missing = [name for name in names if name not in self.columns]
        if missing:
            raise DatasetError(
                f"{self.path}:1: no column {' and no column '.join(missing)}; "
                f"the header is {','.join(self.columns)}"
            )
        return [self.columns.index(name) for name in names]


def read_csv(path: Path) -> CsvFile:
    """A UTF-8 CSV file with a header, cells stripped of outer blanks, blank lines skipped.

    Raises
    ------
    DatasetError
        Not UTF-8, badly quoted, no header, no rows, a column twice, or a row whose number of cells is not the
        header's; the message has file and line.
    """
    lines = _numbered(path)
    header = next(lines, None)
    if header is None:
        raise DatasetError(f"{path}:1: the file is empty; a header and at least one row are expected")
    columns = header[1]
    if len(set(columns)) < len(columns):
        twice = sorted({name for name in columns if columns.count(name) > 1})
        raise DatasetError(
            f"{path}:{header[0]}: column {' and '.join(map(repr, twice))} stands twice in the header"
        )
    rows, problems = [], Problems()
    for line, cells in lines:
        if len(cells) != len(columns):
            problems.add(
                path,
                line,
                f"{len(cells)} cells, but the header has {len(columns)} (a cell that holds commas must be quoted)",
            )
        rows.append((line, cells))
    problems.raise_any()
    if not rows:
        raise DatasetError(f"{path}: only a header; at least one row is expected")
    return CsvFile(path, columns, rows)


def peek_columns(path: Path) -> tuple[str, ...]:
    """The header of a CSV file, () where it cannot be read as one."""
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            return tuple(cell.strip() for cell in next(csv.reader(file), []))
    except (OSError, csv.Error):
        return ()


def _numbered(path: Path) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Rows of a CSV file that are not blank, each with the line on which it starts."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror}") from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DatasetError(
            f"{path}:{line}: not UTF-8 (byte 0x{data[error.start]:02x}); save the file with UTF-8 encoding"
        ) from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    line = 1
    try:
        for row in reader:
            cells = tuple(cell.strip() for cell in row)
            if any(cells):
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise DatasetError(f"{path}:{line}: {error}") from None


def check_fname(fname: str) -> str:
    """What is wrong with a file name that must lie within its folder; "" when nothing is."""
    if not fname:
        return "the file name is empty"
    windows = PureWindowsPath(fname)
    if PurePosixPath(fname).is_absolute() or windows.drive or windows.root or ".." in re.split(r"[/\\]", fname):
        return f"file name {fname!r} leaves the audio folder; names are relative to it and hold no '..'"
    return ""


def split_labels(text: str) -> tuple[tuple[str, ...], str]:
    """Labels of a cell and what is wrong with them; "" when nothing is."""
    labels = tuple(label.strip() for label in text.split(",")) if text else ()
    if "" in labels:
        return labels, f"an empty label in {text!r}"
    if len(set(labels)) < len(labels):
        return labels, f"a label stands twice in {text!r}"
    return labels, ""


def csv_entries(
    table: CsvFile,
    folder: str,
    subset: str,
    *,
    fname_column: str = "fname",
    label_column: str | None = "labels",
    labels_required: bool = False,
) -> list[ListedClip]:
    """Entries of a CSV file whose audio lies in ``folder``, "" being the dataset folder itself.

    Names that leave the folder, clips that stand twice, labels that are empty or stand twice are collected
    and raised together as a ``DatasetError``. Of a CSV with labels the columns
    ``fold`` and ``group`` are taken up where they exist.
    """
    (at_fname,) = table.require(fname_column)
    at_labels = table.require(label_column)[0] if label_column is not None else None
    at_fold = at_group = None
    if label_column is not None:  # in a sample submission these names would be classes
        at_fold, at_group = table.column("fold"), table.column("group")
    entries: list[ListedClip] = []
    first_line: dict[str, int] = {}
    problems = Problems()
    for line, cells in table.rows:
        fname = cells[at_fname]
        fault = check_fname(fname)
        if fault:
            problems.add(table.path, line, fault)
            continue
        clip = str(PurePosixPath(folder) / fname)
        if clip in first_line:
            problems.add(table.path, line, f"{fname} already stands on line {first_line[clip]}")
            continue
        first_line[clip] = line
        labels: tuple[str, ...] = ()
        if at_labels is not None:
            labels, fault = split_labels(cells[at_labels])
            if fault:
                problems.add(table.path, line, fault)
            elif labels_required and not labels:
                problems.add(table.path, line, f"{fname} has no label; every curated clip needs at least one")
        fold = cells[at_fold] if at_fold is not None else None
        group = cells[at_group] if at_group is not None else None
        entries.append(ListedClip(fname, clip, subset, labels, fold, group, table.path, line))
    problems.raise_any()
    return entries


def audio_files(folder: Path) -> list[str]:
    """Names of the audio files directly in a folder, sorted; none where it does not exist."""
    if not folder.is_dir():
        return []
    return sorted(
        p.name for p in folder.iterdir() if p.suffix.lower() in AUDIO_SUFFIXES and not p.name.startswith(".")
    )


def some_exist(folder: Path, names: Sequence[str]) -> bool:
    return any((folder / name).is_file() for name in names)
