"""What a space is once it is loaded: what is drawn first, and the kinds of experiments that are drawn then."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from raytag.experiment import FAMILIES, Experiment, data_needs, unknown_key_message
from raytag.families import reach
from raytag.parts import Features, Member
from raytag.seeding import generator
from raytag.space.distributions import Choice, Distribution, SpaceError, Uniform, listed, pick, plain

#: The parts that learn from earlier stages.
STAGES = ("init", "pseudo")


@dataclass(frozen=True)
class Branch:
    """Experiments of one kind: ``base`` with what varies in it, which is no name of a part.

    ``weight`` is its share of the draws against other branches.
    """

    base: Experiment
    vary: Mapping[str, Distribution]
    weight: float = 1.0

    def draw(self, rng: np.random.Generator) -> Experiment:
        return self.base.replace({key: self.vary[key].sample(rng) for key in sorted(self.vary)})

    @property
    def grid_size(self) -> int:
        """Number of points of the grid: three a continuous field."""
        return math.prod(len(d.grid()) for d in self.vary.values())

    def point(self, number: int) -> Experiment:
        """A point of the grid by its number."""
        changes = {}
        for key in sorted(self.vary):
            values = self.vary[key].grid()
            number, index = divmod(number, len(values))
            changes[key] = values[index]
        return self.base.replace(changes)

    def values(self, key: str) -> list[Any]:
        """The values that a field has here, the base's first; of a range the ends and the middle."""
        return [self.base.flat()[key]] + (self.vary[key].grid() if key in self.vary else [])

    def moved(self, experiment: Experiment) -> list[str]:
        """The fields in which an experiment differs from ``base`` though they do not vary; none where it is of this
        kind."""
        own, other = self.base.flat(), experiment.flat()
        nothing = object()
        keys = [key for key in own | other if key not in self.vary]
        return [key for key in keys if own.get(key, nothing) != other.get(key, nothing)]


