"""Races fed by hand, and races through curves."""

from __future__ import annotations

from hypothesis import strategies as st

from raytag.search.race.race import Race
from raytag.search.race.replay import simulate
from raytag.search.race.rules import RULES
from raytag.search.race.settings import Settings
from raytag.testing.rules import feed, random_curves, random_order

SEEDS = st.integers(0, 10**6)
NAMES = st.sampled_from(list(RULES))


def start(race, rules=None, folds=(0, 1, 2), number=None, weights=None):
    rules, weights = rules or Settings(), weights or [1.0] * len(folds)
    return feed(race, "race", settings=rules.plain(), folds=list(folds), weights=weights, number=number)


def propose(race, names, kind="one_cycle", epochs=8):
    index = 1 + max((e.index for e in race.entries.values()), default=-1)
    for i, name in enumerate(names):
        feed(race, "propose", experiment=name, index=index + i, kind=kind, epochs=epochs)


def rung(race, name, value, number=0, fold=0):
    return feed(race, "rung", experiment=name, fold=fold, rung=number, epoch=4, value=value)


def finish(race, name, fold, value, clip_variance=None):
    return feed(race, "fold", experiment=name, fold=fold, lwlrap=value, clip_variance=clip_variance)


def made(rules=None, names="abcdef", folds=(0, 1, 2), number=None, **more):
    race = Race()
    start(race, rules, folds, number, **more)
    propose(race, names)
    return race


def dropped(race):
    return {e.id for e in race.entries.values() if e.dropped}


def what(decisions):
    return [(d["event"], d["experiment"]) for d in decisions]


def raced(seed, rules, experiments=12, slots=1):
    curves = random_curves(seed, experiments, 4, spread=0.15, variance=1e-4)
    return simulate(curves, rules, random_order(seed, curves), slots)


def relaunch(race, rules, number=12):
    return feed(race, "race", settings=rules.plain(), folds=[0, 1, 2, 3], weights=[1.0] * 4, number=number)


def all_next(race, running=()):
    busy = list(running)
    while (found := race.next_trial(busy)) is not None:
        busy.append(found)
    return busy[len(running) :]
