"""What became of experiments over all searches of a run."""

from __future__ import annotations

from raytag.search.race.standing import dropped, searches


def log(*events):
    return [{"n": n, "time": "", **event} for n, event in enumerate(events)]


def race(key, number=5):
    settings = {"stopping": "a rule that is no longer there", "keep": 2}
    return {"event": "race", "key": key, "settings": settings, "folds": [0, 1], "number": number}


def on(what, key, experiment, **fields):
    return {"event": what, "key": key, "experiment": experiment, **fields}


def test_searches_are_told_apart_and_the_last_launched_comes_last():
    found = searches(
        log(
            {"event": "launch"},
            race("a"),
            on("propose", "a", "x", index=0),
            on("propose", "a", "y", index=1),
            on("propose", "a", "z", index=2),
            on("drop", "a", "y", reason="weak"),
            race("b"),
            on("propose", "b", "y", index=0),
            race("a", number=2),
        )
    )
    assert [search.key for search in found] == ["b", "a"]
    assert found[1].active == ["x", "y"]
    assert found[1].open == ["x"]
    assert dropped(found) == {}  # the other search has not dropped it


def test_a_drop_lasts_until_it_is_taken_back_and_a_failure_until_the_next_launch():
    events = [
        race("a"),
        on("propose", "a", "x", index=0),
        on("propose", "a", "y", index=1),
        on("drop", "a", "x", reason="weak"),
        on("fail", "a", "y", fold=1, reason="OSError: disk full"),
    ]
    (before,) = searches(log(*events))
    assert dropped([before]) == {"x": "weak"}
    assert before.failed == {"y": "fold 1: OSError: disk full"}
    assert before.open == []
    (after,) = searches(log(*events, race("a"), on("reopen", "a", "x", reason="the rules are new")))
    assert dropped([after]) == after.failed == {}
    assert after.open == ["x", "y"]
