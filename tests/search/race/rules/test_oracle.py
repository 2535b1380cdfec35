"""Every decision is explained anew, from nothing but the facts before it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from raytag.search.race.replay import simulate
from raytag.search.race.settings import Settings
from raytag.testing.rules import random_curves, random_order
from tests.search.race.oracle import MODES, explain
from tests.search.race.races import SEEDS


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.sampled_from(MODES), st.integers(1, 6), st.integers(1, 4), st.integers(1, 5), st.integers(1, 3))
def test_every_decision_follows_from_the_facts_before_it(seed, stopping, keep, slots, folds, kinds):
    variance = (None, 1e-4, 1e-2)[seed % 3]
    curves = random_curves(seed, 12, folds, kinds=kinds, variance=variance)
    found = simulate(
        curves, Settings(stopping, keep, z=(0.0, 0.5, 2.0)[seed % 7 % 3]), random_order(seed, curves), slots
    )
    explain(found.events)


def test_the_oracle_sees_many_decisions_of_each_kind():
    counts = {}
    for stopping in MODES:
        curves = random_curves(7, 20, 4, spread=0.2, variance=1e-4)
        counts[stopping] = explain(simulate(curves, Settings(stopping, 2), range(20)).events)
    assert counts["none"] == 0
    assert min(counts["asha"], counts["exact"], counts["paired"]) >= 3
