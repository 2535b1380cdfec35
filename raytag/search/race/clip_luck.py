"""How much of a difference between two experiments on one fold is the luck of the clips."""

from __future__ import annotations

import numpy as np
import pandas as pd

from raytag.datasets.table import group_names, multi_hot
from raytag.metrics import label_precisions
from raytag.store.predictions import aligned


def clip_variance(first: pd.DataFrame, second: pd.DataFrame, clips: pd.DataFrame) -> float | None:
    """Variance of one experiment's lwlrap on a fold, as far as it matters when two are compared.

    Half the variance that a bootstrap over clips gives to the difference of two lwlraps. Clips of one group
    (the same source, site or uploader) are drawn together. lwlrap is a ratio of sums over clips, so the
    bootstrap's limit for many draws has a closed form: with x_g the summed difference in precision and n_g the
    number of labels of group g, Σ (x_g − D n_g)² / (Σ n_g)² · G / (G − 1) (Cochran 1977, "Sampling
    Techniques", section 2.11).

    Parameters
    ----------
    first, second : pd.DataFrame
        Out-of-fold predictions of the same fold: fname, then one probability a class.
    clips : pd.DataFrame
        The run's clips: fname, labels (separated by commas), group.

    Returns
    -------
    float or None
        In squared units of lwlrap; None where fewer than two groups carry labels.

    Raises
    ------
    PredictionsError
        The predictions are not of the same clips.
    """
    classes, fnames = list(first.columns[1:]), first["fname"].tolist()
    scores = aligned(first, fnames, classes, "the first predictions")
    others = aligned(second[["fname", *classes]], fnames, classes, "the second predictions")
    known = clips.drop_duplicates("fname").set_index("fname").loc[fnames]
    targets = multi_hot(known["labels"].to_numpy(dtype=object), tuple(classes))
    if not targets.any():
        return None
    rows, _, a = label_precisions(targets, scores)
    _, _, b = label_precisions(targets, others)
    group = pd.factorize(group_names(known["group"]))[0][rows]
    labels = np.bincount(group).astype(np.float64)
    sums = np.bincount(group, weights=a - b)
    sums, labels = sums[labels > 0], labels[labels > 0]
    if len(labels) < 2:
        return None
    ratio = sums.sum() / labels.sum()
    spread = float(((sums - ratio * labels) ** 2).sum()) / float(labels.sum()) ** 2
    return spread * len(labels) / (len(labels) - 1) / 2.0
