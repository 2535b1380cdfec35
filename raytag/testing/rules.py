"""The contract of a stopping rule: what a race relies on, whatever the rule judges by."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import numpy as np

from raytag.search.race.race import DECISIONS, Race
from raytag.search.race.replay import Curves, Replay, check, simulate
from raytag.search.race.rules import RULES, Rule
from raytag.search.race.settings import Settings

DROP = {"event", "experiment", "fold", "rung", "value", "bar", "margin", "reason"}
EXPERIMENTS = 12  # in each race
SEEDS = range(12)


def check_rule(rule: Rule) -> None:
    """Hold a rule to its contract in a dozen small races, in a few seconds.

    Raises
    ------
    AssertionError
        The rule breaks it; the message says how.
    """
    check_names(rule)
    check_decisions(rule)
    check_portfolio(rule)
    check_survivors(rule)
    check_ties(rule)
    check_log(rule)
    check_state(rule)
    check_order(rule)
    check_evidence(rule)
    check_stopping(rule)


def check_names(rule: Rule) -> None:
    """It has a name for the command line, a line of help, and rungs in the first fold."""
    assert rule.name.replace("_", "").replace("-", "").isalnum(), f"{rule.name!r} is no name for --stopping"
    assert rule.about.strip(), f"{rule.name} does not say what it stops"
    assert "\n" not in rule.about, f"{rule.name}: about is to be one line"
    inside = sorted({r for r in rule.rungs if 0 < r < 1})
    assert list(rule.rungs) == inside, f"{rule.name}: {rule.rungs} are no ascending shares in (0, 1)"


def check_decisions(rule: Rule) -> None:
    """What it says of a dropped experiment is complete, finite, JSON, and lies below the bar."""
    for made in races(rule):
        for drop in made.drops:
            assert drop.keys() == DROP, f"{rule.name} says {sorted(drop)}, not {sorted(DROP)}"
            try:
                same = json.loads(json.dumps(drop)) == drop
            except TypeError as error:
                raise AssertionError(f"{rule.name}: {error}, so the log cannot hold {drop}") from None
            assert same, f"{rule.name}: {drop} does not come back from JSON as it was"
            value, bar, margin = (float(drop[name]) for name in ("value", "bar", "margin"))
            assert all(map(math.isfinite, (value, bar, margin))), f"{rule.name}: not finite: {drop}"
            assert margin >= 0, f"{rule.name}: a negative margin: {drop}"
            assert bar - value > margin, f"{rule.name} drops what is not below bar - margin: {drop}"
            assert drop["reason"].strip(), f"{rule.name} gives no reason: {drop}"


def check_portfolio(rule: Rule) -> None:
    """At least ``keep`` experiments complete all folds."""
    for made in races(rule):
        wanted = min(made.settings.keep, EXPERIMENTS)
        assert len(made.replay.complete) >= wanted, (
            f"{rule.name}: {len(made.replay.complete)} experiments are complete, not {wanted}"
        )


def check_survivors(rule: Rule) -> None:
    """Who is not dropped ends with all folds."""
    for made in races(rule):
        n_folds, length = made.curves.best.shape[1:]
        for entry in made.replay.race.entries.values():
            whole = len(entry.folds) == n_folds and (made.replay.epochs[int(entry.id)] == length).all()
            assert whole or entry.dropped, f"{rule.name}: {entry.id} was not dropped and lacks folds"


def check_ties(rule: Rule) -> None:
    """Equal experiments all go on, however small the variance is believed to be."""
    one = random_curves(2, 1, 4)
    curves = Curves(np.repeat(one.best, 9, 0), np.repeat(one.final, 9, 0), one.kinds * 9, np.full((9, 4), 1e-9))
    for slots in (1, 4):
        with in_table(rule):
            complete = simulate(curves, Settings(rule.name, 2), range(9), slots).complete
        assert len(complete) == 9, f"{rule.name} drops {9 - len(complete)} of 9 experiments that are equal"


def check_log(rule: Rule) -> None:
    """Decisions follow from the facts before them alone: the same again from the lines of a log."""
    for made, again in zip(races(rule), races(rule), strict=True):
        assert made.replay.events == again.replay.events, f"{rule.name} decides otherwise the second time"
        lines = [{"n": i, "time": "", "key": "k", **e} for i, e in enumerate(made.replay.events)]
        with in_table(rule):
            _, wrong = check(json.loads(json.dumps(lines)), "k")
        assert not wrong, f"{rule.name}: the log does not explain {wrong[0]}"


def check_state(rule: Rule) -> None:
    """It leaves the state as it is, says the same when asked again, and keeps only facts by `State.once`."""
    for made in list(races(rule))[:4]:
        race = Race()
        with in_table(rule):
            for event in made.replay.events:
                race.apply(event)
                state, before = race.state, copy.deepcopy(race.state)
                judged = [e for e in state.active if state.depth(e) < len(state.folds)]
                first = [rule.failing(state, e) for e in judged]
                again = [rule.failing(state, e) for e in judged]
                assert state == before, f"{rule.name} changes the state that it judges by"
                state.found.clear()
                fresh = [rule.failing(state, e) for e in judged]
                assert first == again == fresh, f"{rule.name} says two things of the same facts"


def check_order(rule: Rule) -> None:
    """Names, the numbers of folds and the order of proposals change nothing."""
    names = {str(e): f"x{(5 * e + 3) % EXPERIMENTS:02}" for e in range(EXPERIMENTS)}
    for made in races(rule):
        if made.tied:  # which names may break
            continue
        folds = {k: 7 - k for k in range(made.curves.final.shape[1])}
        facts = [e for e in made.replay.events if e["event"] not in DECISIONS]
        order = {e["experiment"]: (5 * e["index"] + 2) % EXPERIMENTS for e in facts if e["event"] == "propose"}
        other = [_renamed(e, names, folds, order) for e in facts]
        other[1 : EXPERIMENTS + 1] = sorted(other[1 : EXPERIMENTS + 1], key=lambda e: e["index"])
        expected = [_renamed(e, names, folds, order) for e in made.drops]
        with in_table(rule):
            race, found = Race(), []
            for fact in other:
                found += feed(race, **fact)
        same = len(found) == len(expected) and all(map(_close, found, expected))
        assert same, f"{rule.name} looks at names, numbers or the order of proposals: {found}, not {expected}"


def check_evidence(rule: Rule) -> None:
    """Whoever does not ask for the clip variance does not judge by it."""
    if rule.needs_clip_variance:
        return
    for made in races(rule):
        bare = Curves(made.curves.best, made.curves.final, made.curves.kinds)
        with in_table(rule):
            found = simulate(bare, made.settings, made.order, made.slots)
        same = made.replay.complete == found.complete and (made.replay.epochs == found.epochs).all()
        assert same, f"{rule.name} judges by the clip variance: it must say needs_clip_variance"


def check_stopping(rule: Rule) -> None:
    """It stops something in these races, where experiments differ widely, or it says that it never does."""
    stopped = sum(len(made.drops) for made in races(rule))
    assert bool(stopped) == rule.can_stop, f"{rule.name}: can_stop is {rule.can_stop}, and it stopped {stopped}"


# -- races ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Made:
    """A race that was run under a rule."""

    curves: Curves
    settings: Settings
    order: list[int]
    slots: int
    replay: Replay

    @property
    def tied(self) -> bool:
        return len(np.unique(self.curves.final)) < self.curves.final.size

    @property
    def drops(self) -> list[dict[str, Any]]:
        return [e for e in self.replay.events if e["event"] == "drop"]


def races(rule: Rule) -> Iterator[Made]:
    """Small races of all shapes."""
    for seed in SEEDS:
        variance = (None, 1e-4, 1e-2)[seed % 3]
        n_folds, keep, slots = (4, 1, 2, 5)[seed % 4], 1 + seed % 5, 1 + seed % 3
        curves = random_curves(seed, EXPERIMENTS, n_folds, kinds=1 + seed % 2, spread=0.2, variance=variance)
        order = random_order(seed, curves)
        with in_table(rule):
            settings = Settings(rule.name, keep, () if seed == 7 else None)
            replay = simulate(curves, settings, order, slots)
        yield Made(curves, settings, order, slots, replay)


@contextmanager
def in_table(rule: Rule) -> Iterator[None]:
    """As if the rule had its row."""
    with mock.patch.dict(RULES, {rule.name: rule}):
        yield


def random_curves(
    seed: int,
    experiments: int = 10,
    folds: int = 4,
    epochs: int = 8,
    kinds: int = 1,
    spread: float = 0.1,
    variance: float | None = None,
) -> Curves:
    """Experiments that differ, folds that differ more, noise; best-so-far curves that end anywhere near.

    Every third seed, from 0, gives ties. ``spread`` is the standard deviation between experiments, ``variance``
    what resampling clips is said to give, for all first folds but one; None: for none.
    """
    rng = np.random.default_rng(seed)
    worth = rng.normal(0.6, spread, (experiments, 1)) + rng.normal(0, 0.1, (1, folds))
    final = np.clip(worth + rng.normal(0, spread / 2, (experiments, folds)), 0.05, 0.99)
    if seed % 3 == 0:
        final = final.round(1)
    steps = np.sort(rng.uniform(0.3, 1.05, (experiments, folds, epochs)), axis=-1)
    best = np.minimum(final[:, :, None] * steps, 1.0)
    names = tuple(f"kind{i}" for i in rng.integers(0, kinds, experiments))
    found = None if variance is None else np.full((experiments, folds), np.nan)
    if found is not None:
        found[1:, 0] = variance
    return Curves(best, final, names, found)


def random_order(seed: int, curves: Curves) -> list[int]:
    return [int(e) for e in np.random.default_rng(seed + 1).permutation(len(curves.final))]


def feed(race: Race, event: str, **fields: Any) -> list[dict[str, Any]]:
    """Apply a fact and all decisions that follow; these."""
    race.apply({"event": event, **fields})
    decisions: list[dict[str, Any]] = []
    while (decision := race.next_decision()) is not None:
        race.apply(decision)
        decisions.append(decision)
        assert len(decisions) < 1000, "the decisions after one fact have no end"
    return decisions


def _renamed(
    event: Mapping[str, Any], names: Mapping[str, str], folds: Mapping[int, int], order: Mapping[str, int]
) -> dict[str, Any]:
    other = dict(event)
    if event.get("fold") is not None:
        other["fold"] = folds[event["fold"]]
    if "folds" in event:
        other["folds"] = [folds[k] for k in event["folds"]]
    if event["event"] == "propose":
        other["index"] = order[event["experiment"]]
    if "experiment" in event:
        other["experiment"] = names[event["experiment"]]
    return other


def _close(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Equal but for words, which name experiments, and the rounding of sums in another order."""
    numbers = ("value", "bar", "margin")
    return all(math.isclose(one[n], other[n], rel_tol=1e-9, abs_tol=1e-12) for n in numbers if n in one) and all(
        one[name] == other[name] for name in ("event", "experiment", "fold", "rung") if name in one
    )