@dataclass(frozen=True)
class Space:
    """A loaded space: what is drawn first, one after the other, and what is drawn from then on.

    Attributes
    ----------
    name, path : str
    firsts : tuple of Experiment
        The base experiment, that of each space of a mixture, or all of a list.
    branches : tuple of Branch
        Of each kind of experiment that is drawn; none where nothing varies.
    notes : tuple of str
        Sentences that a launch says first: the file's own, and on fields that are fixed because the data cannot use
        them.
    plugins : tuple of str
        Hashes of the plugins whose classes may be called without it (`raytag.plugins`).
    help : str
        The docstring of the file.
    """

    name: str
    path: str
    firsts: tuple[Experiment, ...]
    branches: tuple[Branch, ...] = ()
    notes: tuple[str, ...] = ()
    plugins: tuple[str, ...] = ()
    help: str = ""

    @classmethod
    def of(cls, name: str, path: str, base: Experiment, vary: Mapping[str, Distribution]) -> Space:
        """The space of a base experiment and what varies."""
        return cls(name, path, (base,), branches_of(base, vary))

    @property
    def first(self) -> Experiment:
        """The experiment that is always drawn first."""
        return self.firsts[0]

    @property
    def bases(self) -> list[Experiment]:
        """What comes first, and of each branch the base."""
        return [*self.firsts, *(branch.base for branch in self.branches)]

    @property
    def earlier(self) -> list[Experiment]:
        """All that experiments learn from, parents that vary too, earliest stages first; none twice."""
        values = [value for branch in self.branches for d in branch.vary.values() for value in d.grid()]
        offered = [value for value in values if isinstance(value, Experiment)]
        found = {e.hash: e for base in (*self.bases, *offered) for e in base.ancestors}
        return sorted((found | {e.hash: e for e in offered}).values(), key=lambda e: e.stage)

    @property
    def varied(self) -> list[str]:
        """The fields in which experiments of this space may differ, sorted."""
        flats = [e.flat() for e in self.bases]
        drawn = {key for branch in self.branches for key in branch.vary}
        return sorted(key for key in {k for flat in flats for k in flat} if key in drawn or _differs(flats, key))

    def fix(self, changes: Mapping[str, Any]) -> Space:
        """The space with dotted fields set to a value; they vary no more. Earlier stages are set too.

        A field of a class that only some experiments have is set in those.

        Raises
        ------
        ValueError
            A key that none has, or a bad value, as ``Experiment.replace`` says it.
        """
        with reach(self.plugins):
            return self._fixed(changes)

    def _fixed(self, changes: Mapping[str, Any]) -> Space:
        known = {key for base in self.bases for key in _named(base, changes).flat()}
        known |= {key for stage in self.earlier for key in _named(stage, _of_earlier(changes)).flat()}
        lacking = [key for key in changes if key not in known]
        if lacking:
            self.first.replace(changes)  # says what is wrong with it
            raise SpaceError(unknown_key_message(lacking[0], sorted(known)))
        firsts: dict[str, Experiment] = {}
        for first in self.firsts:
            own = _set(first, changes)
            firsts.setdefault(own.hash, own)
        branches: dict[str, Branch] = {}
        for old in self.branches:
            base = _set(old.base, changes)
            kept = {key: d for key, d in old.vary.items() if key not in changes and key in base.flat()}
            vary = {key: _set_values(d, changes) for key, d in kept.items()}
            kind = f"{base.hash} {sorted((key, repr(d)) for key, d in vary.items())}"
            weight = old.weight + (branches[kind].weight if kind in branches else 0.0)
            branches[kind] = Branch(base, vary, weight)
        if not any(branch.vary for branch in branches.values()):  # a list is left
            for branch in branches.values():
                firsts.setdefault(branch.base.hash, branch.base)
            branches = {}
        return replace(self, firsts=tuple(firsts.values()), branches=tuple(branches.values()))

    def named(self, name: str) -> Space:
        """The space with another name of its experiments, which leaderboards show; no identity changes.

        Raises
        ------
        ValueError
            No name of an experiment.
        """

        def renamed(experiment: Experiment) -> Experiment:
            return Experiment.model_validate({**experiment.fields(), "name": name})

        branches = tuple(replace(branch, base=renamed(branch.base)) for branch in self.branches)
        return replace(self, firsts=tuple(renamed(e) for e in self.firsts), branches=branches)

    def fit(self, offers: Collection[str], asked: Mapping[str, Any]) -> Space:
        """The space for data that have no more than ``offers``: fields that need more are fixed, and noted.

        Parameters
        ----------
        offers : collection of str
            What the data have of that which fields need (``raytag.parts.Needs``).
        asked : mapping
            Fields that the user fixed by name. They are not replaced.

        Raises
        ------
        ValueError
            One of ``asked`` that the data cannot use has a value that is not neutral.
        """
        changes, notes, earlier = {}, [], self.earlier
        flats = [experiment.flat() for experiment in earlier]
        for key, need in data_needs([*self.bases, *earlier]).items():
            own = [*self.values(key), *(flat[key] for flat in flats if key in flat)]
            if need.what in offers or all(value == need.neutral for value in own):
                continue
            neutral = f"{key}={plain(need.neutral)}"
            if key in asked:
                raise ValueError(
                    f"--set {key}={asked[key]}: the data have no {need.what}. Leave it out, or --set {neutral}"
                )
            changes[key] = need.neutral
            notes.append(
                f"The data have no {need.what}: {key} is fixed at {plain(need.neutral)} ({self._words(key)})"
            )
        if not changes:
            return self
        fitted = self.fix(changes)
        left, before = len(fitted.firsts), len(self.firsts)
        if left < before:
            notes.append(f"{left} of the {before} experiments are left: the others differed in nothing else")
        return replace(fitted, notes=(*self.notes, *notes))

    def values(self, key: str) -> list[Any]:
        """The values that a field has in this space, the first experiment's first; of a range the ends and the
        middle."""
        own = [e.flat()[key] for e in self.firsts if key in e.flat()]
        drawn = [branch.values(key) for branch in self.branches if key in branch.base.flat()]
        return own + [value for values in drawn for value in values]

    def _words(self, key: str) -> str:
        """How the file has a field, for a note."""
        for branch in self.branches:
            distribution = branch.vary.get(key)
            if distribution is not None:
                return f"the space varies it {distribution}"
        if len(self.firsts) == 1:
            return f"the base experiment has {plain(self.first.flat()[key])}"
        return f"the space has {listed(self.values(key))}"

    @property
    def feature_sets(self) -> list[Features]:
        """The different features of all experiments that may be drawn, the first experiment's first.

        Raises
        ------
        SpaceError
            A range of the features varies: there is no end of sets.
        """
        found = [e.features for e in (*self.firsts, *self.earlier)]
        for branch in self.branches:
            own = {key: d for key, d in branch.vary.items() if key.startswith("features.")}
            ranges = [key for key, distribution in own.items() if isinstance(distribution, Uniform)]
            if ranges:
                raise SpaceError(
                    f"{self.path}: VARY[{ranges[0]!r}] is a range, and a launch computes all features first: make "
                    f"it choice([...]), or fix it with --set {ranges[0]}=VALUE"
                )
            points = itertools.product(*(distribution.grid() for distribution in own.values()))
            found += [branch.base.replace(dict(zip(own, point, strict=True))).features for point in points]
        return [features for i, features in enumerate(found) if features not in found[:i]]

    def sample(self, seed: int, index: int) -> Experiment:
        """The experiment number ``index`` of a random search: a function of (seed, index)."""
        if index < len(self.firsts) or not self.branches:
            return self.firsts[index if len(self.firsts) > 1 else 0]
        rng = generator(seed, index)
        return self.branches[pick(rng, [branch.weight for branch in self.branches])].draw(rng)

    def grid_size(self) -> int:
        """Number of points of the grids of all branches, what comes first not counted."""
        return sum(branch.grid_size for branch in self.branches)

    def grid(self, seed: int, number: int) -> list[Experiment]:
        """What comes first, then grid points of all branches in a seeded order without repeats, ``number`` in all.

        A shuffled order makes any prefix of the grid cover every field.
        """
        found = {e.hash: e for e in self.firsts[:number]}
        ends = list(itertools.accumulate(branch.grid_size for branch in self.branches))
        size = ends[-1] if ends else 0
        order: Iterable[int]
        if size <= 1_000_000:
            order = iter(generator(seed, 1).permutation(size).tolist())
        else:  # too many to list: draws of so large a grid hardly repeat, and repeats are dropped below
            rng = generator(seed, 1)
            order = (int(rng.integers(size)) for _ in itertools.count())
        for flat in order:
            if len(found) >= number:
                break
            index = next(i for i, end in enumerate(ends) if flat < end)
            experiment = self.branches[index].point(flat - (ends[index - 1] if index else 0))
            found.setdefault(experiment.hash, experiment)
        return list(found.values())


