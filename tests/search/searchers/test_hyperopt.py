"""TPE as a function of its facts: proposals so far, one value an experiment, the seed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from raytag import space
from raytag.experiment import Input
from raytag.search.searchers import build
from raytag.search.searchers.hyperopt import HyperoptSearcher
from raytag.search.searchers.tpe import Tpe
from raytag.space import Space, choice, loguniform, uniform
from raytag.testing import searchers as testing
from raytag.testing.searchers import check_searcher
from tests.search.searchers.spaces import BASE, MIXTURE, SPACE, VARY


class Plain:
    """TPE over points of one kind."""

    def __init__(self, distributions, seed, n_initial_points):
        self.tpe = Tpe([distributions], [1.0], seed, n_initial_points)

    def suggest(self, index, history, values):
        return self.tpe.suggest(index, {i: (0, point) for i, point in history.items()}, values)[1]


UNIT = {"x": uniform(0.0, 1.0)}


def value(experiment):
    """Best at dropout 0.3 and learning rate 1e-3."""
    return -abs(experiment.model.dropout - 0.3) - 0.2 * abs(np.log10(experiment.optimizer.lr) + 3)


def search(searcher, number, score=value):
    """Propose and tell in turn; the experiments."""
    return testing.search(searcher, range(number), score)


def test_a_better_estimate_replaces_the_value():
    once, twice, never = (HyperoptSearcher(SPACE, 0, 20) for _ in range(3))
    search(once, 15)
    for i, experiment in enumerate(search(twice, 15, score=lambda e: -value(e))):
        once.restore(i, experiment)
        once.tell(i, value(experiment))
        never.restore(i, experiment)
        never.tell(i, -value(experiment))
    for i in reversed(range(15)):
        twice.tell(i, value(BASE.replace(twice.history[i][1])))
    assert twice.propose(15) == once.propose(15) != never.propose(15)


def test_proposing_an_earlier_number_again_does_not_look_ahead():
    """A driver that replays by proposing gets the same experiments, in the log's order of facts."""
    searcher = HyperoptSearcher(SPACE, 3, 20)
    experiments = search(searcher, 20)
    again = HyperoptSearcher(SPACE, 3, 20)
    assert search(again, 20) == experiments
    cut = HyperoptSearcher(SPACE, 3, 20)
    for i in range(12):
        cut.restore(i, experiments[i])
        cut.tell(i, value(experiments[i]))
    assert searcher.propose(12) == cut.propose(12) == experiments[12]


def test_another_process_proposes_the_same():
    """hyperopt keeps its graph in sets: neither addresses nor hash seeds may decide who draws first."""
    code = (
        "from tests.search.searchers.test_hyperopt import *\n"
        "print(json.dumps([e.hash for e in search(HyperoptSearcher(SPACE, 0, 20), 14)]))"
    )
    here = [e.hash for e in search(HyperoptSearcher(SPACE, 0, 20), 14)]
    root = str(Path(__file__).resolve().parents[3])
    there = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(there.stdout) == here
    assert there.stderr == ""  # hyperopt reports nothing on the way


@pytest.mark.parametrize("n_initial_points", [1, 4, 9])
def test_initial_points_are_the_first_proposals_of_a_random_search(n_initial_points):
    searcher = HyperoptSearcher(SPACE, 5, 20, n_initial_points)
    random = build("random", SPACE, 5, 20)
    experiments = search(searcher, n_initial_points + 1)
    assert experiments[0] == BASE
    assert experiments[:-1] == [random.propose(i) for i in range(n_initial_points)]
    assert experiments[-1] != random.propose(n_initial_points)


def test_without_values_proposals_are_random():
    searcher, random = HyperoptSearcher(SPACE, 0, 20), build("random", SPACE, 0, 20)
    assert [searcher.propose(i) for i in range(20)] == [random.propose(i) for i in range(20)]


@pytest.mark.parametrize(
    ("changes", "covered"),
    [
        ({}, True),
        ({"model.dropout": 0.6}, True),  # ends belong to the range
        ({"model.dropout": 0.7}, False),
        ({"training.batch_size": 64}, False),
        ({"input.num_masks": (2, 2)}, False),
    ],
)
def test_the_base_is_modelled_if_the_distributions_cover_it(changes, covered):
    chosen = Space.of("small", "small.py", BASE.replace(changes), VARY)

    def proposals(base_value):
        searcher = HyperoptSearcher(chosen, 0, 20)
        search(searcher, 12)
        searcher.tell(0, base_value)
        return [searcher.propose(i) for i in range(12, 16)]

    assert (proposals(1.0) != proposals(-9.0)) == covered


def test_a_base_without_a_number_is_left_out():
    chosen = Space.of("small", "small.py", BASE, {**VARY, "input.tile_step": choice([64, 128])})
    assert BASE.input.tile_step is None
    searcher = HyperoptSearcher(chosen, 0, 20)
    search(searcher, 12)
    assert searcher.propose(12).input.tile_step in (64, 128)


def test_negative_initial_points_are_refused():
    with pytest.raises(ValueError, match="n_initial_points must be at least 0, not -1"):
        HyperoptSearcher(SPACE, 0, 5, -1)


def test_tpe_finds_the_best_of_several_fields():
    """Its late proposals are better on average than a random search's, on every seed."""
    for seed in range(4):
        late = {name: search(build(name, SPACE, seed, 40), 40)[20:] for name in ("hyperopt", "random")}
        mean = {name: np.mean([value(e) for e in found]) for name, found in late.items()}
        assert mean["hyperopt"] > mean["random"] + 0.02


