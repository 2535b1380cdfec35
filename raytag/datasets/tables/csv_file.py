"""Tables as people save them: any usual delimiter and encoding, each row with the line on which it starts."""

from __future__ import annotations

import codecs
import csv
import io
import re
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from raytag.datasets.findings import Problems
from raytag.datasets.recordings import require_file
from raytag.datasets.table import DatasetError

#: What separates cells, and labels within a cell, and how it is called.
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars (|)"}
#: Names of the column with the file of a clip, the first of them that a table has.
FNAME_COLUMNS = ("fname", "filename", "file")
_PEEK = 1 << 16  # bytes that hold any header
#: Excel writes, and reads, a first line that names the delimiter.
_SEP_LINE = re.compile(r'"?sep=(.)"?\r?\n', re.IGNORECASE)
_BOMS = {
    codecs.BOM_UTF8: ("utf-8-sig", "UTF-8 with BOM"),
    codecs.BOM_UTF16_LE: ("utf-16", "UTF-16"),
    codecs.BOM_UTF16_BE: ("utf-16", "UTF-16"),
}


@dataclass(frozen=True)
class CsvFile:
    """A table: its header and its rows, each with the line on which it starts (the header is line 1).

    Cells have no outer blanks and stand in one Unicode form (NFC), so that equal words are equal.
    """

    path: Path
    columns: tuple[str, ...]
    rows: list[tuple[int, tuple[str, ...]]]
    delimiter: str = ","
    encoding: str = "UTF-8"

    @property
    def read_as(self) -> str:
        """``semicolons, UTF-16``: how the file was read."""
        return f"{DELIMITERS[self.delimiter]}, {self.encoding}"

    def column(self, *names: str) -> int | None:
        """Position of the first of these columns that there is, in any case of letters; None for none."""
        for name in names:
            if name in self.columns:
                return self.columns.index(name)
        folded = [column.casefold() for column in self.columns]
        return next((folded.index(name) for name in names if folded.count(name) == 1), None)

    def require(self, *names: str) -> list[int]:
        """Positions of columns that must be there."""
        found = [self.column(name) for name in names]
        missing = [name for name, at in zip(names, found, strict=True) if at is None]
        if missing:
            raise DatasetError(
                f"{self.path}:1: no column {' and no column '.join(missing)}; "
                f"the header is {','.join(self.columns)} (read as {self.read_as})"
            )
        return [at for at in found if at is not None]


def read_csv(path: Path) -> CsvFile:
    """A table with a header; blank lines, and columns that are empty throughout, are skipped.

    The delimiter is the one of `DELIMITERS` that makes most columns of the header; the encoding is UTF-8 or UTF-16.

    Raises
    ------
    DatasetError
        Another encoding, badly quoted, no header, no rows, a column twice, or a row whose number of cells is not
        the header's; the message has file and line.
    """
    try:
        require_file(path)
        data = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror}") from None
    return parse_csv(data, path)


def parse_csv(data: bytes, path: Path) -> CsvFile:
    """`read_csv` of a file's content; ``path`` is for messages."""
    text, encoding = _decode(path, data)
    delimiter, start = _delimiter(text)
    lines = _numbered(path, text, delimiter, start)
    header = next(lines, None)
    if header is None:
        raise DatasetError(f"{path}:1: the file is empty; a header and at least one row are expected")
    width = max((i + 1 for i, name in enumerate(header[1]) if name), default=0)
    columns = header[1][:width]
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise DatasetError(
            f"{path}:{header[0]}: column {' and '.join(map(repr, twice))} stands twice in the header"
        )
    rows, problems = [], Problems()
    for line, cells in lines:
        if len(cells) < width or any(cells[width:]):
            hint = f"a cell that holds {DELIMITERS[delimiter]} must be quoted"
            problems.add(path, line, f"{len(cells)} cells, but the header has {width} ({hint})")
        rows.append((line, cells[:width]))
    problems.raise_any()
    if not rows:
        raise DatasetError(f"{path}: only a header; at least one row is expected")
    return CsvFile(path, columns, rows, delimiter, encoding)


def peek_columns(path: Path) -> tuple[str, ...]:
    """The header of a table in small letters, () where it cannot be read as one."""
    try:
        require_file(path)
        with path.open("rb") as file:
            text, _ = _decode(path, file.read(_PEEK), "ignore")
        delimiter, start = _delimiter(text)
        return tuple(name.casefold() for name in next(_numbered(path, text, delimiter, start), (1, ()))[1])
    except (OSError, DatasetError):
        return ()


def _decode(path: Path, data: bytes, errors: str = "strict") -> tuple[str, str]:
    """The text of a file, and how it is encoded."""
    codec, encoding = next((found for bom, found in _BOMS.items() if data.startswith(bom)), ("utf-8", "UTF-8"))
    if codec == "utf-8" and b"\0" in data[:4]:  # UTF-16 without a mark: every other byte of plain letters is 0
        codec, encoding = ("utf-16-le" if data[1:2] == b"\0" else "utf-16-be"), "UTF-16"
    try:
        text = data.decode(codec, errors)
        if "\0" in text and errors == "strict":
            line = text.count("\n", 0, text.index("\0")) + 1
            raise DatasetError(f"{path}:{line}: a zero byte: the file is damaged, or no table; save it as UTF-8")
        return text, encoding
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DatasetError(
            f"{path}:{line}: not {encoding} (byte 0x{data[error.start]:02x}); save the file with UTF-8 encoding"
        ) from None


def _delimiter(text: str) -> tuple[str, int]:
    """What separates the cells of a text, and where its header may begin."""
    said = _SEP_LINE.match(text)
    if said and said[1] in DELIMITERS:
        return said[1], said.end()

    def quality(delimiter: str) -> tuple[bool, int]:
        header: Sequence[str] = ()
        with suppress(csv.Error):
            header = next((row for row in csv.reader(io.StringIO(text, ""), delimiter=delimiter) if any(row)), ())
        return any(cell.strip().casefold() in FNAME_COLUMNS for cell in header), len(header)

    return max(DELIMITERS, key=quality), 0


def _numbered(path: Path, text: str, delimiter: str, start: int) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Rows that are not blank, each with the line on which it starts."""
    before = text.count("\n", 0, start)
    reader = csv.reader(io.StringIO(text[start:], newline=""), delimiter=delimiter, strict=True)
    line = 1
    try:
        for row in reader:
            cells = tuple(one_form(cell) for cell in row)
            if any(cells):
                yield before + line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise DatasetError(f"{path}:{before + line}: {error}") from None


def one_form(text: str) -> str:
    """Text without outer blanks, in the Unicode form NFC."""
    text = text.strip()
    return text if text.isascii() else unicodedata.normalize("NFC", text)
