"""Search spaces: a named Python file that says which experiments are worth training.

A space is a file of values, either

    BASE = Experiment(...)                                   # always the first experiment drawn
    VARY = {"optimizer.lr": loguniform(3e-4, 3e-3), ...}     # dotted field -> distribution

or ``EXPERIMENTS = [Experiment(...), ...]``. ``load("specaug_mixup")`` looks for
``search_spaces/specaug_mixup.py`` in the current folder, then beside ``launch.py``; a path to a file works
too.
"""

from __future__ import annotations

import difflib
import itertools
import math
import runpy
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from raytag.experiment import Experiment, Features, data_needs, unknown_key_message
from raytag.seeding import generator


class SpaceError(ValueError):
    """A space that cannot be found or does not make sense; the message names the file and the key."""


@dataclass(frozen=True)
class Uniform:
    """A float between ``low`` and ``high``, on a logarithmic scale if ``log``."""

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        if not (self.low < self.high and (self.low > 0 or not self.log)):
            raise SpaceError(f"{self}: needs low < high" + (" and low > 0" if self.log else ""))

    def at(self, share: float) -> float:
        """The value below which ``share`` of the distribution lies, to four significant digits.

        Rounding keeps names and hashes of experiments readable; no field needs more.
        """
        if self.log:
            value = math.exp(math.log(self.low) + share * (math.log(self.high) - math.log(self.low)))
        else:
            value = self.low + share * (self.high - self.low)
        return min(max(float(f"{value:.4g}"), self.low), self.high)

    def sample(self, rng: np.random.Generator) -> float:
        return self.at(float(rng.random()))

    def grid(self) -> list[float]:
        return [self.at(share) for share in (0.0, 0.5, 1.0)]


@dataclass(frozen=True)
class Choice:
    """One of ``values``; values may be tuples."""

    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise SpaceError("choice([]): needs at least one value")

    def sample(self, rng: np.random.Generator) -> Any:
        return self.values[int(rng.integers(len(self.values)))]

    def grid(self) -> list[Any]:
        return list(self.values)


Distribution = Uniform | Choice


def uniform(low: float, high: float) -> Uniform:
    """A float, all values between ``low`` and ``high`` equally likely."""
    return Uniform(low, high)


def loguniform(low: float, high: float) -> Uniform:
    """A positive float, all orders of magnitude between ``low`` and ``high`` equally likely."""
    return Uniform(low, high, log=True)


def choice(values: Sequence[Any]) -> Choice:
    """One of a list of values, equally likely."""
    return Choice(tuple(values))


@dataclass(frozen=True)
class Space:
    """A loaded space: either ``base`` with what varies, or a fixed list of ``experiments``.

    ``notes`` are sentences on fields that are fixed because the data cannot use them.
    """

    name: str
    path: str
    base: Experiment | None
    vary: Mapping[str, Distribution]
    experiments: tuple[Experiment, ...]
    notes: tuple[str, ...] = ()

    def fix(self, changes: Mapping[str, Any]) -> Space:
        """The space with dotted fields set to a value; they vary no more.

        Raises
        ------
        ValueError
            An unknown key or a bad value, as ``Experiment.replace`` says it.
        """
        if self.base is None:
            fixed = {e.hash: e for e in (e.replace(changes) for e in self.experiments)}
            return replace(self, experiments=tuple(fixed.values()))
        vary = {key: d for key, d in self.vary.items() if key not in changes}
        return replace(self, base=self.base.replace(changes), vary=vary)

    def fit(self, offers: Collection[str], asked: Mapping[str, Any]) -> Space:
        """The space for data that have no more than ``offers``: fields that need more are fixed, and noted.

        Parameters
        ----------
        offers : collection of str
            What the data have of that which fields need (``raytag.experiment.Needs``).
        asked : mapping
            Fields that the user fixed by name. They are not replaced.

        Raises
        ------
        ValueError
            One of ``asked`` that the data cannot use has a value that is not neutral.
        """
        changes, notes = {}, []
        for key, need in data_needs().items():
            if need.what in offers or all(value == need.neutral for value in self.values(key)):
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
        left, before = len(fitted.experiments), len(self.experiments)
        if left < before:
            notes.append(f"{left} of the {before} experiments are left: the others differed in nothing else")
        return replace(fitted, notes=tuple(notes))

    def values(self, key: str) -> list[Any]:
        """The values that a field has in this space, the base's first; of a range the ends and the middle."""
        values = [e.flat()[key] for e in (self.experiments if self.base is None else [self.base])]
        return values + (self.vary[key].grid() if key in self.vary else [])

    def _words(self, key: str) -> str:
        """How the file has a field, for a note."""
        if self.base is None:
            return f"the space has {_listed(self.values(key))}"
        distribution = self.vary.get(key)
        if distribution is None:
            return f"the base experiment has {plain(self.base.flat()[key])}"
        if isinstance(distribution, Uniform):
            return f"the space varies it from {distribution.low:g} to {distribution.high:g}"
        return f"the space varies it over {_listed(distribution.values)}"

    @property
    def first(self) -> Experiment:
        """The experiment that is always drawn first."""
        return self.base if self.base is not None else self.experiments[0]

    @property
    def features(self) -> Features:
        """The features that all experiments of the space share: one launch reads one bank.

        Raises
        ------
        SpaceError
            They differ or vary.
        """
        varied = [key for key in self.vary if key.startswith("features.")]
        if varied or any(e.features != self.first.features for e in self.experiments):
            raise SpaceError(
                f"{self.path}: the experiments of one launch share their features, but "
                f"{', '.join(varied) or 'features'} differ. Launch once for each, fixed with --set "
                f"{varied[0] if varied else 'features.FIELD'}=VALUE, into the same --run"
            )
        return self.first.features

    def sample(self, seed: int, index: int) -> Experiment:
        """The experiment number ``index`` of a random search: a function of (seed, index)."""
        if index == 0 or self.base is None:
            return self.first if index == 0 else self.experiments[index]
        rng = generator(seed, index)
        return self.base.replace({key: self.vary[key].sample(rng) for key in sorted(self.vary)})

    def grid_size(self) -> int:
        """Number of points of the grid (three a continuous field), the base experiment not counted."""
        return math.prod(len(d.grid()) for d in self.vary.values()) if self.base is not None else 0

    def grid(self, seed: int, number: int) -> list[Experiment]:
        """The base experiment, then grid points in a seeded order without repeats, ``number`` in all.

        A shuffled order makes any prefix of the grid cover every field.
        """
        if self.base is None:
            return list(self.experiments[:number])
        keys = sorted(self.vary)
        values = [self.vary[key].grid() for key in keys]
        size = self.grid_size()
        if size <= 1_000_000:
            order = iter(generator(seed, 1).permutation(size).tolist())
        else:  # too many to list: draws of so large a grid hardly repeat, and repeats are dropped below
            rng = generator(seed, 1)
            order = (int(rng.integers(size)) for _ in itertools.count())
        found = {self.base.hash: self.base}
        for flat in order:
            if len(found) >= number:
                break
            point = {}
            for key, options in zip(keys, values, strict=True):
                flat, index = divmod(flat, len(options))
                point[key] = options[index]
            experiment = self.base.replace(point)
            found.setdefault(experiment.hash, experiment)
        return list(found.values())


