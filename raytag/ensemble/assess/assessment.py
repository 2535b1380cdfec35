"""What each way of choosing an ensemble is worth, which one is kept, and how sure that is.

Every way is scored three times: chosen on all folds and scored on them (in-sample); chosen without each fold and
scored on it (nested); and, to choose between the ways without looking, chosen without each two folds. Which way is
kept a rule decides (`raytag.ensemble.assess.rules`); the nested score of what is kept repeats that choice inside:
for fold k it is decided by what happens on the other folds.

Scores are sums of per-model scores (`raytag.blends.means.base.blend_scores`) and therefore exact: no exponential
rounds two classes into a tie.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raytag.blends.means.base import blend_scores
from raytag.blends.subsets import Found
from raytag.ensemble.assess.bootstrap import Bootstrap, Interval
from raytag.ensemble.assess.rules import SINGLE, Candidate
from raytag.ensemble.choose.choices import Choices
from raytag.ensemble.choose.left_out import LeftOut
from raytag.ensemble.choose.ways import RULES, WAYS
from raytag.ensemble.predictions.oof import OofMatrix
from raytag.ensemble.stackers.second_level import SecondLevel
from raytag.metrics import label_precisions


@dataclass(frozen=True)
class Scored:
    """One way of choosing.

    Attributes
    ----------
    way : str
    in_sample, nested : float
        lwlrap; nested is NaN where fewer than two folds have labels.
    values, nested_values : np.ndarray [shape=(n_labels,)], float64
        Precision at each label; of nested, NaN at labels that nothing was chosen without.
    interval : Interval
        Of the nested score, over folds and clips or groups.
    """

    way: str
    in_sample: float
    nested: float
    values: NDArray[np.float64]
    nested_values: NDArray[np.float64]
    interval: Interval

    @property
    def optimism(self) -> float:
        """In-sample minus nested score."""
        return self.in_sample - self.nested


@dataclass(frozen=True)
class Assessment:
    """All ways, the one that is kept, and how it compares.

    Attributes
    ----------
    ways : dict of str to Scored
        Simplest first.
    final : Scored
        ``way`` is the one that is kept; its nested score repeats the choice between the ways.
    decided : dict of int to str
        The way that was kept without looking at each fold; empty with fewer than three folds, and where the way
        was given.
    given : bool
        Whether the user said which way to keep.
    to_single, to_own : Interval or None
        Nested score of the final ensemble minus that of the best single model; and minus the out-of-fold score of
        the single model that is the best on all folds, which does not change with the fold.
    runner_up : str or None
        The way with the highest nested score of those that are not the same ensemble.
    to_runner_up : Interval or None
        Nested score of the way that is kept minus the runner-up's, like with like: neither repeats the choice
        between the ways.
    grouped : bool
        Whether intervals are over folds and groups; else over folds and clips.
    """

    ways: dict[str, Scored]
    final: Scored
    decided: dict[int, str]
    given: bool
    to_single: Interval | None
    to_own: Interval | None
    runner_up: str | None
    to_runner_up: Interval | None
    grouped: bool

    @property
    def repeated(self) -> bool:
        """Whether the choice between the ways was repeated inside, or there was none."""
        return self.given or bool(self.decided)


class WayScores:
    """Ranking scores of every way with any folds left out.

    Parameters
    ----------
    oof : OofMatrix
    blend : str
        One of `raytag.blends.means.BLENDS`.
    choices : Choices
    second : SecondLevel or None
        Second-level models, if there are any.
    """

    def __init__(self, oof: OofMatrix, blend: str, choices: Choices, second: SecondLevel | None) -> None:
        self.oof, self.blend, self.choices, self.second = oof, blend, choices, second
        self.ways = [name for name, way in WAYS.items() if second is not None or not way.stackers]
        self._model: dict[int, NDArray[np.float64]] = {}

    def members(self, way: str, left_out: LeftOut) -> Found | None:
        """The first-level members of an ensemble; None for stackers alone."""
        name = WAYS[way].members_of
        return self.choices.without[left_out].ways[name] if name else None

    def of(self, way: str, left_out: LeftOut, fold: int) -> tuple[NDArray[np.float64], int]:
        """Scores for the clips of a fold by what a way chooses without ``left_out``.

        With nothing left out, stackers still predict only folds that they were not trained on.

        Returns
        -------
        total : np.ndarray [shape=(clips of the fold, n_classes)], float64
            The sum over models, repeats included.
        n_models : int
            How many they are.
        """
        rows = np.flatnonzero(self.oof.fold == fold)
        total = np.zeros((len(rows), len(self.oof.classes)))
        found = self.members(way, left_out)
        members = found.members if found is not None else ()
        n_models = len(members)
        for member, weight in Counter(members).items():
            total += weight * self._of_model(member)[rows]
        if family := WAYS[way].stackers:
            assert self.second is not None
            readers = self.choices.without[left_out].ways["subset"].members
            stackers = self.second.predictions(readers, left_out or (fold,), family, fold)
            total += blend_scores(stackers, self.blend).sum(axis=0)
            n_models += len(stackers)
        return total, n_models

    def size(self, way: str, left_out: LeftOut) -> int:
        """How many first-level models a way needs, for its stackers to read too."""
        of = WAYS[way].members_of or "subset"
        return len(set(self.choices.without[left_out].ways[of].members))

    def _of_model(self, member: int) -> NDArray[np.float64]:
        if member not in self._model:
            self._model[member] = blend_scores(self.oof.probabilities[member : member + 1], self.blend)[0]
        return self._model[member]


def assess(scores: WayScores, seed: int, way: str = "auto") -> Assessment:
    """Score all ways, keep one, and compare it.

    Parameters
    ----------
    scores : WayScores
    seed : int
        Of the bootstrap.
    way : str
        The way to keep, or the rule that decides (`raytag.ensemble.choose.ways.RULES`).
    """
    oof, left_outs, rule = scores.oof, scores.choices.without, RULES.get(way)
    clip, _, _ = label_precisions(oof.targets, np.zeros_like(oof.targets))
    fold_of_label = oof.fold[clip]

    def drawn(labels: NDArray[np.bool_]) -> Bootstrap:
        return Bootstrap(oof.group.tolist(), clip[labels], seed, oof.fold)

    def precisions(fold: int, way: str, left_out: LeftOut) -> NDArray[np.float64]:
        rows = oof.fold == fold
        if not oof.targets[rows].any():
            return np.empty(0)
        return label_precisions(oof.targets[rows], scores.of(way, left_out, fold)[0])[2]

    def collect(folds: Sequence[int], way_of: Callable[[int], str], without: Callable[[int], LeftOut]) -> NDArray:
        values = np.full(len(clip), np.nan)
        for fold in folds:
            values[fold_of_label == fold] = precisions(fold, way_of(fold), without(fold))
        return values

    def candidate(name: str, nested: NDArray, own: NDArray, left_out: LeftOut) -> Candidate:
        known = ~np.isnan(nested)
        return Candidate(nested[known], own[known], bool(WAYS[name].stackers), scores.size(name, left_out))

    def without(name: str, k: int) -> Candidate:
        """A way on the folds but k, which is out of sight, and so is each of them once more."""
        others = [j for j in outer if j != k]
        nested = collect(others, lambda _: name, lambda j: (min(j, k), max(j, k)))
        own = collect(others, lambda _: name, lambda _: (k,)) if name == SINGLE else nested
        return candidate(name, nested, own, (k,))

    outer = [left_out[0] for left_out in left_outs if len(left_out) == 1]
    bootstrap = drawn(np.full(len(clip), True))
    ways = {}
    for name in scores.ways:
        values = collect(range(oof.n_folds), lambda _, name=name: name, lambda _: ())  # type: ignore[misc]
        nested = collect(outer, lambda _, name=name: name, lambda k: (k,))  # type: ignore[misc]
        ways[name] = _scored(name, values, nested, bootstrap)
    decided = {}
    if rule and any(len(left_out) == 2 for left_out in left_outs):
        for k in outer:
            inner = {name: without(name, k) for name in scores.ways}
            decided[k] = rule.keep(inner, drawn(fold_of_label != k))
    kept = way
    if rule:  # with one fold nothing shows that a blend is better
        found = {name: candidate(name, scored.nested_values, scored.values, ()) for name, scored in ways.items()}
        kept = rule.keep(found, bootstrap) if outer else SINGLE
    final = ways[kept]
    if decided:
        nested = collect(outer, lambda k: decided[k], lambda k: (k,))
        final = _scored(kept, final.values, nested, bootstrap)
    return _compare(ways, final, decided, rule is None, bootstrap, bool(outer))


def _scored(way: str, values: NDArray[np.float64], nested: NDArray[np.float64], bootstrap: Bootstrap) -> Scored:
    known = bool(len(nested)) and not np.isnan(nested).any()
    score = float(nested.mean()) if known else math.nan
    interval = bootstrap.interval(nested) if known else Interval(math.nan, math.nan, math.nan)
    return Scored(way, float(values.mean()), score, values, nested, interval)


def _compare(
    ways: dict[str, Scored],
    final: Scored,
    decided: dict[int, str],
    given: bool,
    bootstrap: Bootstrap,
    nests: bool,
) -> Assessment:
    to_single = to_own = to_runner_up = runner_up = None
    if nests:
        to_single = bootstrap.interval(final.nested_values - ways[SINGLE].nested_values)
        to_own = bootstrap.interval(final.nested_values - ways[SINGLE].values)
        kept = ways[final.way].nested_values
        # a way that chose the very same ensembles is no rival
        rivals = {
            way: s for way, s in ways.items() if way != final.way and not np.array_equal(s.nested_values, kept)
        }
        if rivals:
            runner_up = max(rivals, key=lambda way: rivals[way].nested)
            to_runner_up = bootstrap.interval(kept - rivals[runner_up].nested_values)
    return Assessment(ways, final, decided, given, to_single, to_own, runner_up, to_runner_up, bootstrap.grouped)
