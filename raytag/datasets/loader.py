"""From a dataset folder to a table of clips."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from raytag.datasets import folds, readers
from raytag.datasets.containers import find_samples, mended
from raytag.datasets.readers import ListedClip, Listing, Problems
from raytag.datasets.table import COLUMNS, ClipTable, DatasetError, multi_hot

HEADER_THREADS = 16  # headers are waited for, not computed


def load(
    directory: str | os.PathLike[str],
    *,
    n_folds: int | None = None,
    fold_method: str = "auto",
    seed: int = 0,
) -> ClipTable:
    """Read a dataset folder, whose layout is recognised (see ``raytag.datasets.readers``).

    Only CSV files and the headers of audio files are read. A missing or unreadable audio file is no error
    here: its duration is NaN, ``audit`` counts it, and the feature cache gives the reason.

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

    Raises
    ------
    DatasetError
        No known layout, or faults in its CSV files; the message names file and line.
    """
    if "://" in os.fspath(directory):
        raise DatasetError(
            f"dataset folder {os.fspath(directory)}: recordings are read from a local disk; copy them there"
        )
    root = Path(os.path.abspath(directory))
    return table_of(root, readers.read(root), n_folds=n_folds, fold_method=fold_method, seed=seed)


def table_of(
    root: Path, listing: Listing, *, n_folds: int | None = None, fold_method: str = "auto", seed: int = 0
) -> ClipTable:
    """What a reader found in the folder ``root`` (absolute) as a table of clips; the rest is as in `load`."""
    classes = listing.classes or tuple(sorted({label for entry in listing.entries for label in entry.labels}))
    _check_labels(listing.entries, classes)

    curated = [i for i, entry in enumerate(listing.entries) if entry.subset == "curated"]
    if not curated:
        raise DatasetError(f"{root}: no clip to train on in a dataset of the layout {listing.layout}")
    labels = [_joined(entry.labels, classes) for entry in listing.entries]
    fold = np.full(len(listing.entries), -1, dtype=np.int64)
    fold[curated] = _folds(
        [listing.entries[i] for i in curated],
        multi_hot([labels[i] for i in curated], classes),
        n_folds=n_folds,
        method=fold_method,
        seed=seed,
    )
    return ClipTable(_frame(root, listing, labels, fold), classes, root, listing.layout, listing.submission)


def _joined(labels: Sequence[str], classes: Sequence[str]) -> str:
    return ",".join(labels) if len(labels) < 2 else ",".join(sorted(labels, key=classes.index))


def _check_labels(entries: Sequence[ListedClip], classes: Sequence[str]) -> None:
    known, problems = set(classes), Problems()
    for entry in entries:
        for label in entry.labels:
            if label not in known:
                problems.add(entry.csv, entry.line, f"label {label!r} is not a class of the sample submission")
    problems.raise_any()


def _folds(
    curated: Sequence[ListedClip], targets: np.ndarray, *, n_folds: int | None, method: str, seed: int
) -> np.ndarray:
    """Folds of the curated entries, with faults of given ones put down to their lines."""
    given = groups = None
    if curated[0].group is not None:
        groups = [entry.group or "" for entry in curated]
    if curated[0].fold is not None and method in ("auto", "given"):
        given = _given_folds(curated)
        if groups is not None:
            _check_whole(curated)
    return folds.assign(targets, given=given, groups=groups, n_folds=n_folds, method=method, seed=seed)


def _given_folds(curated: Sequence[ListedClip]) -> np.ndarray:
    given, problems = np.zeros(len(curated), dtype=np.int64), Problems()
    for i, entry in enumerate(curated):
        text = entry.fold or ""
        if text.isascii() and text.isdecimal() and len(text) < 10:
            given[i] = int(text)
        else:
            problems.add(
                entry.csv,
                entry.line,
                f"fold {text!r} is not a whole number from 0 up; correct it, or set fold_method to make new folds",
            )
    problems.raise_any()
    return given


def _check_whole(curated: Sequence[ListedClip]) -> None:
    """A group in two given folds is a leak: the model is scored on what it was trained on."""
    first: dict[str, ListedClip] = {}
    problems = Problems()
    for entry in curated:
        if not entry.group:
            continue
        other = first.setdefault(entry.group, entry)
        if int(entry.fold or 0) != int(other.fold or 0):
            problems.add(
                entry.csv,
                entry.line,
                f"group {entry.group!r} is in fold {entry.fold} here and in fold {other.fold} on line "
                f"{other.line}; a group belongs in one fold: correct the folds, or set fold_method to 'group'",
            )
    problems.raise_any()


def _frame(root: Path, listing: Listing, labels: Sequence[str], fold: np.ndarray) -> pd.DataFrame:
    paths = [str(root / entry.clip) for entry in listing.entries]
    with ThreadPoolExecutor(HEADER_THREADS) as pool:
        headers = list(pool.map(_header, paths))
    columns = {
        "clip": [entry.clip for entry in listing.entries],
        "fname": [entry.fname for entry in listing.entries],
        "path": paths,
        "labels": labels,
        "subset": [entry.subset for entry in listing.entries],
        "fold": fold,
        "group": [entry.group or "" for entry in listing.entries],
        "duration": [duration for duration, _ in headers],
        "rate": [rate for _, rate in headers],
    }
    return pd.DataFrame({name: pd.Series(columns[name], dtype=dtype) for name, dtype in COLUMNS.items()})


def _header(path: str) -> tuple[float, int]:
    """Duration in seconds and rate in Hz; (NaN, 0) where the file is missing or no audio."""
    try:
        info = soundfile.info(path)
        if info.frames == 0:  # whatever follows the header of a recorder that lost power, it announces nothing
            data = Path(path).read_bytes()
            info = soundfile.info(io.BytesIO(mended(data, find_samples(data))))
    except (soundfile.LibsndfileError, OSError, EOFError):
        return float("nan"), 0
    return info.frames / info.samplerate, int(info.samplerate)
