"""Tree-structured Parzen estimators (TPE), hyperopt's, as a function of what is known. Imports hyperopt."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from hyperopt import Trials, hp, tpe
from hyperopt.base import JOB_STATE_DONE, STATUS_OK, Domain

from raytag.experiment import Experiment
from raytag.seeding import generator
from raytag.space.distributions import Choice, Distribution, pick

GAMMA = 0.25  # hyperopt's: ceil(GAMMA * sqrt(n)) of n valued points are the good ones
EI_CANDIDATES = 24  # hyperopt's: draws of which the best is suggested
ATTEMPTS = 10  # suggestions before one may repeat a point
_KIND = "kind"  # hyperopt's name of the choice between kinds


Point = tuple[int, Mapping[str, Any]]  # a kind, and a value for each of its keys


class Tpe:
    """Tree-structured Parzen estimators [1]_ (hyperopt's) over plain points, as a function of what is known.

    A point is of one of several kinds and has a value for each of its kind's keys. The points with the best values
    are one density, all others a second, and of 24 draws from the first the one with the largest ratio of the two
    is suggested. If that repeats a point, the best of fewer draws is taken, down to a single one, which is no
    longer greedy.

    Parameters
    ----------
    kinds : sequence of mapping of str to Uniform or Choice
        By key. A value that stands k times in a Choice is k times as likely before anything is known.
    weights : sequence of float
        How likely each kind is before anything is known.
    seed : int
        Non-negative.
    n_initial_points : int
        Suggestions below this index are random; so are later ones while no value is known.

    References
    ----------
    .. [1] Bergstra, Bardenet, Bengio & Kégl (2011). Algorithms for hyper-parameter optimization. NeurIPS 24.
    """

    def __init__(
        self,
        kinds: Sequence[Mapping[str, Distribution]],
        weights: Sequence[float],
        seed: int,
        n_initial_points: int,
    ) -> None:
        if n_initial_points < 0:
            raise ValueError(f"n_initial_points must be at least 0, not {n_initial_points}")
        self.kinds = [{key: kind[key] for key in sorted(kind)} for kind in kinds]
        self.shares = [weight / sum(weights) for weight in weights]
        self.seed, self.n_initial_points = seed, n_initial_points
        parameters = [
            {label: _parameter(label, d) for label, d in zip(self._labels(k), kind.values(), strict=True)}
            for k, kind in enumerate(self.kinds)
        ]
        tree: Any = parameters[0]
        if len(parameters) > 1:
            tree = {_KIND: hp.pchoice(_KIND, [*zip(self.shares, parameters, strict=True)])}
        self.domain = Domain(dict, tree)

    def _labels(self, kind: int) -> list[str]:
        """hyperopt's names of a kind's keys."""
        return [f"{kind}: {key}" if len(self.kinds) > 1 else key for key in self.kinds[kind]]

    def suggest(
        self, index: int, history: Mapping[int, Point], values: Mapping[int, float]
    ) -> tuple[int, dict[str, Any]]:
        """The point number ``index``.

        Parameters
        ----------
        index : int
        history : mapping of int to (int, mapping)
            Points by number. Only those below ``index`` count, and of these only those that the distributions
            cover.
        values : mapping of int to float
            Value of a point by number, larger is better. A point without a value, such as one still in
            training, counts as not good: it keeps suggestions made at the same time apart. A point that repeats
            an earlier one is the same point; the first value among them holds.

        Returns
        -------
        int, dict
            Its kind and values; floats to four significant digits, as ``Uniform.at`` gives them. A point is
            suggested again only if several draws gave nothing new: hardly ever unless all distributions are
            choices.
        """
        points: dict[tuple[float, ...], int] = {}  # coordinates -> number of first appearance, in this order
        scores: dict[tuple[float, ...], float] = {}
        for number in sorted(i for i in history if i < index):
            point = self._coordinates(*history[number])
            if point is not None:
                points.setdefault(point, number)
                if number in values:
                    scores.setdefault(point, values[number])
        if index < self.n_initial_points or not scores:
            rng = generator(self.seed, index)  # the stream of Space.sample
            kind = pick(rng, self.shares)
            return kind, {key: d.sample(rng) for key, d in self.kinds[kind].items()}
        trials = self._trials(points, scores)
        # The good ones are counted among points with a value: hyperopt would count, and pick, the others too.
        n_good = math.ceil(GAMMA * math.sqrt(len(scores)))
        gamma = (n_good - 0.5) / math.sqrt(len(points))
        for attempt in range(ATTEMPTS):
            seed = int(generator(self.seed, index, attempt).integers(2**63))
            (found,) = tpe.suggest(
                [index],
                self.domain,
                trials,
                seed,
                n_startup_jobs=0,
                n_EI_candidates=max(1, EI_CANDIDATES >> attempt),
                gamma=gamma,
                verbose=False,
            )
            coordinates = found["misc"]["vals"]
            kind = int(coordinates[_KIND][0]) if len(self.kinds) > 1 else 0
            own = zip(self._labels(kind), self.kinds[kind].items(), strict=True)
            suggestion = {key: _value(d, coordinates[label][0]) for label, (key, d) in own}
            if self._coordinates(kind, suggestion) not in points:
                break
        return kind, suggestion

    def _coordinates(self, kind: int, point: Mapping[str, Any]) -> tuple[float, ...] | None:
        """The point as hyperopt's numbers, its kind first; None where a distribution does not cover it."""
        found: list[float] = [kind]
        for key, distribution in self.kinds[kind].items():
            value = point[key]
            if isinstance(distribution, Choice):
                options = _distinct(distribution)
                if value not in options:
                    return None
                found.append(options.index(value))
            else:
                number = isinstance(value, (int, float)) and not isinstance(value, bool)
                if not (number and distribution.low <= value <= distribution.high):
                    return None
                found.append(float(value))
        return tuple(found)

    def _trials(self, points: Mapping[tuple[float, ...], int], scores: Mapping[tuple[float, ...], float]) -> Trials:
        """hyperopt's record of the points, oldest first.

        TPE looks at the order of losses alone. Losses are ranks here: numpy's sort leaves ties in an order that
        differs between processors, and a rank is never tied (of equal values the older point comes first).
        """
        valued = sorted(scores, key=lambda point: (-scores[point], points[point]))
        ordered = [*valued, *(point for point in points if point not in scores)]
        loss = {point: float(rank) for rank, point in enumerate(ordered)}
        every = [label for kind in range(len(self.kinds)) for label in self._labels(kind)]
        trials = Trials()
        for point, number in points.items():
            kind = int(point[0])
            coordinates = dict(zip(self._labels(kind), point[1:], strict=True))
            if len(self.kinds) > 1:
                coordinates[_KIND] = kind
            labels = every + [_KIND] * (len(self.kinds) > 1)
            misc = {
                "tid": number,
                "cmd": self.domain.cmd,
                "workdir": None,
                "idxs": {label: [number] if label in coordinates else [] for label in labels},
                "vals": {label: [coordinates[label]] if label in coordinates else [] for label in labels},
            }
            result = {"status": STATUS_OK, "loss": loss[point]}
            (doc,) = trials.new_trial_docs([number], [None], [result], [misc])
            doc["state"] = JOB_STATE_DONE
            trials.insert_trial_doc(doc)
        trials.refresh()
        return trials


def as_stored(base: Experiment, key: str, distribution: Distribution) -> Distribution:
    """The distribution with choices as an experiment holds them, such as tuples where a list was given."""
    if isinstance(distribution, Choice):
        return Choice(tuple(base.replace({key: value}).flat()[key] for value in distribution.values))
    return distribution


def _distinct(distribution: Choice) -> list[Any]:
    found: list[Any] = []
    for value in distribution.values:  # a list: values need not be hashable
        if value not in found:
            found.append(value)
    return found


def _parameter(key: str, distribution: Distribution) -> Any:
    """hyperopt's node for a distribution.

    A categorical of distinct values, not a randint over all of them: of two copies of a value, the one that no
    point is recorded under would look untried for ever.
    """
    if isinstance(distribution, Choice):
        values = distribution.values
        weights = [values.count(value) / len(values) for value in _distinct(distribution)]
        return hp.pchoice(key, [(weight, number) for number, weight in enumerate(weights)])
    if distribution.log:
        return hp.loguniform(key, math.log(distribution.low), math.log(distribution.high))
    return hp.uniform(key, distribution.low, distribution.high)


def _value(distribution: Distribution, coordinate: float) -> Any:
    """The value that hyperopt's number stands for, floats to four significant digits."""
    if isinstance(distribution, Choice):
        return _distinct(distribution)[int(coordinate)]
    return min(max(float(f"{float(coordinate):.4g}"), distribution.low), distribution.high)
