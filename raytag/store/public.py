"""What public leaderboards said of a run's models: ``public.csv``, one line a submission, only ever added to."""

from __future__ import annotations

import csv
import datetime
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

from raytag.store.files import Storage

FILE = "public.csv"
COLUMNS = ("time", "name", "score", "cv_lwlrap", "nested", "note")
NUMBERS = ("score", "cv_lwlrap", "nested")


def note_score(
    storage: Storage, name: str, score: float, cv_lwlrap: float | None, nested: float | None, note: str = ""
) -> None:
    """Add a line to the ``public.csv`` of a run.

    Parameters
    ----------
    storage : Storage
        The run's folder.
    name : str
        Of the experiment, ensemble or file that was submitted.
    score : float
        What the leaderboard said, in [0, 1].
    cv_lwlrap, nested : float or None
        What cross-validation says of it, as far as that is known.

    Raises
    ------
    ValueError
        ``score`` is no such number.
    """
    if not 0 <= score <= 1:
        raise ValueError(f"--public {score}: what a leaderboard says lies between 0 and 1")
    text = storage.read(FILE).decode() if storage.exists(FILE) else ",".join(COLUMNS) + "\n"
    line = io.StringIO()
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%MZ")
    csv.writer(line, lineterminator="\n").writerow([now, name, score, cv_lwlrap, nested, note])
    storage.write(FILE, (text + "\n" * (not text.endswith("\n")) + line.getvalue()).encode())


def noted_scores(storage: Storage) -> list[dict[str, Any]]:
    """The lines of ``public.csv`` by column, in their order; scores are numbers, None where a cell is empty.

    Raises
    ------
    ValueError
        Somebody edited the file and a column or a score is missing; the message names the line.
    """
    if not storage.exists(FILE):
        return []
    reader = csv.DictReader(io.StringIO(storage.read(FILE).decode("utf-8-sig"), newline=""))
    rows: list[dict[str, Any]] = []
    for row in reader:
        where = f"{storage.where(FILE)}:{reader.line_num}"
        try:
            numbers = {name: float(row[name]) if row[name] else None for name in NUMBERS}
            rows.append({name: numbers.get(name, row[name]) for name in COLUMNS})
        except (KeyError, TypeError, ValueError):
            raise ValueError(f"{where}: the columns {', '.join(COLUMNS)} are expected, with numbers") from None
        if numbers["score"] is None or not all(math.isfinite(n) for n in numbers.values() if n is not None):
            raise ValueError(f"{where}: a score is missing or no number")
    return rows


def rank_correlation(noted: Sequence[Mapping[str, Any]]) -> tuple[int, float | None]:
    """How many noted scores have a CV beside them, nested or else ``cv_lwlrap``, and Spearman's rank correlation
    of the two: None with fewer than three, or where all of one side are equal."""
    cv = [row["cv_lwlrap"] if row["nested"] is None else row["nested"] for row in noted]
    pairs = [(row["score"], own) for row, own in zip(noted, cv, strict=True) if own is not None]
    if len(pairs) < 3 or any(len(set(side)) == 1 for side in zip(*pairs, strict=True)):
        return len(pairs), None
    from scipy.stats import spearmanr

    return len(pairs), float(spearmanr(pairs).statistic)
