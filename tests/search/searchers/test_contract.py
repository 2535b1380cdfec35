"""Every searcher of the table keeps the contract, and the contract finds searchers that do not."""

from __future__ import annotations

import itertools

import pytest

from raytag.search.searchers import SEARCHERS, build
from raytag.search.searchers.drawn import RandomSearcher
from raytag.search.searchers.hyperopt import INITIAL_POINTS, HyperoptSearcher
from raytag.space import Space
from raytag.testing import searchers
from raytag.testing.searchers import check_searcher
from tests.search.searchers.spaces import BASE, SPACE

LISTED = Space("listed", "listed.py", tuple(BASE.replace({"model.dropout": d / 10}) for d in range(6)))


@pytest.mark.parametrize("kind", SEARCHERS.values(), ids=list(SEARCHERS))
def test_it_keeps_the_contract(kind):
    check_searcher(kind, SPACE)


@pytest.mark.parametrize("name", ["random", "grid"])
def test_it_keeps_the_contract_on_a_fixed_list(name):
    check_searcher(SEARCHERS[name], LISTED)
    assert build(name, LISTED, 0, 10).size == 6


def test_what_is_known_before_there_are_results():
    known = {name: build(name, SPACE, 0, 20).known for name in ("random", "grid", "hyperopt")}
    assert known == {"random": None, "grid": None, "hyperopt": INITIAL_POINTS}
    for n_initial_points, number in ((0, 1), (1, 1), (4, 4)):  # the base experiment needs no result
        assert HyperoptSearcher(SPACE, 0, 20, n_initial_points).known == number


class Baseless(RandomSearcher):
    def propose(self, index):
        return super().propose(index + 1)


class Wild(RandomSearcher):
    """Varies what does not vary."""

    def propose(self, index):
        return super().propose(index).replace({"training.epochs": 10 + index}) if index else BASE


class Stranger(RandomSearcher):
    """Proposes what is not in the list."""

    def propose(self, index):
        return super().propose(index).replace({"training.batch_size": 8}) if index else self.space.first


class Boaster(RandomSearcher):
    """Promises more than it has."""

    def __init__(self, space, seed, number):
        super().__init__(space, seed, number)
        self.size = 2 * len(space.firsts)

    def propose(self, index):
        return super().propose(index % len(self.space.firsts))


@pytest.mark.parametrize(
    ("bad", "space", "words"),
    [
        (Baseless, SPACE, "the first proposal is"),
        (Wild, SPACE, "differs in training.epochs, which does not vary"),
        (Stranger, LISTED, "not in the space's list"),
        (Boaster, LISTED, "of 12 proposals, within its size, 6 differ"),
    ],
)
def test_proposals_that_are_not_of_the_space(bad, space, words):
    with pytest.raises(AssertionError, match=words):
        searchers.check_proposals(bad, space)


def test_a_searcher_with_a_generator_of_its_own():
    seeds = itertools.count()

    def unseeded(space, seed, number):
        return RandomSearcher(space, next(seeds), number)

    with pytest.raises(AssertionError, match="with the same seed proposes others"):
        searchers.check_repeatable(unseeded, SPACE)


class Forgetful(HyperoptSearcher):
    """Takes nothing over from an earlier launch."""

    def tell(self, index, value):
        if index in self.history:
            super().tell(index, value)

    def propose(self, index):
        experiment = super().propose(index)
        super().restore(index, experiment)
        return experiment

    def restore(self, index, experiment):
        pass


def test_a_searcher_that_forgets_what_it_is_told_from_the_log():
    with pytest.raises(AssertionError, match="after a restart it proposes others"):
        searchers.check_restored(Forgetful, SPACE)


class Stubborn(HyperoptSearcher):
    """The first value of an experiment is believed."""

    def tell(self, index, value):
        self.values.setdefault(index, value)


class Hasty(HyperoptSearcher):
    """The latest experiment is believed to be the best."""

    def tell(self, index, value):
        self.values = {**{i: v - 1 for i, v in self.values.items()}, index: value}


def test_a_searcher_that_sticks_to_old_values_or_to_the_order_in_which_they_came():
    for bad in (Stubborn, Hasty):
        with pytest.raises(AssertionError, match="values that were replaced, or their order"):
            searchers.check_tells(bad, SPACE)


class Open(HyperoptSearcher):
    """Does not say that results change its proposals."""

    @property
    def known(self):
        return None

    @known.setter
    def known(self, number):
        pass


def test_a_searcher_that_hides_that_it_listens():
    with pytest.raises(AssertionError, match="known is None, but other results"):
        searchers.check_known(Open, SPACE)


class Deaf(RandomSearcher):
    def tell(self, index, value):
        pass


def test_a_searcher_that_lets_a_broken_value_pass():
    with pytest.raises(AssertionError, match="a value of nan is let pass"):
        searchers.check_finite(Deaf, SPACE)


def test_hyperopt_repeats_what_the_space_has_no_more_of():
    """A space of choices alone: the searcher has no size, its space has."""
    few = Space.of("few", "few.py", BASE, {"training.batch_size": SPACE.branches[0].vary["training.batch_size"]})
    check_searcher(HyperoptSearcher, few)