def plain(value: Any) -> str:
    """A value as ``--set`` takes it."""
    if value is None:
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _listed(values: Sequence[Any]) -> str:
    return ", ".join(dict.fromkeys(plain(value) for value in values))


def folders() -> list[Path]:
    """Where named spaces are looked for, in this order."""
    return [Path.cwd() / "search_spaces", Path(__file__).resolve().parent.parent / "search_spaces"]


def available() -> list[str]:
    """Names of all spaces that ``load`` finds."""
    return sorted({file.stem for folder in folders() for file in folder.glob("[!_]*.py")})


def load(name: str) -> Space:
    """Load a space by name or by the path of its file.

    Raises
    ------
    SpaceError
        No such space (the nearest names are given), or a file that does not define one.
    """
    if name.endswith(".py"):
        path = Path(name)
        if not path.is_file():
            raise SpaceError(f"no space file {name}")
    else:
        found = [folder / f"{name}.py" for folder in folders() if (folder / f"{name}.py").is_file()]
        if not found:
            names = available()
            near = difflib.get_close_matches(name, names, n=3)
            hint = f"did you mean {' or '.join(near)}? " if near else ""
            raise SpaceError(
                f"no space {name!r}; {hint}there are: {', '.join(names) or 'none'} "
                f"(a file search_spaces/{name}.py or a path ending in .py would be one)"
            )
        path = found[0]
    try:
        values = runpy.run_path(str(path))
    except Exception as error:
        raise SpaceError(f"{path}: {type(error).__name__}: {error}") from error
    return _check(path, values)


def _check(path: Path, values: Mapping[str, Any]) -> Space:
    base, vary, experiments = values.get("BASE"), values.get("VARY"), values.get("EXPERIMENTS")
    if (base is None) == (experiments is None):
        raise SpaceError(f"{path}: define either BASE (and VARY) or EXPERIMENTS")
    if experiments is not None:
        if vary is not None:
            raise SpaceError(f"{path}: VARY goes with BASE, not with EXPERIMENTS")
        if not experiments or not all(isinstance(e, Experiment) for e in experiments):
            raise SpaceError(f"{path}: EXPERIMENTS must be a list of Experiment, not empty")
        return Space(path.stem, str(path), None, {}, tuple(experiments))
    if not isinstance(base, Experiment):
        raise SpaceError(f"{path}: BASE must be an Experiment, not {type(base).__name__}")
    known = base.flat()
    for key, distribution in (vary or {}).items():
        if key not in known:
            raise SpaceError(f"{path}: VARY: {unknown_key_message(key, list(known))}")
        if not isinstance(distribution, (Uniform, Choice)):
            raise SpaceError(
                f"{path}: VARY[{key!r}] must be uniform(...), loguniform(...) or choice([...]), "
                f"not {distribution!r}"
            )
        for value in distribution.grid():
            try:
                base.replace({key: value})
            except ValueError as error:
                raise SpaceError(f"{path}: VARY[{key!r}]: {error}") from None
    named = base.model_copy(update={"name": path.stem}) if base.name == "experiment" else base
    return Space(path.stem, str(path), named, dict(vary or {}), ())
