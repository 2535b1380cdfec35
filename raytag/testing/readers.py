"""The contract of a dataset reader."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

from raytag.datasets.readers.base import Reader
from raytag.datasets.table import SUBSETS, DatasetError


def check_reader(reader: Reader, folder: Path, scratch: Path) -> None:
    """Hold a reader to its contract.

    Parameters
    ----------
    reader : Reader
    folder : Path
        A dataset of its layout, with at least one CSV file of two rows.
    scratch : Path
        An empty folder to write to.

    Raises
    ------
    AssertionError
        The reader breaks it; the message says how.
    """
    assert reader.name.strip(), "a layout has a name"
    assert reader.expects.strip(), "expects says what a folder must hold"
    assert reader.recognises(folder), f"{reader.name} does not recognise {folder}"
    assert not reader.recognises(scratch), f"{reader.name} recognises an empty folder"
    check_listing(reader, folder)
    check_broken_tables(reader, folder, scratch)


def check_listing(reader: Reader, folder: Path) -> None:
    """Every clip once, in a known subset, with its labels; the same whenever it is asked."""
    listing = reader.read(folder)
    assert listing.layout == reader.name, f"the listing is of layout {listing.layout!r}, not {reader.name!r}"
    assert listing.entries, "no clips"
    clips = [entry.clip for entry in listing.entries]
    assert len(set(clips)) == len(clips), "a clip is listed twice"
    subsets = {entry.subset for entry in listing.entries}
    assert subsets <= set(SUBSETS), f"unknown subsets {sorted(subsets - set(SUBSETS))}"
    labelled = [entry for entry in listing.entries if entry.subset != "test"]
    assert any(entry.labels for entry in labelled), "no clip has a label"
    assert reader.read(folder) == listing, "a second reading gives something else"


def check_broken_tables(reader: Reader, folder: Path, scratch: Path) -> None:
    """A row with a cell too many is refused with the file and the line, in every table that the reader reads."""
    found = 0
    for number, table in enumerate(sorted(folder.rglob("*.csv"))):
        copy = scratch / f"{number}"
        shutil.copytree(folder, copy)
        broken = copy / table.relative_to(folder)
        with broken.open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
        rows[-1].append("one too many")
        with broken.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)
        if not reader.recognises(copy):
            continue
        try:
            reader.read(copy)
        except DatasetError as error:
            found += f"{broken}:{len(rows)}" in str(error)
    assert found, "a table with a broken row is read, or refused without its file and line"
