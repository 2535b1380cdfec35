"""ESC-50 (Piczak 2015, *ESC: Dataset for Environmental Sound Classification*) as its repository lays it out."""

from __future__ import annotations

from pathlib import Path

from raytag.datasets.listing import Listing
from raytag.datasets.readers.base import Tables, csv_entries
from raytag.datasets.tables.csv_file import read_csv


class Esc50:
    """``meta/esc50.csv`` and ``audio/``. The official folds keep clips of one recording together."""

    name = "ESC-50"
    expects = "meta/esc50.csv (filename,fold,target,category) and audio/"

    def recognises(self, directory: Path) -> bool:
        return (directory / "meta" / "esc50.csv").is_file()

    def read(self, directory: Path, separator: str | None = None) -> Listing:
        table, tables = read_csv(directory / "meta" / "esc50.csv"), Tables(separator)
        table.require("filename", "fold", "category")
        entries = csv_entries(
            table, "audio", "curated", fname_column="filename", label_column="category", tables=tables
        )
        return tables.listing(self.name, entries)
