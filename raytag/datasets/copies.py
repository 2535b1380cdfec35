"""The same recording under several names: found before folds are made, so that copies stay together.

Files of one size are compared by a piece from their middle and then as a whole, so that of most recordings little
is read. The same sound in another format has another content; `raytag.datasets.look` finds it by its features.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import xxhash

from raytag.datasets.findings import Finding, some
from raytag.datasets.listing import ListedClip

_PIECE = 4096  # bytes from the middle of a file
_THREADS = 8
_CHUNK = 1 << 20
_HEADER = 128  # bytes; what stands behind them is sound


def group(root: Path, entries: Sequence[ListedClip]) -> tuple[list[ListedClip], list[list[int]]]:
    """Copies of one recording in one group, beside the groups that the table has.

    Returns
    -------
    entries : list of ListedClip
        Groups that share a recording are one.
    copies : list of list of int
        Entries with the same content, in the order of their first.
    """
    copies = same_content([root / entry.clip for entry in entries])
    parent: dict[str | int, str | int] = {}  # group names, and numbers of clips without one

    def find(key: str | int) -> str | int:
        while (up := parent.setdefault(key, key)) != key:
            key = up
        return key

    for rows in copies:
        shared: list[str | int] = [entries[i].group or i for i in rows if entries[i].subset != "test"]
        for key in shared:
            parent[find(key)] = find(shared[0])
    members: dict[str | int, list[str | int]] = {}
    for key in list(parent):
        members.setdefault(find(key), []).append(key)
    found = list(entries)
    for i, entry in enumerate(entries):
        own = entry.group or i
        if own in parent and entry.subset != "test":
            names = sorted(name for name in members[find(own)] if isinstance(name, str))
            first = min((k for k in members[find(own)] if isinstance(k, int)), default=i)
            found[i] = replace(entry, group=" + ".join(names) or f"copies of {entries[first].clip}")
    return found, copies


def same_content(paths: Sequence[Path]) -> list[list[int]]:
    """Numbers of the files that have the same bytes; empty and missing files are like no other."""
    sizes = [_size(path) for path in paths]
    groups = _alike(range(len(paths)), lambda i: sizes[i] or -1 - i)
    with ThreadPoolExecutor(_THREADS) as pool:
        for read in (_piece, _whole):
            rows = [i for own in groups for i in own]
            keys = dict(zip(rows, pool.map(lambda i, read=read: read(paths[i], sizes[i]), rows), strict=True))
            groups = [alike for own in groups for alike in _alike(own, keys.__getitem__)]
    return sorted(groups)


def _alike(rows: Iterable[int], key: Callable[[int], Hashable]) -> list[list[int]]:
    found: dict[Hashable, list[int]] = {}
    for i in rows:
        found.setdefault(key(i), []).append(i)
    return [own for own in found.values() if len(own) > 1]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _piece(path: Path, size: int) -> Hashable:
    try:
        with path.open("rb") as file:
            file.seek(max(0, size // 2 - _PIECE // 2))
            return file.read(_PIECE)
    except OSError:
        return path


def _whole(path: Path, size: int) -> Hashable:
    digest, silent = xxhash.xxh3_128(), True
    try:
        with path.open("rb") as file:
            digest.update(file.read(_HEADER))
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
                silent = silent and chunk.count(chunk[:1]) == len(chunk)
    except OSError:
        return path
    return path if silent else digest.digest()  # nothing can be learnt from silence, however often it is there


def findings(entries: Sequence[ListedClip], fold: np.ndarray, copies: Sequence[Sequence[int]]) -> list[Finding]:
    """What copies mean for a search.

    Parameters
    ----------
    entries : sequence of ListedClip
    fold : np.ndarray [shape=(n,)], int64
        -1 for clips that are in none.
    copies : sequence of sequence of int
        As `group` gives them.
    """
    names: dict[str, list[str]] = {kind: [] for kind in ("all", "folds", "noisy", "test", "labels")}
    for rows in copies:
        shown = " = ".join(os.path.basename(entries[i].clip) for i in rows[:3]) + (" = …" if len(rows) > 3 else "")
        by_subset = {
            subset: [i for i in rows if entries[i].subset == subset] for subset in ("curated", "noisy", "test")
        }
        curated, trained = by_subset["curated"], [*by_subset["curated"], *by_subset["noisy"]]
        names["all"] += [shown]
        if len({int(fold[i]) for i in curated}) > 1:
            names["folds"] += [shown]
        if curated and by_subset["noisy"]:
            names["noisy"] += [shown]
        if trained and by_subset["test"]:
            names["test"] += [shown]
        if len({frozenset(entries[i].labels) for i in curated}) > 1:
            names["labels"] += [shown]
    kinds = (
        ("all", "copies", "recording has several names", "recordings have several names", "", False),
        (
            "folds",
            "copies-folds",
            "recording is in several of the given folds",
            "recordings are in several of the given folds",
            "Validation clips are trained on: correct the column fold, or make folds with --fold-method group",
            True,
        ),
        (
            "noisy",
            "copies-noisy",
            "recording is both curated and noisy",
            "recordings are both curated and noisy",
            "Validation clips are trained on: take them out of the noisy table",
            True,
        ),
        (
            "test",
            "copies-test",
            "recording is both a training and a test clip",
            "recordings are both training and test clips",
            "What they score as test clips says little",
            False,
        ),
        (
            "labels",
            "copies-labels",
            "recording has several names and other labels under each",
            "recordings have several names and other labels under each",
            "Correct the table",
            True,
        ),
    )
    found = []
    for kind, code, one, many, mend, wrong in kinds:
        if names[kind]:
            text = some(names[kind], one, many) + ("; copies are one group" if kind == "all" else "")
            found.append(Finding(code, text, mend, wrong))
    return found
