"""Folds: which curated clips are validated together.

All functions return int64 (n,): the fold in which a clip is validated, 0..n_folds-1.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from raytag.datasets.table import DatasetError, group_names
from raytag.seeding import generator

METHODS = ("auto", "given", "group", "stratified", "kfold")
DEFAULT_FOLDS = 5
PUBLISHED_KFOLD_SEED = 42  # argus-freesound's make_folds.py


def assign(
    targets: np.ndarray,
    *,
    given: np.ndarray | None = None,
    groups: Sequence[str] | None = None,
    n_folds: int | None = None,
    method: str = "auto",
    seed: int = 0,
) -> np.ndarray:
    """Folds of the curated clips.

    Parameters
    ----------
    targets : np.ndarray [shape=(n, n_classes)]
        Zeros and ones.
    given : np.ndarray [shape=(n,)], optional
        Folds that the dataset brings, any integers.
    groups : sequence of n str, optional
        Clips of one group share a fold; "" is a group of its own.
    n_folds : int, optional
        Default: as many as are given, else 5.
    method : str
        "given" keeps the dataset's folds, "group" keeps groups whole, "stratified" balances labels, "kfold" is
        a plain shuffle; "auto" is the first of given, group and stratified that the data allow.
    seed : int
        Of "group" and "stratified". "kfold" is there to repeat published folds and always uses theirs.

    Raises
    ------
    DatasetError
        The data do not bring what the method needs, or are too few for the number of folds.
    """
    if method not in METHODS:
        raise DatasetError(f"no such fold_method: {method!r}; there are {', '.join(METHODS)}")
    if method == "auto":
        method = "given" if given is not None else "group" if groups is not None else "stratified"
    if method == "given":
        if given is None:
            raise DatasetError(
                "fold_method 'given': the dataset brings no folds; add a column fold to its CSV or "
                "leave fold_method at 'auto'"
            )
        return renumber(given, n_folds)
    n_folds = DEFAULT_FOLDS if n_folds is None else n_folds
    if n_folds < 2:
        raise DatasetError(f"n_folds must be at least 2, not {n_folds}")
    if len(targets) < n_folds:
        raise DatasetError(f"{len(targets)} curated clips are too few for {n_folds} folds; set a smaller n_folds")
    if method == "group":
        if groups is None:
            raise DatasetError(
                "fold_method 'group': the dataset brings no groups; add a column group to its CSV or "
                "leave fold_method at 'auto'"
            )
        return grouped(targets, groups, n_folds, seed)
    if method == "stratified":
        return stratified(targets, n_folds, seed)
    return kfold(len(targets), n_folds)


def renumber(given: np.ndarray, n_folds: int | None = None) -> np.ndarray:
    """The dataset's own folds as 0..K-1 in sorted order."""
    known, folds = np.unique(given, return_inverse=True)
    if n_folds is not None and n_folds != len(known):
        raise DatasetError(
            f"n_folds is {n_folds} but the dataset brings {len(known)} folds of its own; leave n_folds out to keep "
            "them, or set fold_method to 'stratified', 'group' or 'kfold' to make new ones"
        )
    if len(known) < 2:
        raise DatasetError(
            f"all curated clips are in fold {known[0]}: cross-validation needs at least 2 folds; correct the "
            "column fold or set fold_method to 'stratified'"
        )
    return folds.astype(np.int64)


def stratified(targets: np.ndarray, n_folds: int, seed: int = 0) -> np.ndarray:
    """Every label spread evenly over the folds.

    Iterative stratification (Sechidis, Tsoumakas and Vlahavas 2011, *On the Stratification of Multi-Label
    Data*), as the iterative-stratification package does it.
    """
    from iterstrat.ml_stratifiers import MultilabelStratifiedKFold  # scikit-learn takes a second or two

    positive = np.asarray(targets) > 0
    if positive.shape[1] == 1:  # the package takes a single column for a class index
        positive = np.hstack([positive, ~positive])
    splitter = MultilabelStratifiedKFold(n_folds, shuffle=True, random_state=seed)
    folds = _number(splitter.split(positive, positive), len(positive))
    empty = sorted(set(range(n_folds)) - set(folds.tolist()))
    if empty:
        raise DatasetError(f"{len(positive)} curated clips are too few for {n_folds} folds; set a smaller n_folds")
    return folds


def kfold(n: int, n_folds: int = DEFAULT_FOLDS, seed: int = PUBLISHED_KFOLD_SEED) -> np.ndarray:
    """A plain shuffle, blind to labels and groups: argus-freesound's folds for the rows in CSV order."""
    from sklearn.model_selection import KFold

    return _number(KFold(n_folds, shuffle=True, random_state=seed).split(np.zeros(n)), n)


def grouped(targets: np.ndarray, groups: Sequence[str], n_folds: int, seed: int = 0) -> np.ndarray:
    """Groups kept whole, labels and sizes balanced greedily.

    The idea of scikit-learn's ``StratifiedGroupKFold`` for several labels a clip: groups are placed one after
    the other, first those that hold the largest part of some label, each into the fold where it adds least to
    the sum over labels of squared label shares. The number of clips counts as one more label, so an empty
    fold always wins and folds end of similar size. ``seed`` decides ties.
    """
    member, names = pd.factorize(group_names(groups))
    if len(names) < n_folds:
        raise DatasetError(
            f"{len(names)} groups are too few for {n_folds} folds, for a group stays in one fold; "
            "set a smaller n_folds"
        )
    counts = np.hstack([np.asarray(targets, dtype=np.float64), np.ones((len(member), 1))])  # (n, classes + 1)
    by_group = np.zeros((len(names), counts.shape[1]))
    np.add.at(by_group, member, counts)
    by_group /= np.maximum(by_group.sum(axis=0), 1.0)  # share of each label that a group holds
    rng = generator(seed)
    order = np.lexsort((rng.random(len(by_group)), -by_group.max(axis=1)))
    filled = np.zeros((n_folds, by_group.shape[1]))
    fold_of = np.empty(len(by_group), dtype=np.int64)
    for group in order:
        # (x + y)² - x² = 2xy + y², and y² is the same for every fold
        cost = filled @ by_group[group]
        best = np.lexsort((rng.random(n_folds), filled[:, -1], cost))[0]
        fold_of[group] = best
        filled[best] += by_group[group]
    return fold_of[member]


def _number(splits: Iterable[tuple[np.ndarray, np.ndarray]], n: int) -> np.ndarray:
    folds = np.full(n, -1, dtype=np.int64)
    for k, (_, validation) in enumerate(splits):
        folds[validation] = k
    return folds
