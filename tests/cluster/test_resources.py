"""Trials at a time, as Ray places them: on one node, on one card, in ten-thousandths."""

from __future__ import annotations

import pytest
import ray

from raytag.cluster.resources import Slots, trials_on


@pytest.mark.parametrize(
    ("cpus", "gpus", "resources", "trials"),
    [
        (1.0, 0.0, {"CPU": 2.0}, 2),
        (0.33, 0.0, {"CPU": 2.0}, 6),
        (1 / 3, 0.0, {"CPU": 2.0}, 6),
        (1 / 6, 0.0, {"CPU": 2.0}, 11),  # Ray takes 0.1667 for each: twelve would be 2.0004
        (1.5, 0.0, {"CPU": 4.0}, 2),
        (1.0, 0.4, {"CPU": 16.0, "GPU": 2.0}, 4),
        (1.0, 0.5, {"CPU": 3.0, "GPU": 2.0}, 3),
        (1.0, 1 / 3, {"CPU": 16.0, "GPU": 1.0}, 3),
        (1.0, 2.0, {"CPU": 16.0, "GPU": 5.0}, 2),
        (1.0, 0.5, {"CPU": 16.0}, 0),
        (1.0, 0.0, {}, 0),
    ],
)
def test_trials_on_one_node(cpus, gpus, resources, trials):
    assert trials_on(resources, cpus, gpus) == trials


def test_nodes_are_counted_one_by_one(monkeypatch):
    nodes = [
        {"Alive": True, "Resources": {"CPU": 3.0, "GPU": 1.0}},
        {"Alive": True, "Resources": {"CPU": 1.0, "GPU": 1.0}},
        {"Alive": False, "Resources": {"CPU": 8.0, "GPU": 8.0}},
        {"Alive": True, "Resources": {}},  # a head that computes nothing
    ]
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    assert Slots(2.0, 0.0)() == 1  # of the totals two: but one CPU is here and one there
    assert Slots(1.0, 0.6)() == 2


def test_a_cluster_that_grows_is_seen(monkeypatch):
    nodes = [{"Alive": True, "Resources": {"CPU": 2.0}}]
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    monkeypatch.setattr("raytag.cluster.resources.LOOK_SECONDS", 0.0)
    slots = Slots(1.0, 0.0)
    assert slots() == 2
    nodes.append({"Alive": True, "Resources": {"CPU": 2.0}})
    assert slots() == 4