def test_points_without_a_value_keep_others_away():
    """hyperopt alone would count them when it decides how many points are good, and fill up with one of them."""
    tpe = Plain(UNIT, 0, 1)
    good = {0: {"x": 0.5}}
    busy = {i: {"x": 0.2 + 0.01 * i} for i in range(1, 20)}
    alone = [tpe.suggest(i, good, {0: 0.5})["x"] for i in range(20, 60)]
    crowded = [tpe.suggest(i, good | busy, {0: 0.5})["x"] for i in range(20, 60)]
    assert np.mean(crowded) > np.mean(alone) + 0.1


def test_only_the_order_of_values_matters_and_ties_go_by_age():
    tpe = Plain(UNIT, 0, 1)
    history = {i: {"x": (i * 0.37) % 1} for i in range(30)}
    values = {i: float(i % 3 == 0) for i in history}
    aged = {i: v - 1e-9 * i for i, v in values.items()}
    for i in range(30, 35):
        assert tpe.suggest(i, history, values) == tpe.suggest(i, history, aged)
        assert tpe.suggest(i, history, values) == tpe.suggest(i, history, {k: 7 * v for k, v in aged.items()})


def test_a_repeated_proposal_is_the_same_experiment():
    tpe = Plain({"a": choice([1, 2, 3, 4, 5]), "b": choice("uvwxyz")}, 0, 1)
    history = {i: {"a": i % 5 + 1, "b": "uvwxyz"[i % 6]} for i in range(10)}
    values = {i: -abs(i - 4.0) for i in range(10)}
    repeated = history | {10: history[4]}  # never told: the driver tells the first proposal of an experiment
    for i in range(11, 15):
        assert tpe.suggest(i, repeated, values) == tpe.suggest(i, history, values)
    moved = {k: v for k, v in values.items() if k != 4} | {10: values[4]}  # told under the other number
    assert tpe.suggest(11, repeated, moved) == tpe.suggest(11, repeated, values)


def test_choices_alone_are_not_proposed_again_while_there_are_new_ones():
    """TPE's greedy choice would stick to the best of so few points."""
    found = []
    for seed in range(5):
        tpe = Plain({"a": choice([1, 2]), "b": choice("xyz")}, seed, 2)
        history: dict = {}
        for i in range(12):
            history[i] = tpe.suggest(i, history, {k: float(p["b"] == "x") for k, p in history.items()})
        found += [len({(p["a"], p["b"]) for p in history.values()})]
    assert found == [6] * 5  # and the rest repeat instead of searching for ever


def test_copies_of_a_value_in_a_choice_are_more_likely_and_learnt_as_one():
    options = choice([0.0, 0.0, 0.0, 0.1, 0.2])
    first = [Plain({"n": options, "x": uniform(0, 1)}, seed, 1).suggest(0, {}, {})["n"] for seed in range(300)]
    assert 0.5 < np.mean(np.array(first) == 0.0) < 0.7
    late = []
    for seed in range(5):
        tpe = Plain({"n": options, "x": uniform(0, 1)}, seed, 8)
        history: dict = {}
        for i in range(40):
            history[i] = tpe.suggest(i, history, {k: p["n"] for k, p in history.items()})
        late += [history[i]["n"] for i in range(20, 40)]
    assert np.mean(np.array(late) == 0.0) < 0.5  # the worst value: unlearnt 0.6; copies apart look untried, 1.0


def test_a_fixed_list_has_nothing_to_model():
    fixed = Space("fixed", "fixed.py", (BASE, BASE.replace({"model.dropout": 0.5})))
    with pytest.raises(ValueError, match=r"fixed\.py: nothing varies that .*\. Use --search random"):
        build("hyperopt", fixed, 0, 3)


def test_nothing_that_varies_is_explained_by_the_data():
    """The only varying field may be one that the data cannot use."""
    vary = {"sampling.noisy_prob": choice([0.0, 0.2])}
    fitted = Space.of("small", "small.py", BASE, vary).fit([], {})
    with pytest.raises(ValueError, match=r"nothing varies .* no noisy clips: sampling\.noisy_prob is fixed at 0"):
        build("hyperopt", fitted, 0, 3)


def test_the_shipped_space_can_be_searched():
    searcher = HyperoptSearcher(space.load("specaug_mixup"), 0, 20)
    experiments = search(searcher, 14)
    assert len({e.hash for e in experiments}) == 14
    assert searcher.history[0][1]["input.num_masks"] == Input().num_masks


NAMES = {
    "loss.name": choice(["OnlyNoisyLSoft", "OnlyNoisyLSoft", "OnlyNoisyLq"]),
    "loss.beta": uniform(0.0, 1.0),
    "loss.q": uniform(0.1, 0.9),
    "optimizer.lr": loguniform(1e-4, 1e-2),
}


def family_value(experiment):
    """OnlyNoisyLq is the better loss, best at q = 0.7."""
    return (
        0.5 - abs(experiment.loss.q - 0.7) if experiment.loss.name == "OnlyNoisyLq" else 0.2 * experiment.loss.beta
    )


def test_the_better_family_is_preferred():
    shares = []
    for seed in range(5):
        searcher = HyperoptSearcher(Space.of("names", "names.py", BASE, NAMES), seed, 40)
        losses = [e.loss.name for e in search(searcher, 40, family_value)]
        assert "OnlyNoisyLSoft" in losses[:8]
        shares.append(losses[20:].count("OnlyNoisyLq") / 20)
    assert min(shares) > 0.5, shares  # of random draws a third


def test_a_mixture_that_is_resumed_proposes_the_same():
    check_searcher(HyperoptSearcher, Space.of("names", "names.py", BASE, NAMES))
    check_searcher(HyperoptSearcher, MIXTURE)
