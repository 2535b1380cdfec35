"""What every reader of a dataset folder keeps: it knows its own, states each clip once, refuses broken tables."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from raytag.datasets.listing import AUDIO_SUFFIXES, ListedClip, Listing
from raytag.datasets.loader import table_of
from raytag.datasets.readers.base import Reader
from raytag.datasets.table import SUBSETS, DatasetError, split_labels


def check_reader(reader: Reader, folder: Path) -> None:
    """Hold a reader to all that a launch relies on.

    Parameters
    ----------
    reader : Reader
        As it stands in `raytag.datasets.readers.READERS`.
    folder : Path
        A dataset in the reader's layout without faults: all audio there, some clips of several labels or classes.
        Tables, where the layout has any, are text of one row a line. It is not written to; copies are.

    Raises
    ------
    AssertionError
        The first promise that is broken.
    """
    before = _files(folder)
    _check_recognises(reader, folder)
    listing = reader.read(folder)
    assert _files(folder) == before, "reading changes the folder"
    _check_listing(reader, listing, folder)
    _check_table(listing, folder)
    _check_expects(reader, listing, folder)
    for csv in sorted({entry.csv for entry in listing.entries if entry.csv is not None}):
        rows = [entry.line for entry in listing.entries if entry.csv == csv]
        _check_broken_rows(reader, folder, csv, max(rows))
        _check_order_of_rows(reader, listing, folder, csv)


def _check_recognises(reader: Reader, folder: Path) -> None:
    assert reader.recognises(folder), f"{reader.name} does not recognise its own folder"
    with TemporaryDirectory() as temporary:
        empty = Path(temporary)
        assert not reader.recognises(empty), f"{reader.name} takes an empty folder for its own"
        (empty / "notes.txt").write_text("nothing here")
        (empty / "pictures").mkdir()
        assert not reader.recognises(empty), f"{reader.name} takes any folder for its own"


def _check_listing(reader: Reader, listing: Listing, folder: Path) -> None:
    assert listing.layout == reader.name, f"the layout is called {listing.layout!r}, its reader {reader.name!r}"
    clips = [entry.clip for entry in listing.entries]
    twice = sorted({clip for clip in clips if clips.count(clip) > 1})
    assert not twice, f"{twice[0]} is listed {clips.count(twice[0])} times"
    subsets = [SUBSETS.index(entry.subset) for entry in listing.entries]
    assert subsets == sorted(subsets), "curated clips come first, then noisy ones, then test clips"
    assert 0 in subsets, "no clip is curated: there is nothing to train on"
    for entry in listing.entries:
        assert (folder / entry.clip).is_file(), f"{entry.clip} is no file in the folder"
        tail = entry.clip if Path(entry.fname).suffix else str(Path(entry.clip).with_suffix(""))
        assert tail.endswith(entry.fname), f"fname {entry.fname} is not the end of the clip {entry.clip}"
    there = {name for name in _files(folder) if Path(name).suffix.lower() in AUDIO_SUFFIXES}
    assert there <= set(clips), f"{sorted(there - set(clips))[0]} is not listed"


def _check_table(listing: Listing, folder: Path) -> None:
    """What becomes of it: labels in class order, a fold for each curated clip."""
    given = any(entry.fold is not None for entry in listing.entries)
    try:
        table = table_of(folder.absolute(), listing, n_folds=None if given else 2)
    except DatasetError as error:
        raise AssertionError(f"what is read makes no table: {error}") from error
    order = {name: i for i, name in enumerate(table.classes)}
    for entry, text in zip(listing.entries, table.clips["labels"], strict=True):
        labels = list(split_labels(text))
        assert set(labels) == set(entry.labels), f"the labels of {entry.clip} become {text!r}"
        assert labels == sorted(labels, key=order.__getitem__), f"the labels of {entry.clip} are not in class order"
    assert set(table.clips["fold"][table.rows("curated")]) == set(range(table.n_folds)), "a fold is empty"


def _check_expects(reader: Reader, listing: Listing, folder: Path) -> None:
    """A user who holds the sentence in hand finds the tables by it, or knows their first column."""
    said = reader.expects
    assert said.strip(), f"{reader.name} does not say what it expects"
    assert "\n" not in said, "what a reader expects is said in one line"
    for csv in sorted({entry.csv for entry in listing.entries if entry.csv is not None and entry.labels}):
        known = csv.relative_to(folder).as_posix() in said
        assert known or _names_columns(csv, said), f"{said!r} says neither {csv.name} nor its columns"


def _names_columns(csv: Path, said: str) -> bool:
    header = csv.read_text(encoding="utf-8-sig").splitlines()[0]
    words = "".join(c if c.isalnum() or c in "_ " else " " for c in header).split()
    return bool(words) and words[0] in said


def _check_broken_rows(reader: Reader, folder: Path, csv: Path, line: int) -> None:
    faults: dict[str, tuple[Callable[[bytes], bytes], int]] = {
        "stands twice": (lambda row: row + row, 1),
        "is not UTF-8": (lambda row: b"\xff" + row, 0),
    }
    for fault, (change, later) in faults.items():

        def breaks(lines: list[bytes], change: Callable[[bytes], bytes] = change) -> list[bytes]:
            return [*lines[: line - 1], change(lines[line - 1]), *lines[line:]]

        with TemporaryDirectory() as temporary:
            copy = _changed_copy(folder, Path(temporary), csv, breaks)
            where = f"{copy / csv.relative_to(folder)}:{line + later}: "
            said = _refusal(reader, copy)
            assert said, f"a row of {csv.name} that {fault} is not refused"
            assert said.startswith(where), f"a row that {fault} is told as {said!r}, not as {where}…"


def _refusal(reader: Reader, folder: Path) -> str:
    try:
        reader.read(folder)
    except DatasetError as error:
        return str(error)
    return ""


def _check_order_of_rows(reader: Reader, listing: Listing, folder: Path, csv: Path) -> None:
    def reverses(lines: list[bytes]) -> list[bytes]:
        return [lines[0], *reversed(lines[1:])]

    with TemporaryDirectory() as temporary:
        copy = _changed_copy(folder, Path(temporary), csv, reverses)
        other = reader.read(copy)
    assert _facts(other) == _facts(listing), f"the order of rows in {csv.name} changes what the clips are"
    assert other.classes == listing.classes, f"the order of rows in {csv.name} changes the classes"


def _changed_copy(folder: Path, into: Path, csv: Path, change: Callable[[list[bytes]], list[bytes]]) -> Path:
    """A copy of the folder with the lines of one table changed."""
    copy = into / "data"
    shutil.copytree(folder, copy)
    lines = csv.read_bytes().splitlines(keepends=True)
    lines = [line if line.endswith(b"\n") else line + b"\n" for line in lines]
    (copy / csv.relative_to(folder)).write_bytes(b"".join(change(lines)))
    return copy


def _facts(listing: Listing) -> dict[str, tuple[object, ...]]:
    def of(entry: ListedClip) -> tuple[object, ...]:
        return entry.fname, entry.subset, entry.labels, entry.fold, entry.group

    return {entry.clip: of(entry) for entry in listing.entries}


def _files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
