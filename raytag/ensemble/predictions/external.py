"""Predictions that raytag did not make: one CSV or Parquet file a model.

A file has a column ``fname`` and one column of probabilities for each class, in any order, and one row for each
curated clip of the run: the prediction of a model that did not train on that clip. Rows for the run's test clips
may stand in the same file. Everything about them is checked but the one thing that a file does not show: that its
predictions are out-of-fold on the run's folds.
"""

from __future__ import annotations

import difflib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from raytag.datasets.tables.csv_file import CsvFile, parse_csv, read_csv
from raytag.store.predictions import PredictionsError, aligned, row_by_clip

#: File name extensions and what reads them.
SUFFIXES = (".csv", ".parquet")


@dataclass(frozen=True)
class ExternalModel:
    """What a file holds, in the run's order of clips and classes.

    Attributes
    ----------
    name : str
        Of the model: the file's name without its extension.
    oof : np.ndarray [shape=(n_clips, n_classes)], float32
    test : np.ndarray [shape=(n_test, n_classes)], float32, or None
        None when the file has no row of a test clip.
    """

    name: str
    oof: NDArray[np.float32]
    test: NDArray[np.float32] | None


def read_external(
    path: Path,
    classes: Sequence[str],
    fnames: Sequence[str],
    test_fnames: Sequence[str],
    ignored: Sequence[str] = (),
) -> ExternalModel:
    """Read and check one file.

    Parameters
    ----------
    path : Path
        A ``.csv`` or ``.parquet`` file.
    classes, fnames, test_fnames : sequence of str
        The run's classes, curated clips and test clips.
    ignored : sequence of str
        Clips whose rows are left out: the run cannot use them.

    Raises
    ------
    PredictionsError
        The file cannot be read, a class, a clip or a probability is missing or wrong, or a column or clip is
        unknown to the run.
    """
    frame = read_table(path, classes)
    both = sorted(set(fnames) & set(test_fnames))
    if both:
        raise PredictionsError(
            f"{path}: the run has a curated and a test clip named {both[0]}; a row could mean either"
        )
    known = {*fnames, *test_fnames}
    frame = frame.loc[~frame["fname"].isin(set(ignored) - known), ["fname", *classes]]
    unknown = [fname for fname in frame["fname"] if fname not in known]
    if unknown:
        raise PredictionsError(
            f"{path}: {len(unknown)} clips are neither curated nor test clips of the run, first {unknown[0]!r}"
            f"{closest(unknown[0], sorted(known))}"
        )
    curated, test = (frame[frame["fname"].isin(names)] for names in (fnames, test_fnames))
    there = set(test["fname"])
    missing = [fname for fname in test_fnames if fname not in there]
    if there and missing:
        raise PredictionsError(
            f"{path}: predicts some of the run's {len(test_fnames)} test clips, but {len(missing)} of them are "
            f"missing, first {missing[0]}; give all of them or none"
        )
    what = f"of the run's {len(fnames)} curated clips"
    return ExternalModel(
        path.stem,
        aligned(curated, fnames, classes, str(path), what),
        aligned(test, test_fnames, classes, str(path)) if len(test) else None,
    )


def read_table(path: Path, classes: Sequence[str] | None = None, content: bytes | None = None) -> pd.DataFrame:
    """The rows of a file of predictions: fname, each clip once, and one column a class.

    Parameters
    ----------
    path : Path
        A ``.csv`` or ``.parquet`` file. The cells of a CSV stay as they are written.
    classes : sequence of str, optional
        The classes that it must have; whatever it has by default.
    content : bytes, optional
        What the file holds, where it is no local one.

    Raises
    ------
    PredictionsError
        The file cannot be read, or a column or clip is missing, unknown or there twice.
    """
    frame = _read(path, content)
    wanted = [str(c) for c in frame.columns if c != "fname"] if classes is None else classes
    _check_columns(path, list(frame.columns), wanted)
    row_by_clip(frame, str(path))
    return frame


def _read(path: Path, content: bytes | None) -> pd.DataFrame:
    if path.suffix not in SUFFIXES:
        raise PredictionsError(f"{path}: predictions are read from {' and '.join(SUFFIXES)} files")
    if content is None and not path.is_file():
        raise PredictionsError(f"{path}: there is no such file")
    try:
        if path.suffix == ".csv":
            return _of_csv(read_csv(path) if content is None else parse_csv(content, path))
        frame = pd.read_parquet(path if content is None else io.BytesIO(content))
    except (ValueError, OSError) as error:  # of ours, pandas and pyarrow: all derive from these
        raise PredictionsError(f"{path}: cannot be read ({error})") from None
    if "fname" not in frame.columns and not isinstance(frame.index, pd.RangeIndex):
        frame = frame.rename_axis("fname").reset_index()  # clips were the index
    return frame


def _of_csv(table: CsvFile) -> pd.DataFrame:
    """Cells as they stand: an fname such as 001 is no number, and a class may be called NA."""
    columns, rows = list(table.columns), [cells for _, cells in table.rows]
    if columns[0] in ("", "Unnamed: 0"):  # pandas' index: row numbers, or the clips
        if "fname" not in columns:
            columns[0] = "fname"
        elif all(cells[0].isdecimal() for cells in rows):
            columns, rows = columns[1:], [cells[1:] for cells in rows]
    frame = pd.DataFrame(rows, columns=columns, dtype=str)
    if table.delimiter == ";":  # where these separate cells, commas stand before decimals
        values = [name for name in columns if name != "fname"]
        frame[values] = frame[values].apply(lambda column: column.str.replace(",", "."))
    return frame


def _check_columns(path: Path, columns: Sequence[object], classes: Sequence[str]) -> None:
    names = [str(name) for name in columns]
    twice = [name for i, name in enumerate(names) if name in names[:i]]
    if twice:
        raise PredictionsError(f"{path}: column {twice[0]!r} stands twice")
    if "fname" not in names:
        raise PredictionsError(f"{path}: has no column 'fname'{closest('fname', names)}")
    extra = [name for name in names if name != "fname" and name not in classes]
    missing = [name for name in classes if name not in names]
    if missing:
        raise PredictionsError(
            f"{path}: {len(missing)} of the run's {len(classes)} classes have no column, first {missing[0]!r}"
            f"{closest(missing[0], extra)}; names must be equal to the letter"
        )
    if extra:
        shown = ", ".join(map(repr, extra[:5])) + (", …" if len(extra) > 5 else "")
        raise PredictionsError(f"{path}: columns that are no class of the run: {shown}; remove them")


def closest(name: str, others: Sequence[str]) -> str:
    """A hint at what may be meant, for the end of a sentence; "" where nothing is near."""
    found = difflib.get_close_matches(name, others, n=1)
    return f" (the closest that is there: {found[0]!r})" if found else ""
