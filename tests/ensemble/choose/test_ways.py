"""Every first-level way keeps the contract, and the contract finds ways that do not."""

from __future__ import annotations

import pytest

from raytag.blends.greedy import best_single
from raytag.blends.subsets import Found
from raytag.ensemble.choose.ways import WAYS, Way
from raytag.testing.blends import check_way


@pytest.mark.parametrize("way", [way for way in WAYS.values() if not way.stackers], ids=lambda way: way.name)
def test_it_keeps_the_contract(way):
    check_way(way)


def none(scorer, parts):
    return Found((), (0, 0, 0))


def stranger(scorer, parts):
    return Found((1, 9), (0, 0, 0))


def boastful(scorer, parts):
    found = best_single(scorer, parts)
    return Found(found.members, tuple(s + 1 for s in found.sums))


def leaky(scorer, parts):
    return best_single(scorer, range(3)) if len(parts) == 2 else best_single(scorer, parts)


def moody(scorer, parts, calls=[]):  # noqa: B006 - it remembers
    calls.append(1)
    member = len(calls) % 2
    return Found((member,), tuple(scorer.sums((member,))))


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (none, "nothing is chosen"),
        (stranger, "not among the models"),
        (boastful, "not that of its members"),
        (leaky, "labels of a fold that is left out"),
        (moody, "a second call"),
    ],
)
def test_it_finds_a_way_that_breaks_it(function, words, monkeypatch):
    monkeypatch.setattr("raytag.ensemble.choose.ways.resolve", lambda target: function)
    with pytest.raises(AssertionError, match=words):
        check_way(Way("broken", "broken", "", "somewhere:else"))
