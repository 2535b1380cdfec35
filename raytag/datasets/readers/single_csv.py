"""The simplest layout: one table and a folder of recordings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from raytag.datasets.listing import Listing
from raytag.datasets.readers.base import Tables, csv_entries, is_wide, some_exist, wide_classes, wide_entries
from raytag.datasets.table import DatasetError
from raytag.datasets.tables.csv_file import FNAME_COLUMNS, CsvFile, peek_columns, read_csv
from raytag.datasets.tables.names import any_alike, audio_files_below, none_there

LABEL_COLUMNS = ("labels", "label")
#: A sample submission has the form of a wide table, and its numbers mean nothing.
_SUBMISSION = "sample_submission"


class SingleCsv:
    """One table in the folder: ``fname,labels[,fold][,group]``, or ``fname`` and a column of 0 and 1 a class.

    All clips are curated. The audio lies in ``audio/``, in the only sub-folder that holds files
    that the table names, or beside it.
    """

    name = "one CSV"
    expects = (
        "one CSV file with the columns fname, labels (or label, or a column of 0 and 1 for each class) and "
        "optionally fold and group; the audio in audio/, in another sub-folder, or beside the CSV"
    )

    def recognises(self, directory: Path) -> bool:
        return bool(_candidates(directory))

    def read(self, directory: Path, separator: str | None = None) -> Listing:
        candidates = _candidates(directory)
        if len(candidates) > 1:
            names = ", ".join(path.name for path in candidates)
            raise DatasetError(
                f"{directory} holds several CSV files with clips and labels: {names}; leave one there, or use the "
                "names of the FSDKaggle2019 layout (train_curated.csv, train_noisy.csv)"
            )
        table, tables = read_csv(candidates[0]), Tables(separator)
        fname = next(name for name in FNAME_COLUMNS if table.column(name) is not None)
        labels = next((name for name in LABEL_COLUMNS if table.column(name) is not None), None)
        classes = None
        if labels is not None:
            entries = csv_entries(table, "", "curated", fname_column=fname, label_column=labels, tables=tables)
        else:
            entries, classes = wide_entries(table, "", "curated", fname, tables), tuple(wide_classes(table, fname))
        folder = _audio_folder(directory, table, [entry.fname for entry in entries])
        if folder:
            entries = [replace(entry, clip=f"{folder}/{entry.clip}") for entry in entries]
        return tables.listing(self.name, entries, classes)


def _candidates(directory: Path) -> list[Path]:
    found = []
    for path in sorted([*directory.glob("*.csv"), *directory.glob("*.tsv")]):
        columns = peek_columns(path)
        fname = next((name for name in FNAME_COLUMNS if name in columns), None)
        if fname is None or path.stem.casefold().startswith(_SUBMISSION):
            continue
        if not set(columns).isdisjoint(LABEL_COLUMNS) or (len(columns) > 2 and _is_wide(path, fname)):
            found.append(path)
    return found


def _is_wide(path: Path, fname: str) -> bool:
    try:
        return is_wide(read_csv(path), fname)
    except DatasetError:
        return False


def _audio_folder(directory: Path, table: CsvFile, names: list[str]) -> str:
    """Name of the sub-folder with the audio, "" for the dataset folder itself."""
    if some_exist(directory / "audio", names):
        return "audio"
    folders = sorted(path.name for path in directory.iterdir() if path.is_dir() and not path.name.startswith("."))
    found = [folder for folder in ["", *folders] if some_exist(directory / folder, names)]
    files = {folder: audio_files_below(directory / folder) for folder in folders} if not found else {}
    if not found:  # names may be written otherwise than the files
        found = [folder for folder in folders if any_alike(names, files[folder])]
        if not found and any_alike(names, [path.name for path in directory.iterdir() if path.is_file()]):
            return ""
    if not found:
        looked = ", ".join(f"{folder}/" for folder in folders) or "no sub-folder"
        where = f"{directory} or in its sub-folders ({looked})"
        raise DatasetError(none_there(table.path, where, names, [f for some in files.values() for f in some]))
    if len(found) > 1:
        places = ", ".join(f"{folder}/" if folder else "the folder itself" for folder in found)
        raise DatasetError(
            f"{table.path}: files that it names are in several places ({places}); put all of them into audio/"
        )
    return found[0]
