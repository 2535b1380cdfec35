"""The cost of a search and its shards."""

from __future__ import annotations

import pytest

from raytag.ensemble import effort
from raytag.ensemble.effort import Speed, make_shards
from raytag.ensemble.trees import count_subsets


@pytest.mark.parametrize("speed", [Speed(1e-4, 1e-6), Speed(1e-3, 1e-2), Speed(0.05, 3.0)])
@pytest.mark.parametrize("slots", [1, 2, 16])
def test_shards_hold_every_subset_once(speed, slots):
    shards = make_shards(11, (2, 3, 5), speed, slots)
    trees = [tree for shard in shards for tree in shard]
    members = [tree.members(i) for tree in trees for i in range(tree.size)]
    assert len(members) == len(set(members)) == count_subsets(11, (2, 3, 5))
    assert all(shards)
    assert len(shards) >= min(slots, 2)


def test_long_searches_are_cut_into_shards_of_seconds():
    speed = Speed(0.02, 1e-6)
    costs = [speed.seconds(shard) for shard in make_shards(36, range(1, 8), speed, 2)]
    assert 2 * effort.SHARDS_PER_SLOT <= len(costs) <= 20
    assert max(costs) < 2 * effort.SHARD_SECONDS


def test_short_searches_are_cut_into_one_shard_a_slot():
    assert len(make_shards(12, range(1, 8), Speed(1e-3, 1e-6), 2)) == 2
