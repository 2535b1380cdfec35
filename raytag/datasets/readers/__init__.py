"""Readers: one a layout. A further layout is one module with a ``Reader`` and one line in ``READERS``.

Imports of raytag what is beside it in `raytag.datasets`.
"""

from __future__ import annotations

from pathlib import Path

from raytag.datasets.listing import ListedClip, Listing
from raytag.datasets.readers.base import Reader
from raytag.datasets.readers.birdclef import BirdClef
from raytag.datasets.readers.esc50 import Esc50
from raytag.datasets.readers.fsd50k import Fsd50k
from raytag.datasets.readers.fsdkaggle2019 import COMPETITION, PUBLISHED
from raytag.datasets.readers.single_csv import SingleCsv
from raytag.datasets.table import DatasetError
from raytag.datasets.tables.csv_file import peek_columns

#: Asked in this order; the first that recognises a folder reads it.
READERS: tuple[Reader, ...] = (COMPETITION, PUBLISHED, Esc50(), Fsd50k(), BirdClef(), SingleCsv())

__all__ = ["READERS", "ListedClip", "Listing", "Reader", "layouts", "read"]


def layouts() -> str:
    """What a dataset folder may look like: a line a layout."""
    return "\n".join(f"  - {reader.name}: {reader.expects}" for reader in READERS)


def read(directory: Path, separator: str | None = None) -> Listing:
    """What the CSV files of a dataset folder say, read by the reader that recognises it.

    Raises
    ------
    DatasetError
        The folder is none of the known layouts (they are listed), or its files are at fault.
    """
    if not directory.is_dir():
        there = "is not a folder" if directory.exists() else "does not exist"
        raise DatasetError(f"dataset folder {directory} {there}")
    for reader in READERS:
        if reader.recognises(directory):
            return reader.read(directory) if separator is None else reader.read(directory, separator)
    names = sorted(path.name + ("/" if path.is_dir() else "") for path in directory.iterdir())
    found = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "") or "nothing"
    for path in [path for path in sorted(directory.iterdir()) if path.suffix.lower() in (".csv", ".tsv", ".txt")][
        :3
    ]:
        if columns := peek_columns(path):
            found += f". {path.name} has the columns {', '.join(map(repr, columns[:8]))}"
    if any(path.suffix.lower() in (".xlsx", ".xls", ".ods") for path in directory.iterdir()):
        found += ". Save the spreadsheet as CSV"
    raise DatasetError(
        f"{directory} is no dataset that raytag knows. It holds: {found}. Expected is one of\n{layouts()}"
    )
