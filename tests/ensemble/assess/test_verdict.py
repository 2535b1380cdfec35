"""The sentence that people act on."""

from __future__ import annotations

import numpy as np
import pytest

from raytag.ensemble.assess.assessment import Assessment, Scored
from raytag.ensemble.assess.bootstrap import Interval
from raytag.ensemble.assess.verdict import verdict

NOTHING = np.zeros(1)


def said(way, nested, own, rival=(0.0, -0.1, 0.1), **changes):
    final = Scored(way, 0.8, 0.8, NOTHING, NOTHING, Interval(0.8, 0.7, 0.9))
    fields = {"ways": {way: final}, "final": final, "decided": {0: way}, "given": False, "runner_up": "greedy"}
    fields |= {"to_single": nested and Interval(*nested), "to_own": own and Interval(*own), "grouped": False}
    sentence = verdict(Assessment(**fields | {"to_runner_up": Interval(*rival)} | changes), "x")
    assert sentence.endswith(".")
    return sentence


CLEAR, UNCLEAR, WORSE = (0.02, 0.01, 0.03), (0.01, -0.01, 0.03), (-0.02, -0.03, -0.01)


@pytest.mark.parametrize(
    ("way", "nested", "own", "words"),
    [
        ("subset", CLEAR, (0.03, 0.02, 0.04), ["Keep the ensemble (best subset): +0.0200", "folds and clips"]),
        ("subset", CLEAR, UNCLEAR, ["Not distinguishable from the best", "own out-of-fold", "(+0.0200 [+0.0100,"]),
        ("subset", UNCLEAR, CLEAR, ["Not distinguishable from the best", "has +0.0100 [-0.0100, +0.0300]"]),
        ("mlp", CLEAR, WORSE, ["Use the best single model, x", "is worse, -0.0200"]),
        ("single", (0.0, 0.0, 0.0), (-0.01, -0.02, 0.01), ["Keep the best single model, x: no blend is ahead"]),
        ("single", None, None, ["No verdict"]),
    ],
)
def test_the_smaller_difference_decides(way, nested, own, words):
    sentence = said(way, nested, own)
    assert all(word in sentence for word in words), sentence
    assert ("Expect less on new recordings" in sentence) == sentence.startswith("Keep the ensemble")


def test_the_runner_up_and_what_was_asked_are_said():
    assert "; ahead of greedy" in said("subset", CLEAR, CLEAR, (0.01, 0.005, 0.02))
    assert "; not distinguishable from greedy" in said("subset", CLEAR, CLEAR)
    assert "; behind greedy, with replacement, -0.0200" in said("subset", CLEAR, CLEAR, WORSE)
    assert "as asked" in said("single", CLEAR, CLEAR, given=True)
    assert "folds and groups" in said("subset", CLEAR, CLEAR, grouped=True)
