"""The incumbent trained again under another seed: how often a rule drops it.

The twin is the table's best experiment with fresh noise. At every epoch t (and for the finished fold) the two-way
layout experiment + fold is fitted to the best lwlrap so far; the twin's value on fold k is the incumbent's fitted
value plus the residual, at the same t, of a donor: a cell (experiment, fold) drawn at random with replacement, one
for each fold of the twin. So the whole curve is shifted, by as much at each epoch as a real training strayed there,
and ends at the drawn final value: curves stray more half-way than at the end, and a rung judges half-way. Residuals
are multiplied by √(cells / degrees of freedom), for a fit leaves less than there was. Values are cut to [0, 1] and
made not to fall, as a best-so-far must.

The residuals hold the experiments' own liking of folds beside the luck of the seed, which alone tells the incumbent
from its twin: they overstate what training it again would do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from _replays import Rule, arrivals, play
from numpy.typing import NDArray
from scipy.stats import binomtest

from raytag.search.race import fold_effects
from raytag.search.race.replay import Curves


@dataclass(frozen=True)
class Noise:
    """What a twin is drawn from.

    Attributes
    ----------
    fitted : np.ndarray [shape=(K, T + 1), dtype=float64]
        The incumbent's best lwlrap so far after each epoch, then that of the finished fold, without noise.
    residuals : np.ndarray [shape=(cells, T + 1), dtype=float64]
        Of the donors.
    """

    fitted: NDArray[np.float64]
    residuals: NDArray[np.float64]

    @property
    def spread(self) -> float:
        """Standard deviation of the finished folds' residuals, in lwlrap."""
        return float(np.sqrt((self.residuals[:, -1] ** 2).mean()))


def incumbent(curves: Curves) -> int:
    """The experiment with the best mean over all folds."""
    return int(curves.final.mean(axis=1).argmax())


def noise(curves: Curves, *, better_half: bool) -> Noise:
    """Fit the layouts to all experiments, or only to the better half by their mean over all folds.

    Raises
    ------
    ValueError
        Fewer than two experiments or folds are left: nothing is known of noise.
    """
    ranked = np.argsort(-curves.final.mean(axis=1), kind="stable")
    rows = ranked[: (len(ranked) + 1) // 2] if better_half else ranked  # the incumbent comes first
    values = np.concatenate([curves.best[rows], curves.final[rows, :, None]], axis=2)
    n, n_folds, length = values.shape
    if n < 2 or n_folds < 2:
        raise ValueError(f"the noise of a training needs two experiments and two folds, not {n} and {n_folds}")
    scale = np.sqrt(n * n_folds / ((n - 1) * (n_folds - 1)))
    fitted, residuals = np.empty((n_folds, length)), np.empty((n * n_folds, length))
    for t in range(length):
        layout = fold_effects.fit(values[:, :, t])
        model = layout.estimates[:, None] + layout.fold_effects
        fitted[:, t] = model[0]
        residuals[:, t] = scale * (values[:, :, t] - model).ravel()
    return Noise(fitted, residuals)


def with_twin(curves: Curves, source: Noise, rng: np.random.Generator) -> Curves:
    """The table with a twin of the incumbent as its last row."""
    donors = rng.integers(len(source.residuals), size=len(source.fitted))
    values = np.clip(source.fitted + source.residuals[donors], 0.0, 1.0)
    best, final, at = np.maximum.accumulate(values[:, :-1], axis=1), values[:, -1], incumbent(curves)
    variance = curves.clip_variance
    return Curves(
        np.concatenate([curves.best, best[None]]),
        np.concatenate([curves.final, final[None]]),
        (*curves.kinds, curves.kinds[at]),
        None if variance is None else np.concatenate([variance, variance[at : at + 1]]),
    )


def dropped(
    curves: Curves,
    source: Noise,
    rules: Mapping[str, Rule],
    number: int,
    seed: int,
    *,
    shuffle_folds: bool,
    advance: Callable[[float], None],
) -> tuple[list[dict[str, Any]], list[int]]:
    """Share of ``number`` replays in which each rule leaves the twin incomplete, with Wilson's 95 % interval.

    Every replay has another twin and another order of arrival, the same for all rules. The incumbent itself
    takes part too.

    Returns
    -------
    rows : list of dict
        rule, dropped, low, high, count, replays.
    places : list of int
        Place of each replay's twin among all experiments by its mean over all folds, from 1: a twin that drew
        badly is no longer one of the best.
    """
    n, n_folds = curves.final.shape
    rng = np.random.default_rng([seed, 1])
    orders = arrivals(n + 1, n_folds, number, [seed, 2], shuffle_folds=shuffle_folds)
    counts, places = dict.fromkeys(rules, 0), list[int]()
    for arrival in orders:
        table = with_twin(curves, source, rng)
        truth = table.final.mean(axis=1)
        places.append(1 + int((truth > truth[n]).sum()))
        for name, rule in rules.items():
            counts[name] += n not in play(rule, table, arrival)[1]
            advance(1)
    return [{"rule": name, **share(count, number)} for name, count in counts.items()], places


def share(count: int, number: int) -> dict[str, Any]:
    """A share with its interval (Wilson 1927)."""
    interval = binomtest(count, number).proportion_ci(0.95, method="wilson")
    low, high = float(interval.low), float(interval.high)
    return {"dropped": count / number, "low": low, "high": high, "count": count, "replays": number}
