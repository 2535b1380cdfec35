"""Options of a launch: what they mean together, and what is refused."""

from __future__ import annotations

import pytest

from raytag.search.options import LaunchOptions


@pytest.mark.parametrize(
    ("given", "order", "auto"),
    [
        ({}, [0, 1, 2], True),
        ({"fold_order": "2,0,1"}, [2, 0, 1], False),
        ({"only_folds": "2,1"}, [2, 1], False),
    ],
)
def test_folds(given, order, auto):
    options = LaunchOptions(**given)
    assert options.folds(3) == order
    assert options.orders_folds == auto


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"fold_order": "0,2"}, "--fold-order 0,2 leaves out fold 1"),
        ({"fold_order": "0,1,3"}, "--fold-order 3: the dataset has the folds 0 to 2"),
        ({"fold_order": "0,1,1"}, "named twice"),
        ({"fold_order": "first"}, "--fold-order first: write fold numbers"),
        ({"only_folds": "0", "fold_order": "0,1,2"}, "leave out --fold-order"),
    ],
)
def test_folds_that_make_no_sense(given, words):
    with pytest.raises(ValueError, match=words):
        LaunchOptions(**given).folds(3)


def test_how_many_experiments():
    assert LaunchOptions().number == 8
    assert LaunchOptions(num_samples=3).number == 3
    assert LaunchOptions(time_budget="2h").number is None
    assert LaunchOptions(time_budget="2h", num_samples=30).number == 30


def test_a_time_budget_that_is_none():
    with pytest.raises(ValueError, match="--time-budget soon"):
        LaunchOptions(time_budget="soon").check()
