"""Tables of predictions: column fname, then one float32 column a class, one row a clip.

Folds, second-level models and ensembles leave such tables, submissions are such tables, and models from elsewhere
join as such tables. Here they are written, and read by clip.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray


class PredictionsError(ValueError):
    """A table of predictions that does not fit the clips; the message names the table and the place."""


def predictions_frame(fnames: Sequence[str], values: ArrayLike, classes: Sequence[str]) -> pd.DataFrame:
    """The table of ``values`` (n, n_classes)."""
    frame = pd.DataFrame(np.asarray(values, dtype=np.float32), columns=list(classes))
    frame.insert(0, "fname", list(fnames))
    return frame


def aligned(
    frame: pd.DataFrame, fnames: Sequence[str], classes: Sequence[str], where: str, clips: str = "clips"
) -> NDArray[np.float32]:
    """The probabilities of a table in the order of ``fnames``, checked.

    Parameters
    ----------
    frame : pd.DataFrame
        Columns fname and ``classes`` in order, one row for each of ``fnames`` in any order. Cells may be text.
    fnames, classes : sequence of str
    where : str
        Name of the table in messages.
    clips : str
        What ``fnames`` are called in messages: "3 {clips} have no prediction".

    Returns
    -------
    np.ndarray [shape=(n, n_classes)], float32

    Raises
    ------
    PredictionsError
        Other columns; a clip that stands twice, is missing or does not belong there; a value outside [0, 1] or NaN.
    """
    expected = ["fname", *classes]
    if list(frame.columns) != expected:
        odd = [c for c in [*frame.columns, *expected] if (c in frame.columns) != (c in expected)]
        raise PredictionsError(
            f"{where}: its columns are not fname and the run's classes in order (look at {odd[:3]})"
        )
    row = row_by_clip(frame, where)
    missing = [fname for fname in fnames if fname not in row]
    if missing:
        raise PredictionsError(f"{where}: {len(missing)} {clips} have no prediction, first {missing[0]}")
    if len(row) > len(fnames):
        extra = sorted(set(row) - set(fnames))
        raise PredictionsError(f"{where}: {len(extra)} clips do not belong there, first {extra[0]}")
    return class_values(frame, classes, where)[[row[fname] for fname in fnames]].astype(np.float32)


def row_by_clip(frame: pd.DataFrame, where: str) -> dict[str, int]:
    """The row of each clip; a clip that stands twice is a `PredictionsError`."""
    row = {fname: i for i, fname in enumerate(frame["fname"])}
    if len(row) < len(frame):
        twice = frame["fname"][frame["fname"].duplicated()].iloc[0]
        raise PredictionsError(f"{where}: clip {twice} stands twice; keep one row for each clip")
    return row


def class_values(
    frame: pd.DataFrame, classes: Sequence[str], where: str, probabilities: bool = True
) -> NDArray[np.float64]:
    """The values of a table in class order, (n_rows, n_classes); a `PredictionsError` names what is no probability,
    or no finite number."""
    cells = frame[list(classes)]
    numbers = cells if (cells.dtypes == np.float32).all() else cells.apply(pd.to_numeric, errors="coerce")
    values: NDArray[np.float64] = numbers.to_numpy(dtype=np.float64)
    valid = (values >= 0) & (values <= 1) if probabilities else np.isfinite(values)  # NaN is in no range
    wrong = np.argwhere(~valid)
    if len(wrong):
        i, c = wrong[0]
        found = f"clip {frame['fname'].iloc[i]}, class {classes[c]!r}: {cells.iloc[i, c]!r}"
        kind = "probability between 0 and 1" if probabilities else "finite number"
        raise PredictionsError(f"{where}: {found} is no {kind}")
    return values
