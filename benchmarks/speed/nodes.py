"""A subset search on three simulated nodes, one of which is removed in the middle: the same result to the bit.

    python benchmarks/speed/nodes.py                        # best 7 of 34 on 4,970 clips x 80 classes
    python benchmarks/speed/nodes.py --models 20 --size 6   # smaller

The nodes are Ray nodes of their own on this machine (`ray.cluster_utils.Cluster`): a head that computes nothing and
two nodes of one CPU. Once the last of them has begun its second shard, it is killed, without notice. The boards, of
all folds and of all but each, must be those of a search in a single process.

    python benchmarks/speed/nodes.py --models 24 --size 6 --clips 500 --late

is the test of a small search: the last node joins only after the search has begun, and is killed in its first
shard, which waits for that.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import ray
from _oof import CLASSES, CLIPS, simulate
from ray._private.node import Node
from ray.cluster_utils import Cluster

from raytag.blends.pairs import log_probabilities, reduce_pairs
from raytag.blends.subsets import TREE_LIMIT, Objective, search_trees
from raytag.blends.trees import Tree, plan_trees
from raytag.console import make_console
from raytag.ensemble.choose import subset_tasks

FOLDS = 5
HEAD = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": 500_000_000}
search_shard = subset_tasks._search_shard


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=int, default=34, help="models to choose from (default 34)")
    parser.add_argument("--size", type=int, default=7, help="members (default 7)")
    parser.add_argument("--clips", type=int, default=CLIPS, help=f"clips (default {CLIPS})")
    parser.add_argument("--late", action="store_true", help="the last node joins late (see above)")
    args = parser.parse_args()

    probabilities, targets = simulate(args.models, args.clips)
    pairs = reduce_pairs(log_probabilities(probabilities), targets, np.arange(args.clips) % FOLDS)
    everything = tuple(range(FOLDS))
    without = [tuple(k for k in everything if k != out) for out in everything]
    goals = [Objective(everything, 100), *(Objective(parts, 1) for parts in without)]
    n_subsets = math.comb(args.models, args.size)
    print(f"best {args.size} of {args.models} on {args.clips:,} x {CLASSES}: {n_subsets:,} subsets")

    cluster = Cluster(initialize_head=True, head_node_args=HEAD)
    stays = add_node(cluster)
    goes = None if args.late else add_node(cluster)
    cluster.wait_for_nodes()
    ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        diary = Path(folder) / "diary"
        diary.touch()
        subset_tasks._search_shard = noted(str(diary), stays.node_id, args.late)
        if args.late:
            subset_tasks.make_shards = one_tree_a_shard
        try:
            with ThreadPoolExecutor(1) as thread:  # nodes can be added in the main thread only
                search = thread.submit(subset_tasks.search, pairs, [args.size], goals, console=make_console())
                come_and_go(cluster, stays, goes, diary, search)
                boards, outcome = search.result()
        finally:
            ray.shutdown()
            cluster.shutdown()
        subset_tasks._search_shard = search_shard
        report(diary.read_text().splitlines(), stays.node_id)
    print(
        f"{len(outcome.results)} shards in {outcome.seconds:.1f} s; "
        f"run again: {', '.join(str(i + 1) for i in outcome.repeated) or 'none'}"
    )
    assert outcome.repeated, "the node was removed, but no shard was lost: take a longer search"

    started = time.perf_counter()
    expected = search_trees(pairs, plan_trees(args.models, [args.size], TREE_LIMIT), goals)
    print(f"a single process: {time.perf_counter() - started:.1f} s")
    assert [list(board) for board in boards] == [list(board) for board in expected], "the boards differ"
    print(f"the same {len(boards)} boards to the bit, best {next(iter(boards[0])).members}")


def add_node(cluster: Cluster) -> Node:
    return cluster.add_node(num_cpus=1, object_store_memory=500_000_000)


def one_tree_a_shard(n_models: int, sizes: Sequence[int], *_: object) -> list[list[Tree]]:
    return [[tree] for tree in plan_trees(n_models, sizes, 1 << 14)]


def noted(diary: str, stays: str, late: bool):  # type: ignore[no-untyped-def]
    """The search of a shard, written down: event, node, process, milliseconds."""

    def note(event: str, node: str) -> None:
        with open(diary, "a") as file:  # one short write: lines do not mix
            file.write(f"{event} {node} {os.getpid()} {time.time() * 1000:.0f}\n")

    def search(shared, trees):  # type: ignore[no-untyped-def]
        node = ray.get_runtime_context().get_node_id()
        note("begin", node)
        patience = time.monotonic() + 60
        while late and time.monotonic() < patience:
            # the first node waits for the second to begin, the second for its end
            if node == stays and len({line.split()[1] for line in Path(diary).read_text().splitlines()}) > 1:
                break
            time.sleep(0.02)
        found = search_shard(shared, trees)
        note("end", node)
        return found

    return search


def come_and_go(cluster: Cluster, stays: Node, goes: Node | None, diary: Path, search: Future) -> None:
    """Add the last node, if it is not there yet, once the first one works; then kill it while it works."""

    def wait_for(event: str, times: int) -> None:
        while diary.read_text().count(event) < times and not search.done():
            time.sleep(0.02)

    if goes is None:
        wait_for(f"begin {stays.node_id}", 1)
        goes = add_node(cluster)
        wait_for(f"end {stays.node_id}", 1)
    else:
        wait_for(f"begin {goes.node_id}", 2)
    cluster.remove_node(goes, allow_graceful=False)
    with diary.open("a") as file:
        file.write(f"removed {goes.node_id} 0 {time.time() * 1000:.0f}\n")


def report(lines: list[str], stays: str) -> None:
    first = min(int(line.split()[3]) for line in lines)
    for name, here in (("first", True), ("last", False)):
        mine = [line.split() for line in lines if (line.split()[1] == stays) == here]
        begun, ended = (sum(words[0] == event for words in mine) for event in ("begin", "end"))
        print(f"{name} node: {begun} shards begun, {ended} ended")
        for words in mine:
            if words[0] == "removed":
                print(f"{name} node: killed {(int(words[3]) - first) / 1000:.1f} s after the first shard began")


if __name__ == "__main__":
    main()
