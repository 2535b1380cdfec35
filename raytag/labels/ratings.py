"""How well the labels of clips agree with predictions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from raytag.blends.means.base import blend_scores
from raytag.blends.pairs import TINY
from raytag.metrics import clip_precisions

PREDICTED = 3  # classes of a clip that a table for people shows


def summed(
    predictions: Iterable[tuple[NDArray[np.int64], NDArray[np.float32]]], n_clips: int, n_classes: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The geometric mean of models each of which predicts some of the clips, as logarithms.

    Parameters
    ----------
    predictions : iterable of (int64 array (n,), float32 array (n, n_classes))
        Of each model the clips, none twice, and their probabilities.
    n_clips, n_classes : int

    Returns
    -------
    logs : float64 array (n_clips, n_classes)
        Mean log-probability over the models of a clip; 0 where it has none.
    models : int64 array (n_clips,)
        How many predicted each clip.
    """
    logs, models = np.zeros((n_clips, n_classes)), np.zeros(n_clips, np.int64)
    for rows, probabilities in predictions:
        logs[rows] += blend_scores(probabilities)
        models[rows] += 1
    return logs / np.maximum(models, 1)[:, None], models


def rated(
    targets: NDArray[np.float32], logs: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Agreement of labels with predictions, and the clips by it.

    lwlrap is what predictions are scored by, but says the same of many clips. The margin says how far the least
    likely of a clip's labels stands above all other classes, or below the likeliest of them; among the clips with
    the lowest more are truly wrong (``docs/results.md``, noisy labels).

    Parameters
    ----------
    targets : float32 array (n_clips, n_classes), 0/1
        Each clip has a label.
    logs : float64 array (n_clips, n_classes)
        Log-probabilities.

    Returns
    -------
    scores : float64 array (n_clips,)
        lwlrap of each clip (`raytag.metrics.clip_precisions`), in (0, 1].
    margins : float64 array (n_clips,)
        The smallest log-probability of a clip's labels less the largest of other classes: above 0 where the score
        is 1. A clip that has all labels has the floor of probabilities for the latter.
    order : int64 array (n_clips,)
        By margin, the highest first; of equal ones those that stand first.
    """
    scores, labelled = clip_precisions(targets, logs), targets > 0
    rest = np.where(labelled, np.log(TINY), logs).max(axis=1)
    margins = np.where(labelled, logs, np.inf).min(axis=1) - rest
    return scores, margins, np.argsort(-margins, kind="stable")


def predicted_words(logs: ArrayLike, classes: Sequence[str]) -> list[str]:
    """``Bark 0.91, Meow 0.05, Purr 0.01``: the likeliest classes of each clip with their probabilities."""
    values = np.exp(np.asarray(logs))
    order = np.argsort(-values, axis=1, kind="stable")[:, :PREDICTED]
    return [", ".join(f"{classes[c]} {row[c]:.2f}" for c in own) for row, own in zip(values, order, strict=True)]


def trusted(
    scores: ArrayLike, *, share: float | None = None, count: int | None = None, above: float | None = None
) -> NDArray[np.bool_]:
    """The clips with the highest scores, bool (n_clips,): of equal ones those that stand first.

    Parameters
    ----------
    scores : array_like (n_clips,)
    share : float
        Of the clips, in (0, 1], at least one; or
    count : int
        how many, 1 to n_clips; or
    above : float
        all with a higher score.

    Raises
    ------
    ValueError
        None or several of the three are given, one is out of its range, or no score is that high.
    """
    values = np.asarray(scores, np.float64)
    if sum(given is not None for given in (share, count, above)) != 1:
        raise ValueError("give one of share, count and above")
    if above is not None:
        if not (kept := values > above).any():
            raise ValueError(f"--above {above:g}: no score is higher; the highest is {values.max():g}")
        return kept
    if share is not None and not 0 < share <= 1:
        raise ValueError(f"--share {share:g}: must be above 0 and at most 1")
    if count is not None and not 1 <= count <= len(values):
        raise ValueError(f"--count {count}: there are {len(values)} clips")
    number = count if count is not None else max(1, round((share or 0) * len(values)))
    kept = np.zeros(len(values), bool)
    kept[np.argsort(-values, kind="stable")[:number]] = True
    return kept


def table(
    fnames: Sequence[str],
    labels: Sequence[str],
    scores: NDArray[np.float64],
    rows: NDArray[np.int64],
    **more: ArrayLike,
) -> pd.DataFrame:
    """Columns fname, labels, score and ``more``, of these rows in this order; scores to 6 decimals."""
    columns = {"fname": list(fnames), "labels": list(labels), "score": scores.round(6)}
    frame = pd.DataFrame(columns | {name: np.asarray(own) for name, own in more.items()})
    return frame.iloc[rows].reset_index(drop=True)
