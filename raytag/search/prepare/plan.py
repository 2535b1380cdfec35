"""What a launch is going to do: who proposes, by which rules experiments are dropped, on which folds, how many."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from rich.console import Console

from raytag.console import Stopwatch, parse_duration, say
from raytag.datasets.table import ClipTable
from raytag.search import searchers
from raytag.search.budget import Budget
from raytag.search.options import LaunchOptions
from raytag.search.prepare.estimate import predicted_seconds
from raytag.search.race.fold_order import typical_first
from raytag.search.race.rules import RULES
from raytag.search.race.settings import Settings
from raytag.search.searchers import Searcher
from raytag.space import Choice, Space
from raytag.store.events import EventLog
from raytag.train.stages.lineage import Cell, models

MOST_IN_A_BUDGET = 1000  # grid points that a time budget alone may ask for


@dataclass(frozen=True)
class Plan:
    """What determines a search, beside its data.

    Attributes
    ----------
    searcher : Searcher
        Proposes experiments.
    key : str
        Names the sequence of proposals (`raytag.search.searchers.search_key`), so that a later launch continues it.
    settings : Settings
        The rules of the race.
    folds : sequence of int
        In the order in which every experiment runs them.
    weights : sequence of float
        Number of labels that each of these folds is scored on.
    asked : int or None
        Experiments to draw in all, earlier launches of the same sequence included; None: as many as the budget (or
        the searcher) allows.
    budget : Budget or None
        When to stop proposing.
    """

    searcher: Searcher
    key: str
    settings: Settings
    folds: Sequence[int]
    weights: Sequence[float]
    asked: int | None
    budget: Budget | None = None

    @property
    def number(self) -> int | None:
        """Experiments to draw in all, of those that there are."""
        return min((n for n in (self.asked, self.searcher.size) if n is not None), default=None)


def make_plan(
    options: LaunchOptions, chosen: Space, table: ClipTable, folds: Sequence[int], console: Console
) -> Plan:
    """The plan as far as the options and the tables determine it; says where there are too few experiments.

    Raises
    ------
    ValueError
        A search that does not suit the space.
    """
    number = options.number(chosen)
    searcher = searchers.build(options.search, chosen, options.seed, number or MOST_IN_A_BUDGET)
    few = fewer(options, chosen, searcher)
    if few is not None:
        say(console, few)
    return Plan(
        searcher=searcher,
        key=searchers.search_key(options.search, chosen, options.seed),
        settings=Settings(options.stopping, options.keep),
        folds=folds,
        weights=fold_weights(table, folds),
        asked=number,
    )


def fewer(options: LaunchOptions, chosen: Space, searcher: Searcher) -> str | None:
    """A sentence where the space has fewer experiments than are wanted; None where it has enough."""
    number = options.number(chosen)
    if number is None:
        return None
    if searcher.known is None:
        drawn = {searcher.propose(i).hash for i in range(min(number, searcher.size or number))}
    elif all(isinstance(d, Choice) for branch in chosen.branches for d in branch.vary.values()):
        drawn = {experiment.hash for experiment in chosen.grid(options.seed, number)}
    else:
        return None
    if len(drawn) == number:
        return None
    if searcher.known is searcher.size is None:
        draws = f"{number} {options.search} draws"
        return f"{draws} are only {len(drawn)} different experiments; --search grid repeats none"
    return f"The {searcher.source} has only {len(drawn)} of the {number} experiments wanted"


def fold_weights(table: ClipTable, folds: Sequence[int]) -> list[float]:
    """Number of labels that each fold's out-of-fold predictions are scored on."""
    rows = table.rows("curated")
    labels, of = table.targets(rows).sum(1), table.clips["fold"].to_numpy()[rows]
    return [float(labels[of == k].sum()) for k in folds]


def order_folds(
    folds: Sequence[int],
    log: EventLog,
    table: ClipTable,
    scores: Callable[[], np.ndarray],
    watch: Stopwatch,
    console: Console,
) -> list[int]:
    """The order of the run's last launch over the same folds; for a new run a typical fold first.

    ``scores`` gives the folds' difficulty (`raytag.search.race.fold_order`).
    """
    for event in reversed(log.past):
        if event["event"] == "race" and sorted(event["folds"]) == sorted(folds):
            return list(event["folds"])
    if table.n_folds < 3:  # of two folds neither is typical
        return list(folds)
    found = scores()
    order = typical_first(found)
    words = " ".join(f"{k}: {found[k]:.3f}" for k in sorted(order))
    say(console, f"A ridge baseline's lwlrap by fold, to put a typical one first: {words}")
    watch.lap("order of folds")
    return order


def make_budget(
    options: LaunchOptions,
    chosen: Space,
    table: ClipTable,
    folds: Sequence[int],
    slots: Callable[[], int],
    on_gpu: bool,
    console: Console,
) -> Budget | None:
    """The clock of --time-budget, started; says what it means for this space on this machine."""
    if options.time_budget is None:
        return None
    first = chosen.first
    seconds = None  # on a GPU only its own epochs can tell
    if not on_gpu:
        say(console, "Timing a few training steps for the time budget …")
        seconds = predicted_seconds([(first, Cell(folds[0]))], table) / first.training.epochs
    clock = Budget(parse_duration("--time-budget", options.time_budget), slots, seconds)
    whole = sum(e.training.epochs for e, _ in models([first], folds, table.n_folds))
    epochs = whole // len(folds)  # of a fold with what it learns from
    racing = RULES[options.stopping].can_stop  # then a fold waits for the one before it
    longest = epochs * (len(folds) if racing else 1)
    say(
        console, f"--time-budget {options.time_budget}: " + clock.explain(epochs, len(folds), options.keep, longest)
    )
    return clock