def worth_varying(experiment: Experiment) -> dict[str, Distribution]:
    """What the parts of an experiment say is worth varying in them, by dotted field: a ``VARY`` to begin with."""
    return {
        f"{name}.{field}": distribution
        for name, part in experiment.all_parts().items()
        if isinstance(part, Member)
        for field, distribution in part.worth_varying.items()
    }


def branches_of(base: Experiment, vary: Mapping[str, Distribution], weight: float = 1.0) -> tuple[Branch, ...]:
    """A branch for each combination of names that vary; each varies what its classes have. None: nothing varies."""
    if not vary:
        return ()
    names = {key: d for key, d in vary.items() if is_name(key)}
    branches: dict[str, Branch] = {}
    for drawn in itertools.product(*(d.grid() for d in names.values())):
        own = base.replace(dict(zip(names, drawn, strict=True))) if names else base
        known, before = own.flat(), branches.get(own.hash)
        rest = {key: d for key, d in vary.items() if key in known and not is_name(key)}
        branches[own.hash] = Branch(own, rest, (before.weight if before else 0.0) + weight)
    total = sum(branch.weight for branch in branches.values())
    return tuple(replace(branch, weight=weight * branch.weight / total) for branch in branches.values())


def _differs(flats: Sequence[Mapping[str, Any]], key: str) -> bool:
    """Whether some have another value of a field than others; not having it is none."""
    values = [flat[key] for flat in flats if key in flat]
    return any(value != values[0] for value in values)


def is_name(key: str) -> bool:
    part, _, field = key.partition(".")
    return part in FAMILIES and field == "name"


def _named(base: Experiment, changes: Mapping[str, Any]) -> Experiment:
    """The experiment with the names of ``changes``, and what else of the parts that are named stands there: a class
    may have fields without defaults."""
    parts = {key.partition(".")[0] for key in changes if is_name(key)}
    return base.replace({key: value for key, value in changes.items() if key.partition(".")[0] in parts})


def _set(base: Experiment, changes: Mapping[str, Any]) -> Experiment:
    """The experiment with those of the changes that it can take; so are those that it learns from."""
    known = _named(base, changes).flat()
    own = {key: value for key, value in changes.items() if key in known}
    parents = {
        f"{part}.parent": _set(parent, _of_earlier(changes))
        for part in STAGES
        if f"{part}.parent" not in own and f"{part}.name" not in own
        if (parent := getattr(base, part).earlier) is not None and parent.settable
    }
    return base.replace(own | parents)


def _of_earlier(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Changes as they concern earlier stages: what those learn from stays theirs, unless it is to be nothing."""
    nothing = {f"{part}.name": FAMILIES[part].default for part in STAGES}
    return {
        key: value
        for key, value in changes.items()
        if key.partition(".")[0] not in STAGES or nothing.get(key) == value
    }


def _set_values(distribution: Distribution, changes: Mapping[str, Any]) -> Distribution:
    """A distribution whose values may be experiments, which are set."""
    if isinstance(distribution, Uniform):
        return distribution
    values = (
        _set(v, _of_earlier(changes)) if isinstance(v, Experiment) and v.settable else v
        for v in distribution.values
    )
    return Choice(tuple(values))
