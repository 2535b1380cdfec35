"""The exact subset search in shards, spread over the cluster."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from raytag.blends.cost import Speed, make_shards, measure_speed
from raytag.blends.pairs import Pairs
from raytag.blends.subsets import Board, Objective, merge, search_trees
from raytag.blends.trees import Tree, count_subsets
from raytag.blends.warmup import warm_up
from raytag.cluster.resources import count_cpus
from raytag.cluster.tasks import TaskResults, run_tasks
from raytag.console import duration, say


def search(
    pairs: Pairs,
    sizes: Sequence[int],
    objectives: Sequence[Objective],
    *,
    console: Console,
    workers: int | None = None,
    speed: Speed | None = None,
    shards: list[list[Tree]] | None = None,
) -> tuple[list[Board], TaskResults[list[Board]]]:
    """`raytag.blends.subsets.search_trees` over all subsets of some sizes, spread over the cluster.

    The boards are those of a single process, to the last bit; without sizes they are empty. ``speed`` is measured
    and ``shards`` are cut where they are not given.
    """
    if not sizes:
        return [Board(objective) for objective in objectives], TaskResults([], [], 0.0)
    slots = workers or count_cpus()
    speed = speed or measure_speed(pairs, sizes)
    shards = shards or make_shards(pairs.n_models, sizes, speed, slots)
    costs = [speed.seconds(shard) for shard in shards]
    if sum(costs) > 10:
        say(console, f"About {duration(sum(costs) / slots)} on {slots} cores, in {len(shards)} shards")
    outcome = run_tasks(
        _search_shard,
        (pairs, tuple(objectives)),
        shards,
        label=f"subset search ({count_subsets(pairs.n_models, sizes):,} subsets)",
        weights=costs,
        console=console,
        workers=workers,
        prepare=warm_up,
    )
    return merge(outcome.results), outcome


def _search_shard(shared: tuple[Pairs, tuple[Objective, ...]], trees: list[Tree]) -> list[Board]:
    pairs, objectives = shared
    return search_trees(pairs, trees, objectives)
