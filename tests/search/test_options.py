"""Options of a launch: what they mean together, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from typing import get_args, get_type_hints

import pytest

from raytag.search.options import LaunchOptions
from raytag.search.race.rules import RULES
from raytag.search.searchers import SEARCHERS


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


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan")])
def test_a_bound_that_leaves_out_everything(seconds):
    with pytest.raises(ValueError, match=r"--max-clip-seconds .*must be above 0"):
        LaunchOptions(max_clip_seconds=seconds).check()


def test_a_time_budget_that_is_none():
    with pytest.raises(ValueError, match="--time-budget soon"):
        LaunchOptions(time_budget="soon").check()


@pytest.mark.parametrize(("option", "table"), [("stopping", RULES), ("search", SEARCHERS)])
def test_whatever_stands_in_a_table_can_be_named_and_is_explained(option, table):
    names, told = get_args(get_type_hints(LaunchOptions, include_extras=True)[option])
    assert get_args(names) == tuple(table)
    assert all(f"{name}: {member.about}" in told.help for name, member in table.items())


def test_help_does_not_wait_for_what_a_rule_or_a_searcher_needs():
    heavy = {"numpy", "pandas", "scipy", "hyperopt", "torch", "ray", "pydantic"}
    code = f"import raytag.search.race.rules, raytag.search.searchers, sys; print({heavy} & set(sys.modules))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed == "set()\n"
