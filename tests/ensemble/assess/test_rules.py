"""Which way is kept: ties go to the simple."""

from __future__ import annotations

import numpy as np
import pytest

from raytag.ensemble.assess.bootstrap import Bootstrap
from raytag.ensemble.assess.rules import Candidate, highest, simplest
from raytag.ensemble.choose.ways import RULES

N = 200
FOLD = np.arange(N) % 4
DRAWS = Bootstrap([""] * N, np.arange(N), 0, FOLD)
NOISE = np.random.default_rng(0).normal(0, 0.1, (8, N))
NOISE -= NOISE.mean(axis=1, keepdims=True)
ERROR = 0.1 / np.sqrt(N)  # of a difference to the single model, about


def way(gain=0.0, noise=0, members=1, stacked=False, own=None):
    values = 0.7 + gain + NOISE[noise]
    return Candidate(values, values if own is None else 0.7 + own + NOISE[noise], stacked, members)


def test_a_gain_below_its_error_keeps_the_simplest_and_a_clear_one_does_not():
    single, flat = way(), Candidate(np.full(N, 0.7), np.full(N, 0.7), False, 1)
    assert simplest({"single": flat, "few": way(0.4 * ERROR, members=3)}, DRAWS) == "single"
    assert simplest({"single": flat, "few": way(4 * ERROR, members=3)}, DRAWS) == "few"
    # what counts is the error of the difference: alike on every clip, a small gain is a sure one
    assert simplest({"single": single, "few": way(0.1 * ERROR, members=3)}, DRAWS) == "few"
    assert highest({"single": flat, "few": way(0.4 * ERROR, members=3)}, DRAWS) == "few"


def test_fewer_members_are_simpler_and_no_second_level_is_simpler_than_any():
    ways = {
        "single": way(-1.0),
        "few": way(0.0, 1, members=7),
        "subset": way(0.2 * ERROR, 2, members=4),
        "linear": way(0.3 * ERROR, 3, members=2, stacked=True),
    }
    assert highest(ways, DRAWS) == "linear"
    assert simplest(ways, DRAWS) == "subset"
    assert simplest({name: one for name, one in ways.items() if name != "subset"}, DRAWS) == "few"


def test_a_gain_that_one_fold_alone_shows_is_no_gain():
    """Folds are drawn as well: clips alone would be sure of it."""
    values = np.full(N, 0.7)
    values[FOLD == 0] += 0.02 + 0.001 * NOISE[1][FOLD == 0]
    ways = {
        "single": Candidate(np.full(N, 0.7), np.full(N, 0.7), False, 1),
        "few": Candidate(values, values, False, 2),
    }
    difference = values - 0.7
    assert Bootstrap([""] * N, np.arange(N)).error(difference) < 0.2 * difference.mean()
    assert DRAWS.error(difference) > 0.7 * difference.mean()
    wide = {**ways, "few": Candidate(0.7 + np.where(FOLD == 0, 0.02, -0.002), values, False, 2)}
    assert simplest(wide, DRAWS) == "single"


def test_the_single_model_counts_with_its_own_score_where_folds_chose_worse_ones():
    lucky = {"single": way(-6 * ERROR, own=0.0), "few": way(0.0, members=3)}
    assert highest(lucky, DRAWS) == "few"
    assert simplest(lucky, DRAWS) == "single"
    assert simplest({**lucky, "single": way(-6 * ERROR, own=-6 * ERROR)}, DRAWS) == "few"


def test_of_equals_the_first_is_kept():
    same = {"single": way(), "few": way(members=1)}
    for rule in RULES.values():
        assert rule.keep(same, DRAWS) == "single"


@pytest.mark.parametrize("name", RULES)
def test_with_a_single_group_nothing_is_known_and_rules_still_answer(name):
    draws = Bootstrap(["a"] * N, np.arange(N))
    kept = RULES[name].keep({"single": way(), "few": way(0.5, 1, members=2)}, draws)
    assert kept == {"auto": "single", "best": "few"}[name]
