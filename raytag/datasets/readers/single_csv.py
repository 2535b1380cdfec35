"""The simplest layout: one CSV file and a folder of recordings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from raytag.datasets.readers.base import CsvFile, Listing, csv_entries, peek_columns, read_csv, some_exist
from raytag.datasets.table import DatasetError


class SingleCsv:
    """One CSV in the dataset folder: ``fname,labels[,fold][,group]`` or ``fname,fold,label``.

    All clips are curated. The audio lies in ``audio/``, in the only sub-folder that holds files
    that the CSV names, or beside the CSV.
    """

    name = "one CSV"
    expects = (
        "one CSV file with the columns fname, labels (or label) and optionally fold and group; the audio "
        "in audio/, in another sub-folder, or beside the CSV"
    )

    def recognises(self, directory: Path) -> bool:
        return bool(_candidates(directory))

    def read(self, directory: Path) -> Listing:
        candidates = _candidates(directory)
        if len(candidates) > 1:
            names = ", ".join(path.name for path in candidates)
            raise DatasetError(
                f"{directory} holds several CSV files with clips and labels: {names}; leave one there, or use the "
                "names of the FSDKaggle2019 layout (train_curated.csv, train_noisy.csv)"
            )
        table = read_csv(candidates[0])
        label_column = "labels" if table.column("labels") is not None else "label"
        entries = csv_entries(table, "", "curated", label_column=label_column, labels_required=True)
        folder = _audio_folder(directory, table, [entry.fname for entry in entries])
        if folder:
            entries = [replace(entry, clip=f"{folder}/{entry.clip}") for entry in entries]
        return Listing(self.name, entries)


def _candidates(directory: Path) -> list[Path]:
    found = []
    for path in sorted(directory.glob("*.csv")):
        columns = peek_columns(path)
        if "fname" in columns and ("labels" in columns or "label" in columns):
            found.append(path)
    return found


def _audio_folder(directory: Path, table: CsvFile, names: list[str]) -> str:
    """Name of the sub-folder with the audio, "" for the dataset folder itself."""
    if some_exist(directory / "audio", names):
        return "audio"
    folders = sorted(path.name for path in directory.iterdir() if path.is_dir())
    found = [folder for folder in ["", *folders] if some_exist(directory / folder, names)]
    if not found:
        looked = ", ".join(f"{folder}/" for folder in folders) or "no sub-folder"
        raise DatasetError(
            f"{table.path}: none of its {len(names)} files is in {directory} or in its sub-folders ({looked}); put "
            "them into audio/ beside the CSV"
        )
    if len(found) > 1:
        places = ", ".join(f"{folder}/" if folder else "the folder itself" for folder in found)
        raise DatasetError(
            f"{table.path}: files that it names are in several places ({places}); put all of them into audio/"
        )
    return found[0]
