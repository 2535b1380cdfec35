"""The contract of a searcher: what the driver relies on, however it proposes."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from raytag.experiment import Experiment
from raytag.search.searchers import Searcher
from raytag.space import Space

Build = Callable[[Space, int, int], Searcher]  # space, seed, number: a class in SEARCHERS
SEED = 1
PAST, NUMBER = 20, 30  # proposals of an earlier launch, and in all, where the space has so many


def check_searcher(build: Build, space: Space) -> None:
    """Hold a searcher to its contract on a space that suits it; several spaces are several calls.

    Raises
    ------
    AssertionError
        The searcher breaks it; the message says how.
    """
    check_proposals(build, space)
    check_repeatable(build, space)
    check_restored(build, space)
    check_tells(build, space)
    check_known(build, space)
    check_finite(build, space)


def check_proposals(build: Build, space: Space) -> None:
    """The space's first experiment comes first, only what varies differs from it, and ``size`` is what there is."""
    searcher = build(space, SEED, NUMBER)
    found = search(searcher, _numbers(searcher))
    assert found[0] == space.first, f"the first proposal is {found[0].id}, not the space's {space.first.id}"
    for experiment in found:
        if experiment in space.firsts:
            continue
        assert space.branches, "a proposal is not in the space's list"
        moved = min((branch.moved(experiment) for branch in space.branches), key=len)
        assert not moved, f"{experiment.id} differs in {', '.join(moved)}, which does not vary"
    if searcher.size is not None:
        distinct = len({e.hash for e in found})
        assert distinct == len(found), f"of {len(found)} proposals, within its size, {distinct} differ"


def check_repeatable(build: Build, space: Space) -> None:
    """The same seed and the same values give the same proposals."""
    first, second = (build(space, SEED, NUMBER) for _ in range(2))
    numbers = _numbers(first)
    assert search(first, numbers) == search(second, numbers), "a second search with the same seed proposes others"


def check_restored(build: Build, space: Space) -> None:
    """A searcher that is told from a log what was goes on as if nothing had happened, in whatever order it is."""
    whole = build(space, SEED, NUMBER)
    numbers = _numbers(whole)
    past, rest = numbers[:PAST], numbers[PAST:]
    experiments = search(whole, past)
    expected = [whole.propose(i) for i in rest]  # some are without a value then
    for shuffle in range(3):
        rng, resumed = np.random.default_rng(shuffle), build(space, SEED, NUMBER)
        for i in rng.permutation(past).tolist():
            resumed.restore(i, Experiment.from_json(experiments[i].to_json()))  # as the run store gives it
        for i in rng.permutation(past).tolist():
            resumed.tell(i, worth(experiments[i]))
        found = [resumed.propose(i) for i in rest]
        assert found == expected, "after a restart it proposes others than an undisturbed searcher"


def check_tells(build: Build, space: Space) -> None:
    """Of several values of an experiment the last one counts, and the order of experiments does not."""
    once, twice = (build(space, SEED, NUMBER) for _ in range(2))
    numbers = _numbers(once)
    past, rest = numbers[:PAST], numbers[PAST:]
    experiments = search(once, past)
    for i in past:
        twice.restore(i, experiments[i])
        twice.tell(i, -worth(experiments[i]))
    for i in reversed(past):
        twice.tell(i, worth(experiments[i]))
    expected = [once.propose(i) for i in rest]
    assert [twice.propose(i) for i in rest] == expected, "values that were replaced, or their order, still count"


def check_known(build: Build, space: Space) -> None:
    """No result changes the first ``known`` proposals; all of them, where it is None."""
    one, other = (build(space, SEED, NUMBER) for _ in range(2))
    numbers = _numbers(one)[: one.known]
    same = search(one, numbers) == search(other, numbers, lambda e: -worth(e))
    assert same, f"known is {one.known}, but other results change these proposals"


def check_finite(build: Build, space: Space) -> None:
    """A value that is no finite number is refused by a ValueError."""
    for bad in (float("nan"), float("inf"), -float("inf")):
        searcher = build(space, SEED, NUMBER)
        searcher.propose(0)
        try:
            searcher.tell(0, bad)
        except ValueError:
            continue
        raise AssertionError(f"a value of {bad} is let pass")


def worth(experiment: Experiment) -> float:
    """A value in [0, 1) that has no system."""
    return int(experiment.hash[:8], 16) / 16**8


def search(
    searcher: Searcher, numbers: Iterable[int], value: Callable[[Experiment], float] = worth
) -> list[Experiment]:
    """Propose and tell in turn; the experiments."""
    found = []
    for i in numbers:
        found.append(searcher.propose(i))
        searcher.tell(i, value(found[-1]))
    return found


def _numbers(searcher: Searcher) -> list[int]:
    return list(range(NUMBER if searcher.size is None else min(NUMBER, searcher.size)))
