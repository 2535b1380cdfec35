"""Full cross-validation."""

from __future__ import annotations

import pytest

from raytag.search.race.replay import simulate
from raytag.search.race.settings import Settings
from raytag.testing.rules import random_curves
from tests.search.race.races import dropped, raced, relaunch, what


@pytest.mark.parametrize("slots", [1, 3])
def test_full_cross_validation_completes_one_experiment_after_another(slots):
    curves, order = random_curves(1, 6, 4), [3, 0, 5, 1, 4, 2]
    found = simulate(curves, Settings("none", 2), order, slots)
    ends = [(int(e["experiment"]), e["fold"]) for e in found.events if e["event"] == "fold"]
    assert ends == [(e, k) for e in order for k in range(4)]
    assert (found.epochs == 8).all()
    assert sorted(found.complete) == list(range(6))


def test_none_reopens_all():
    race = raced(5, Settings("paired", 2)).race
    before = dropped(race)
    assert len(before) > 3
    decisions = relaunch(race, Settings("none", 2))
    assert sorted(what(decisions)) == sorted(("reopen", e) for e in before)
    assert not dropped(race)
