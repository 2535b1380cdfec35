"""Before anything trains on several nodes: does every node see the same runs, cache and data?"""

from __future__ import annotations

import uuid
from collections.abc import Mapping

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from raytag.store.files import Storage


class NodeError(ValueError):
    """Nodes do not share their files; the message names the node and the two ways out."""


@ray.remote(num_cpus=0, max_retries=1)
def _look(
    folders: Mapping[str, str], probes: Mapping[str, str], probe: str, data_file: str | None, node: str
) -> list[str]:
    """What this node cannot see or write, in words."""
    wrong = []
    for what, uri in folders.items():
        storage = Storage(uri)
        if not storage.exists(probes[what]):
            wrong.append(f"does not see the {what} folder {uri} of the driver")
            continue
        if probes[what] != probe:  # which the driver cannot write to either
            continue
        try:
            storage.write(f"{probe}-{node}", b"here")
        except OSError as error:
            wrong.append(f"cannot write to the {what} folder {uri} ({error.strerror})")
    if data_file is not None and not Storage(data_file).exists(""):
        wrong.append(f"does not see the recordings (looked for {data_file})")
    return wrong


def check_nodes(runs_dir: str, cache_dir: str, data_file: str | None) -> int:
    """Check every node of the cluster; the number of nodes.

    A file written by the driver must be visible from each node, and a file written by the node from the
    driver. A cache that is read-only and holds something must be seen.

    Raises
    ------
    NodeError
        At least one node reads or writes elsewhere.
    """
    nodes = [n for n in ray.nodes() if n["Alive"]]
    if len(nodes) < 2:
        return len(nodes)
    folders = {"runs": runs_dir, "cache": cache_dir}
    probe = f".raytag-probe-{uuid.uuid4().hex[:8]}"
    storages = {what: Storage(uri) for what, uri in folders.items()}
    probes = dict.fromkeys(folders, probe)
    for what, storage in storages.items():
        try:
            storage.write(probe, b"driver")
        except OSError:
            held = storage.folders() if what == "cache" else []
            if not held:
                raise
            probes[what] = held[0]
    try:
        asked = {
            n["NodeID"]: _look.options(
                scheduling_strategy=NodeAffinitySchedulingStrategy(node_id=n["NodeID"], soft=False)
            ).remote(folders, probes, probe, data_file, n["NodeID"][:8])
            for n in nodes
        }
        wrong = []
        for node in nodes:
            found = ray.get(asked[node["NodeID"]])
            for what, storage in storages.items():
                if probes[what] != probe:
                    continue
                name = f"{probe}-{node['NodeID'][:8]}"
                if not found and not storage.exists(name):
                    found.append(f"writes its {what} folder somewhere else than the driver")
                storage.delete(name)
            wrong += [f"node {node['NodeManagerAddress']} {words}" for words in found]
    finally:
        for what, storage in storages.items():
            if probes[what] == probe:
                storage.delete(probe)
    if wrong:
        raise NodeError(
            "; ".join(wrong) + ". Either put --data, --runs-dir and --cache-dir on a disk that all nodes share, "
            "or give --runs-dir and --cache-dir as s3:// URIs and the recordings under the same path on every node"
        )
    return len(nodes)
