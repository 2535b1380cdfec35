"""Every mean of the table keeps the contract, and the contract finds means that do not."""

from __future__ import annotations

import numpy as np
import pytest

from raytag.blends.means import BLENDS, Row
from raytag.blends.means.arithmetic import Arithmetic
from raytag.testing.blends import check_mean


@pytest.mark.parametrize("kind", BLENDS)
def test_it_keeps_the_contract(kind):
    check_mean(kind)


class Unrounded(Arithmetic):
    def scores(self, probabilities):
        return super().scores(probabilities) / 3


class TooFar(Arithmetic):
    def scores(self, probabilities):
        return super().scores(probabilities) * 4


class Overflowing(Arithmetic):
    def probabilities(self, mean):
        return super().probabilities(mean) + 0.5


class Reversed(Arithmetic):
    def probabilities(self, mean):
        return 1 - super().probabilities(mean)


class Partial(Arithmetic):
    """Does not tell the second class from the others by its place."""

    def scores(self, probabilities):
        scores = super().scores(probabilities)
        scores[..., 1:2] = 0
        return scores


class Blind(Arithmetic):
    def scores(self, probabilities):
        return super().scores(np.nan_to_num(probabilities))


@pytest.mark.parametrize(
    ("mean", "words"),
    [
        (Unrounded, "no multiples"),
        (TooFar, "leave a range"),
        (Overflowing, r"leaves \[0, 1\]"),
        (Reversed, "ranks other"),
        (Partial, "does not tie"),
        (Blind, "NaN is accepted"),
    ],
)
def test_it_finds_a_mean_that_breaks_it(mean, words, monkeypatch):
    monkeypatch.setattr("raytag.blends.means.base.resolve", lambda target: mean)
    monkeypatch.setitem(BLENDS, "broken", Row("", ""))
    with pytest.raises(AssertionError, match=words):
        check_mean("broken")
