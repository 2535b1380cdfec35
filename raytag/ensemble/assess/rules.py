"""Which way of choosing is kept, given what each scored on folds that it had not seen.

A rule is given the ways by name, simplest first, and draws of their labels' folds and groups; it names one of them.

The highest of many noisy scores is partly lucky, and what is lucky is mostly a blend: of ways whose scores cannot
be told apart the simplest is kept (the one-standard-error rule; Breiman, Friedman, Olshen, Stone: Classification
and Regression Trees, 1984, section 3.4.3). Two things differ from the book. The error is that of the *difference*
to the highest, clip by clip and fold by fold: folds differ in difficulty more than ways do, for all ways alike. And
the single model counts with the higher of two scores: nested, where each fold is predicted by whichever model the
others prefer, and its own out-of-fold score, for the model that would be used is one and does not change with the
fold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raytag.ensemble.assess.bootstrap import Bootstrap

SINGLE = "single"  # in `raytag.ensemble.choose.ways.WAYS`


@dataclass(frozen=True)
class Candidate:
    """A way as a rule sees it.

    Attributes
    ----------
    values : np.ndarray [shape=(n_labels,)], float64
        Precision at each label by what was chosen without the label's fold.
    own : np.ndarray [shape=(n_labels,)], float64
        Of the single model by the one that was chosen on all of these folds; of others ``values``.
    stacked : bool
        Whether it needs a second level.
    members : int
        First-level models that it needs, chosen on all of these folds.
    """

    values: NDArray[np.float64]
    own: NDArray[np.float64]
    stacked: bool
    members: int


def highest(found: Mapping[str, Candidate], bootstrap: Bootstrap) -> str:
    """The way with the highest score."""
    return max(found, key=lambda way: found[way].values.mean())


def simplest(found: Mapping[str, Candidate], bootstrap: Bootstrap) -> str:
    """The simplest way within one standard error of the highest: no second level before one, then fewer members."""
    values = {way: one.values for way, one in found.items()}
    if SINGLE in found:
        values[SINGLE] = max(found[SINGLE].values, found[SINGLE].own, key=np.mean)
    order = sorted(found, key=lambda way: (found[way].stacked, found[way].members))
    best = max(order, key=lambda way: values[way].mean())
    return next(way for way in order if way == best or _within(values[best] - values[way], bootstrap))


def _within(difference: NDArray[np.float64], bootstrap: Bootstrap) -> bool:
    return bool(difference.mean() <= bootstrap.error(difference))
