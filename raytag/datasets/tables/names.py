"""File names of a table held against the files that are there.

People's tables name recordings without their extension, with backslashes, in other letters or in the other Unicode
form, or leave out the sub-folder. A name that is no file is looked for by ever rougher likeness; what several files
are like is not guessed.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from raytag.datasets.findings import Finding, Problems, some
from raytag.datasets.listing import AUDIO_SUFFIXES, ListedClip
from raytag.datasets.table import DatasetError
from raytag.datasets.tables.csv_file import one_form


def _slashes(name: str) -> str:
    return one_form(name).replace("\\", "/").removeprefix("./")


def _folded(name: str) -> str:
    return _slashes(name).casefold()


def _stem(name: str) -> str:
    path = PurePosixPath(_slashes(name))
    return str(path.with_suffix("")) if path.suffix.lower() in AUDIO_SUFFIXES else str(path)


def _case(name: str) -> str:
    return _stem(name).casefold()


def _base(name: str) -> str:
    return _case(name).rpartition("/")[2]


def _number(name: str) -> str:
    """Excel makes the number 7 of 007, and pandas 7.0."""
    base = _base(name)
    return re.sub(r"\.0$", "", base).lstrip("0") if re.fullmatch(r"\d+(\.0)?", base) else base


#: From exact to rough: what makes two names alike, and how that is called.
LIKENESS: tuple[tuple[Callable[[str], str], str], ...] = (
    (_slashes, "with other slashes or in another Unicode form"),
    (_folded, "in other case"),
    (_stem, "without their extension, or with another one"),
    (_case, "in other case and without their extension, or with another one"),
    (_base, "without or with another folder"),
    (_number, "as numbers"),
)


def find_files(root: Path, entries: Sequence[ListedClip]) -> tuple[list[ListedClip], list[Finding]]:
    """Put the files in place of names that are none; names that no file is like stay as they are.

    Parameters
    ----------
    root : Path
        The dataset folder.
    entries : sequence of ListedClip
        As a reader gives them.

    Returns
    -------
    entries : list of ListedClip
        ``clip`` is the path of the file where it was found.
    findings : list of Finding

    Raises
    ------
    DatasetError
        None of a table's training clips is there, or two of its names mean one file.
    """
    found, told = list(entries), []
    lost: dict[str, list[int]] = {}  # folder -> entries whose file is not there
    for i, entry in enumerate(entries):
        if not (root / entry.clip).is_file():
            lost.setdefault(_folder(entry), []).append(i)
    how: dict[str, list[str]] = {}
    several = []
    for folder, rows in lost.items():
        files = audio_files_below(root / folder)
        left = rows
        for alike, kind in LIKENESS:
            index: dict[str, list[str]] = {}
            for file in files:
                index.setdefault(alike(file), []).append(file)
            still = []
            for i in left:
                candidates = index.get(alike(entries[i].fname), [])
                if len(candidates) == 1:
                    found[i] = replace(entries[i], clip=str(PurePosixPath(folder) / candidates[0]))
                    how.setdefault(kind, []).append(f"{entries[i].fname} is {found[i].clip}")
                elif candidates:
                    several.append(f"{entries[i].fname} may be {' or '.join(candidates[:2])}")
                else:
                    still.append(i)
            left = still
        if len(left) == len([e for e in entries if _folder(e) == folder]) and entries[left[0]].subset != "test":
            raise DatasetError(
                none_there(entries[left[0]].csv, str(root / folder), [entries[i].fname for i in left], files)
            )
    _check_twice(entries, found)
    for kind, names in how.items():
        verb = some(names, f"name stands in the table {kind}", f"names stand in the table {kind}")
        told.append(Finding("names", f"{verb}: the files were found"))
    if several:
        text = some(several, "name may mean several files", "names may mean several files")
        told.append(Finding("names-ambiguous", text, "Write the path below the audio folder, with the extension"))
    return found, told


def any_alike(names: Sequence[str], files: Sequence[str]) -> bool:
    """Whether any of these names may mean any of these files."""
    return not {_number(name) for name in names}.isdisjoint(map(_number, files))


def _folder(entry: ListedClip) -> str:
    """Where a reader looked for a clip."""
    parts = PurePosixPath(entry.clip).parts
    return str(PurePosixPath(*parts[: len(parts) - len(PurePosixPath(entry.fname).parts)]))


def audio_files_below(folder: Path) -> list[str]:
    """Paths of all audio files in a folder and its sub-folders, relative to it, sorted; none where it is not there.

    Raises
    ------
    DatasetError
        One of the folders cannot be read.
    """

    def refuse(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            raise DatasetError(
                f"{error.filename}: the folder cannot be read ({error.strerror}), so what lies in it would be left "
                "out. Make it readable, or take it away"
            ) from None

    found = []
    for at, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        inside = Path(at).relative_to(folder)
        found += [
            (inside / name).as_posix()
            for name in names
            if os.path.splitext(name)[1].lower() in AUDIO_SUFFIXES
            and not name.startswith(".")
            and os.path.isfile(os.path.join(at, name))
        ]
    return sorted(found)


def none_there(table: Path | None, where: str, names: Sequence[str], files: Sequence[str]) -> str:
    """Two names of the table, two of the folder, and how they differ."""
    start = f"{table}: none of its {len(names)} files is in {where}"
    if not files:
        return f"{start}, where no audio lies; put them into audio/ beside the CSV"
    near = difflib.get_close_matches(names[0], files[:2000], n=1, cutoff=0.0)[0]
    tables, folders = (
        ", ".join(map(repr, words[:2])) for words in (names, [near, *(f for f in files if f != near)])
    )
    return f"{start}. The table says {tables}; the folder has {folders}: {_difference(names[0], near)}"


def _difference(name: str, file: str) -> str:
    stem, other = _stem(name), _stem(file)
    if stem and stem in other:
        before, _, after = other.partition(stem)
        more = [f"{before!r} before it"] * bool(before) + [f"{after!r} behind it"] * bool(after)
        return f"the file's name has {' and '.join(more) or 'another extension'}"
    if other and other in stem:
        before, _, after = stem.partition(other)
        more = [f"{before!r} before it"] * bool(before) + [f"{after!r} behind it"] * bool(after)
        return f"the table's name has {' and '.join(more)}"
    at = next((i for i, (a, b) in enumerate(zip(name, file, strict=False)) if a != b), min(len(name), len(file)))
    return f"they differ from {name[at:]!r} and {file[at:]!r} on" if at else "they begin differently"


def _check_twice(entries: Sequence[ListedClip], found: Sequence[ListedClip]) -> None:
    first: dict[str, int] = {}
    problems = Problems()
    for i, entry in enumerate(found):
        j = first.setdefault(entry.clip, i)
        if j != i:
            problems.add(
                entry.csv, entry.line, f"{entries[i].fname} and {entries[j].fname} mean one file, {entry.clip}"
            )
    problems.raise_any()
