"""Every rule of the table keeps the contract, and the contract finds rules that do not."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from raytag.search.race.rules import RULES
from raytag.search.race.rules.none import Nothing
from raytag.search.race.rules.paired import Paired
from raytag.search.race.rules.rungs import Rungs
from raytag.testing import rules
from raytag.testing.rules import check_rule, races


@pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
def test_it_keeps_the_contract(rule):
    check_rule(rule)


def test_the_table_is_as_it_was_after_a_check():
    before = dict(RULES)
    rules.check_stopping(TwoWords())
    with pytest.raises(AssertionError):
        rules.check_stopping(Meddler())
    assert before == RULES


def test_some_races_have_no_ties_and_some_have():
    assert {made.tied for made in races(RULES["paired"])} == {True, False}


class TwoWords(Rungs):
    name = "two words"


class Silent(Rungs):
    about = ""


class Backwards(Rungs):
    rungs = (0.5, 0.25)


def test_names_and_rungs():
    for bad, words in ((TwoWords(), "no name"), (Silent(), "does not say"), (Backwards(), "no ascending shares")):
        with pytest.raises(AssertionError, match=words):
            rules.check_names(bad)


class Says(Rungs):
    """A rule whose decisions say something else."""

    def __init__(self, **words):
        self.words = words

    def failing(self, state, entry):
        found = super().failing(state, entry)
        return found and {**found, **self.words}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"more": 1}, "says .*more"),
        ({"bar": np.float32(1.0)}, "not JSON serializable"),
        ({"margin": float("nan")}, "does not come back"),
        ({"bar": float("inf")}, "not finite"),
        ({"margin": -0.1}, "negative margin"),
        ({"margin": 1.0}, "not below bar - margin"),
        ({"reason": ""}, "no reason"),
    ],
)
def test_what_a_decision_says(words, message):
    with pytest.raises(AssertionError, match=message):
        rules.check_decisions(Says(**words))


class Meddler(Rungs):
    """Drops by itself instead of saying so."""

    def failing(self, state, entry):
        if state.depth(entry):
            for other in state.active[state.keep - 1 :]:
                other.dropped = True
        return


class Hider(Rungs):
    """What it does not like fails."""

    def failing(self, state, entry):
        entry.failed = super().failing(state, entry) is not None


def test_a_rule_that_empties_the_portfolio():
    class Vandal(Nothing):
        def failing(self, state, entry):
            entry.dropped = True

    with pytest.raises(AssertionError, match="experiments are complete, not"):
        rules.check_portfolio(Vandal())


def test_a_rule_that_lets_survivors_end_early():
    with pytest.raises(AssertionError, match="was not dropped and lacks folds"):
        rules.check_survivors(Hider())


class Harsh(Rungs):
    """Ties go."""

    def failing(self, state, entry):
        if not state.depth(entry):
            return None
        values = [e.folds[state.folds[0]] for e in state.active if state.depth(e)]
        value, bar = entry.folds[state.folds[0]], max(values)
        found = {"fold": state.folds[0], "rung": None, "value": value, "bar": bar, "margin": 0.0, "reason": "no"}
        return found if len(values) > state.keep and value <= bar else None


def test_a_rule_under_which_ties_go():
    with pytest.raises(AssertionError, match="of 9 experiments that are equal"):
        rules.check_ties(Harsh())


class Moody(Rungs):
    """Every third time it looks away."""

    def __init__(self):
        self.asked = itertools.count()

    def failing(self, state, entry):
        return super().failing(state, entry) if next(self.asked) % 3 else None


def test_a_rule_that_is_no_function_of_the_log():
    with pytest.raises(AssertionError, match=r"decides otherwise|does not explain"):
        rules.check_log(Moody())


class Hoarder(Harsh):
    """Keeps what decisions change until the next fact."""

    def failing(self, state, entry):
        out = state.once("out", lambda: sum(e.dropped for e in state.active))
        return None if out % 2 else super().failing(state, entry)


def test_a_rule_that_has_a_state_of_its_own():
    for bad, words in ((Meddler(), "changes the state"), (Moody(), "two things"), (Hoarder(), "two things")):
        with pytest.raises(AssertionError, match=words):
            rules.check_state(bad)


class Nepotist(Rungs):
    """Spares some by name."""

    def failing(self, state, entry):
        return None if entry.id.endswith("3") else super().failing(state, entry)


class Senior(Rungs):
    """Spares the first that came."""

    def failing(self, state, entry):
        return None if entry.index < 4 else super().failing(state, entry)


def test_a_rule_that_looks_at_names_or_the_order_of_proposals():
    for bad in (Nepotist(), Senior()):
        with pytest.raises(AssertionError, match="looks at names, numbers or the order"):
            rules.check_order(bad)


def test_a_rule_that_hides_the_evidence_that_it_uses():
    class Secret(Paired):
        needs_clip_variance = False

    with pytest.raises(AssertionError, match="judges by the clip variance"):
        rules.check_evidence(Secret())


def test_a_rule_that_says_too_much_or_too_little_of_what_it_stops():
    class Sleeper(Nothing):
        can_stop = True

    class Liar(Rungs):
        can_stop = False

    for bad in (Sleeper(), Liar()):
        with pytest.raises(AssertionError, match="can_stop is"):
            rules.check_stopping(bad)
