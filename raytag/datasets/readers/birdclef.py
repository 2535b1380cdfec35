"""BirdCLEF (Kahl et al., *Overview of BirdCLEF*, CLEF 2021 and later): recordings from xeno-canto."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from raytag.datasets.findings import Finding, Problems, some
from raytag.datasets.listing import ListedClip, Listing
from raytag.datasets.readers.base import Tables, check_fname
from raytag.datasets.tables.csv_file import CsvFile, peek_columns, read_csv
from raytag.datasets.tables.labels import how_labels, split_cells

_TABLES = ("train_metadata.csv", "train.csv")
_FOLDERS = ("train_audio", "train_short_audio")
_POOR = 2.5  # rating, of 5


class BirdClef:
    """Primary and secondary labels of a recording are its labels; soundscapes are not read.

    Classes are those of the sample submission, else the primary labels. Secondary labels that are no class are
    left out, and counted.
    """

    name = "BirdCLEF"
    expects = (
        "train_metadata.csv or train.csv (primary_label, secondary_labels, filename, rating) and train_audio/ or "
        "train_short_audio/; optionally sample_submission.csv"
    )

    def recognises(self, directory: Path) -> bool:
        return _table(directory) is not None and any((directory / folder).is_dir() for folder in _FOLDERS)

    def read(self, directory: Path, separator: str | None = None) -> Listing:
        path = _table(directory)
        assert path is not None
        table, tables = read_csv(path), Tables(separator)
        at_primary, at_file = table.require("primary_label", "filename")
        primary = [cells[at_primary] for _, cells in table.rows]
        secondary, how = self._secondary(table, separator)
        tables.read_as.append(f"{path.name}: {table.read_as}{how_labels(how, 'secondary labels')}")
        classes = _classes(directory, primary)
        folder = next(folder for folder in _FOLDERS if (directory / folder).is_dir())
        first: dict[str, int] = {}
        entries, problems, outside = [], Problems(), []
        for (line, cells), own, more in zip(table.rows, primary, secondary, strict=True):
            # up to 2021 recordings lie in a folder of their primary label, which the table does not name
            fname = cells[at_file] if "/" in cells[at_file] else f"{own}/{cells[at_file]}"
            fault = check_fname(fname) or ("" if own else f"{fname} has no primary label")
            if not fault and fname in first:
                fault = f"{fname} already stands on line {first[fname]}"
            if fault:
                problems.add(path, line, fault)
                continue
            first[fname] = line
            labels = dict.fromkeys((own, *(label for label in more if label in classes)))
            outside += [f"{label} of {fname}" for label in more if label not in classes]
            entries.append(ListedClip(fname, f"{folder}/{fname}", "curated", tuple(labels), None, None, path, line))
        problems.raise_any()
        if outside:
            text = some(outside, "secondary label is no class", "secondary labels are no classes")
            tables.findings.append(Finding("labels-outside", f"{text}: left out"))
        tables.findings += _ratings(table, at_file)
        return tables.listing(self.name, entries, tuple(classes))

    @staticmethod
    def _secondary(table: CsvFile, separator: str | None) -> tuple[list[tuple[str, ...]], str]:
        at = table.column("secondary_labels")
        if at is None:
            return [()] * len(table.rows), ""
        return split_cells(table.path, [(line, cells[at]) for line, cells in table.rows], separator)


def _table(directory: Path) -> Path | None:
    paths = (directory / name for name in _TABLES)
    return next((path for path in paths if {"primary_label", "filename"} <= set(peek_columns(path))), None)


def _classes(directory: Path, primary: Collection[str]) -> dict[str, None]:
    """Classes in the order of the sample submission, whose first column is row_id; else the primary labels."""
    columns: tuple[str, ...] = ()
    if (directory / "sample_submission.csv").is_file():
        columns = read_csv(directory / "sample_submission.csv").columns[1:]
    # in 2021 it had one column, birds, with the names of those that are heard
    return dict.fromkeys(columns if set(primary) <= set(columns) else sorted(set(primary) - {""}))


def _ratings(table: CsvFile, at_file: int) -> list[Finding]:
    """Recordings that listeners found poor; 0 is no rating."""
    at = table.column("rating")
    if at is None:
        return []
    poor = []
    for _, cells in table.rows:
        try:
            rating = float(cells[at] or 0)
        except ValueError:
            continue
        if 0 < rating < _POOR:
            poor.append(f"{cells[at_file]} {rating:g}")
    text = some(poor, f"recording is rated below {_POOR:g} of 5", f"recordings are rated below {_POOR:g} of 5")
    return [Finding("ratings", f"{text}; they are trained on like the others")] if poor else []
