"""What features tell before anything trains: copies in other formats, test clips unlike training, a vector each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xxhash
from numpy.typing import NDArray

from raytag.datasets.findings import Finding, some
from raytag.datasets.table import ClipTable
from raytag.features.bank import Bank
from raytag.parts import Features
from raytag.seeding import generator

APART = 0.7  # AUC of telling training clips from test clips above which their scores may disagree
MOST = 4000  # training clips, and test clips, that are compared; of more so many are drawn
_FOLDS = 5
_SHOWN = 5
MAX_VALUES = 200_000_000  # of the bank; where these clips have more, frames are left out at equal distances
MAX_BANDS = 128  # where frames have more, neighbouring bands are averaged after pooling


def same_sound(table: ClipTable, bank: Bank) -> list[Finding]:
    """Clips with the very same features that have no group in common: copies in other files or formats.

    Parameters
    ----------
    table : ClipTable
        Usable clips.
    bank : Bank
        Of its clips, in its order.
    """
    clips: dict[bytes, list[int]] = {}
    for i, (start, end) in enumerate(zip(bank.offsets, bank.offsets[1:], strict=False)):
        clips.setdefault(xxhash.xxh3_128_digest(bank.buffer[start:end].tobytes()), []).append(i)
    names, groups, folds, subset = (table.clips[c].to_numpy() for c in ("clip", "group", "fold", "subset"))
    apart: list[str] = []
    across: list[str] = []
    for rows in clips.values():
        known = {groups[i] for i in rows}
        if len(rows) < 2 or (len(known) == 1 and "" not in known) or all(subset[i] == "test" for i in rows):
            continue
        shown = " = ".join(names[i] for i in rows[:3])
        (across if len({folds[i] for i in rows if folds[i] >= 0}) > 1 else apart).append(shown)
    found: list[Finding] = []
    if across:
        text = some(across, "sound is in several folds", "sounds are in several folds") + " under several names"
        found.append(
            Finding("sound-folds", text, "Give its clips one name in the column group of the table", wrong=True)
        )
    if apart:
        found.append(Finding("sound", some(apart, "sound has several names", "sounds have several names")))
    return found


def train_or_test(table: ClipTable, bank: Bank, features: Features) -> Finding | None:
    """How well test clips can be told from curated ones by a summary of their features; None without test clips.

    Standardised summaries, a logistic regression, the area under the ROC curve of
    five-fold cross-validation: 0.5 where nothing tells them apart.
    """
    train, test = (_drawn(table.rows(subset)) for subset in ("curated", "test"))
    if min(len(train), len(test)) < _FOLDS:
        return None
    rows = np.concatenate([train, test])
    truth = np.arange(len(rows)) >= len(train)
    auc, score = _told_apart(features.summary(bank, rows), truth)
    odd = [f"{table.clips['fname'][i]}" for i in rows[np.argsort(-np.where(truth, score, -np.inf))[:_SHOWN]]]
    text = f"Test clips can be told from curated ones with an AUC of {auc:.2f}; most unlike them: {', '.join(odd)}"
    if auc <= APART:
        return Finding("test-alike", text)
    return Finding("test-unlike", f"{text}; cross-validation and the test score may disagree")


def _drawn(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    return rows if len(rows) <= MOST else np.sort(generator(0).choice(rows, MOST, replace=False))


def _told_apart(x: NDArray[np.float64], truth: NDArray[np.bool_]) -> tuple[float, NDArray[np.float64]]:
    """AUC and cross-validated log-odds (n,) of a row being of the second kind."""
    from sklearn.linear_model import LogisticRegression  # takes a second to import
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500, class_weight="balanced"))
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=0)
    score = cross_val_predict(model, x, truth, cv=folds, method="decision_function")
    return float(roc_auc_score(truth, score)), score


def levels(bank: Bank, features: Features) -> tuple[float, float, float]:
    """Lowest, median and highest level of the clips, dB: of each its loudest band, or its peak."""
    peaks: Sequence[float] = [
        features.level(bank.buffer[start:end])
        for start, end in zip(bank.offsets, bank.offsets[1:], strict=False)
        if end > start
    ]
    return (min(peaks), float(np.median(peaks)), max(peaks)) if peaks else (np.nan, np.nan, np.nan)


def pool(bank: Bank, clips: np.ndarray) -> np.ndarray:
    """Mean and standard deviation over the frames of clips of a bank (rows, int64), in the bank's unit.

    Returns
    -------
    np.ndarray [shape=(n, 2 * min(bands, MAX_BANDS))], float64
    """
    bands = bank.width
    limit = max(1, MAX_VALUES // (len(clips) * bands))  # frames a clip
    groups = np.linspace(0, bands, min(bands, MAX_BANDS), endpoint=False).astype(np.int64)
    widths = np.diff(groups, append=bands)
    pooled = np.empty((len(clips), 2, len(groups)))
    for row, i in enumerate(clips):
        start, end = bank.offsets[i], bank.offsets[i + 1]
        # sums of int16 and of their squares are exact in float64, so the order of the additions does not matter
        frames = bank.buffer[start : end : -(-int(end - start) // limit)].astype(np.float64)
        mean = frames.sum(axis=0) / len(frames)
        variance = np.einsum("tb,tb->b", frames, frames) / len(frames) - mean * mean
        both = np.stack([mean, np.sqrt(np.maximum(variance, 0.0))])
        pooled[row] = np.add.reduceat(both, groups, axis=1) / widths
    return pooled.reshape(len(clips), -1)
