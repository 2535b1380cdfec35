"""From a dataset folder to a table of clips."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from raytag.datasets import copies, folds, readers
from raytag.datasets.containers import find_samples, mended
from raytag.datasets.findings import Finding, Problems, some
from raytag.datasets.listing import ListedClip, Listing
from raytag.datasets.recordings import check_header, require_file
from raytag.datasets.table import COLUMNS, ClipTable, DatasetError, join_labels, multi_hot
from raytag.datasets.tables import labels
from raytag.datasets.tables.names import find_files

HEADER_THREADS = 16  # headers are waited for, not computed


def load(
    directory: str | os.PathLike[str],
    *,
    n_folds: int | None = None,
    fold_method: str = "auto",
    seed: int = 0,
    labels_separator: str | None = None,
) -> ClipTable:
    """Read a dataset folder, whose layout is recognised (see ``raytag.datasets.readers``).

    Tables, the headers of audio files, and files of equal size are read. A missing or unreadable audio file is no
    error here: its duration is NaN, ``audit`` counts it, and the feature cache gives the reason.

    Parameters
    ----------
    directory : path
        The dataset folder; it is not written to.
    n_folds : int, optional
        Default: the folds that the dataset brings, else 5.
    fold_method : str
        "auto", "given", "group", "stratified" or "kfold"; see ``raytag.datasets.folds.assign``.
    seed : int
        Of folds that are made here.
    labels_separator : str, optional
        What stands between the labels of a clip (`raytag.datasets.tables.labels.separator_of`); by default
        recognised.

    Raises
    ------
    DatasetError
        No known layout, or faults in its tables; the message names file and line.
    """
    if "://" in os.fspath(directory):
        raise DatasetError(
            f"dataset folder {os.fspath(directory)}: recordings are read from a local disk; copy them there"
        )
    root = Path(os.path.abspath(directory))
    separator = None if labels_separator is None else labels.separator_of(labels_separator)
    listing = readers.read(root, separator)
    return table_of(root, listing, n_folds=n_folds, fold_method=fold_method, seed=seed)


def table_of(
    root: Path, listing: Listing, *, n_folds: int | None = None, fold_method: str = "auto", seed: int = 0
) -> ClipTable:
    """What a reader found in the folder ``root`` (absolute) as a table of clips; the rest is as in `load`."""
    entries, found = find_files(root, listing.entries)
    curated = [i for i, entry in enumerate(entries) if entry.subset == "curated"]
    if not curated:
        raise DatasetError(f"{root}: no clip to train on in a dataset of the layout {listing.layout}")
    classes = listing.classes or tuple(sorted({label for entry in entries for label in entry.labels}))
    labels.check_names(classes, str(entries[curated[0]].csv or root))
    _check_labels(entries, classes)
    found += labels.findings(classes, [entries[i] for i in curated])
    found += _negatives([entries[i] for i in curated])
    grouped, of_copies = copies.group(root, entries)
    joined = [_joined(entry.labels, classes) for entry in entries]
    fold = np.full(len(entries), -1, dtype=np.int64)
    fold[curated] = _folds(
        [entries[i] for i in curated],
        [grouped[i].group for i in curated],
        multi_hot([joined[i] for i in curated], classes),
        n_folds=n_folds,
        method=fold_method,
        seed=seed,
    )
    found += copies.findings(entries, fold, of_copies)
    return ClipTable(
        _frame(root, grouped, joined, fold),
        classes,
        root,
        listing.layout,
        listing.submission,
        findings=(*listing.findings, *found),
        read_as=listing.tables,
    )


def _joined(own: Sequence[str], classes: Sequence[str]) -> str:
    return join_labels(own if len(own) < 2 else sorted(own, key=classes.index))


def _negatives(curated: Sequence[ListedClip]) -> list[Finding]:
    """Clips of none of the classes: trained on as zeros, and no label of theirs is scored."""
    without = [f"{entry.fname}, line {entry.line}" for entry in curated if not entry.labels]
    if len(without) == len(curated):
        raise DatasetError(f"{curated[0].csv}: no clip has a label")
    if not without:
        return []
    text = some(without, "curated clip has no label", "curated clips have no label")
    return [Finding("negatives", f"{text}: trained on as negatives of all classes, no part of lwlrap")]


def _check_labels(entries: Sequence[ListedClip], classes: Sequence[str]) -> None:
    known, problems = set(classes), Problems()
    for entry in entries:
        for label in entry.labels:
            if label not in known:
                problems.add(entry.csv, entry.line, f"label {label!r} is not a class of the sample submission")
    problems.raise_any()


def _folds(
    curated: Sequence[ListedClip],
    group: Sequence[str | None],
    targets: np.ndarray,
    *,
    n_folds: int | None,
    method: str,
    seed: int,
) -> np.ndarray:
    """Folds of the curated entries, with faults of given ones put down to their lines; copies are in ``group``."""
    given = groups = None
    if any(name is not None for name in group):
        groups = [name or "" for name in group]
    if curated[0].fold is not None and method in ("auto", "given"):
        given = _given_folds(curated)
        _check_whole(curated, given)
    return folds.assign(targets, given=given, groups=groups, n_folds=n_folds, method=method, seed=seed)


def _given_folds(curated: Sequence[ListedClip]) -> np.ndarray:
    given, problems = np.zeros(len(curated), dtype=np.int64), Problems()
    for i, entry in enumerate(curated):
        text = entry.fold or ""
        if re.fullmatch(r"[0-9]{1,9}([.,]0*)?", text):  # spreadsheets and pandas make 1.0 of 1
            given[i] = int(re.split("[.,]", text)[0])
        else:
            problems.add(
                entry.csv,
                entry.line,
                f"fold {text!r} is not a whole number from 0 up; correct it, or set fold_method to make new folds",
            )
    problems.raise_any()
    return given


def _check_whole(curated: Sequence[ListedClip], given: np.ndarray) -> None:
    """A group in two given folds is a leak: the model is scored on what it was trained on."""
    first: dict[str, int] = {}
    problems = Problems()
    for i, entry in enumerate(curated):
        if not entry.group:
            continue
        j = first.setdefault(entry.group, i)
        other = curated[j]
        if given[i] != given[j]:
            problems.add(
                entry.csv,
                entry.line,
                f"group {entry.group!r} is in fold {entry.fold} here and in fold {other.fold} on line "
                f"{other.line}; a group belongs in one fold: correct the folds, or set fold_method to 'group'",
            )
    problems.raise_any()


def _frame(root: Path, entries: Sequence[ListedClip], joined: Sequence[str], fold: np.ndarray) -> pd.DataFrame:
    paths = [str(root / entry.clip) for entry in entries]
    with ThreadPoolExecutor(HEADER_THREADS) as pool:
        headers = list(pool.map(_header, paths))
    columns = {
        "clip": [entry.clip for entry in entries],
        "fname": [entry.fname for entry in entries],
        "path": paths,
        "labels": joined,
        "subset": [entry.subset for entry in entries],
        "fold": fold,
        "group": [entry.group or "" for entry in entries],
        "duration": [duration for duration, _ in headers],
        "rate": [rate for _, rate in headers],
    }
    return pd.DataFrame({name: pd.Series(columns[name], dtype=dtype) for name, dtype in COLUMNS.items()})


def _header(path: str) -> tuple[float, int]:
    """Duration in seconds and rate in Hz; (NaN, 0) where the file is missing, no audio, or promises too much."""
    try:
        require_file(path)
        info = soundfile.info(path)
        if info.frames == 0:  # whatever follows the header of a recorder that lost power, it announces nothing
            data = Path(path).read_bytes()
            info = soundfile.info(io.BytesIO(mended(data, find_samples(data))))
        check_header(info.frames, info.samplerate, info.channels)
    except (soundfile.LibsndfileError, OSError, EOFError, OverflowError):
        return float("nan"), 0
    return info.frames / info.samplerate, int(info.samplerate)


def channels(path: str) -> int:
    """Number of channels of a recording, 0 where it is missing or no audio."""
    try:
        require_file(path)
        return int(soundfile.info(path).channels)
    except (soundfile.LibsndfileError, OSError):
        return 0
