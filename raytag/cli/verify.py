"""Whether all that a run holds is what was written: every file is read and compared with its digest.

    raytag verify                    the newest run
    raytag verify RUN --cache        the feature cache beside the runs, too
    raytag verify RUN --take-back    and set folds aside that a launch by itself would not find damaged

A launch compares what it needs: results, predictions, checkpoints, tables and its log; of weights and curves it
looks at the sizes alone. This reads everything. The exit code is 1 where anything is damaged.
"""

from __future__ import annotations

import argparse

COMPUTED = "the next launch computes it again"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("run", metavar="RUN", nargs="?", help="name, path or URI of a run; by default the newest")
    add("--cache", action="store_true", help="read the feature cache too; --cache-dir says where it is")
    add("--cache-dir", metavar="DIR", help="folder or URI of the cache; by default cache/ beside --runs-dir")
    add("--take-back", action="store_true", help="damaged folds are set aside: the next launch trains them again")
    add("--runs-dir", default="runs", help="where runs are looked up by name (%(default)s)")
    add("--json", action="store_true", help="print everything as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Read everything; 1 if anything is damaged."""
    import json
    from contextlib import nullcontext

    from rich.console import Console

    from raytag.console import ProgressBar, make_console, say
    from raytag.store.files import Storage
    from raytag.store.lease import Lease
    from raytag.store.run import RunStore, locate
    from raytag.store.verify import Damage, Verifier

    runs_dir, name = locate(arguments.run, arguments.runs_dir)
    storage = Storage(runs_dir).sub(name)
    if not storage.exists("experiments"):
        RunStore(runs_dir, name)  # says so where there is no such run
    with Lease(storage, f"run {name!r}", "wait for it or stop it") if arguments.take_back else nullcontext():
        folders = len(storage.folders("experiments")) + len(storage.folders("ensembles"))
        with ProgressBar(Console(stderr=True), "verify", folders, "experiments and ensembles") as progress:
            verifier = Verifier(storage, progress.advance)
            damage = list(verifier.damage())
        old: list[str] = []
        if arguments.cache or arguments.cache_dir:
            from raytag.features.manifest import find_damage
            from raytag.features.shards import CHECKED, FOLDER

            cache = Storage(arguments.cache_dir) if arguments.cache_dir else Storage(runs_dir).beside("cache")
            for folder in cache.folders():
                if any(name.endswith(CHECKED) for name in cache.files(f"{folder}/{FOLDER}")):
                    damage += [Damage(words, COMPUTED) for words in find_damage(cache.sub(folder))]
                else:
                    old.append(cache.where(folder))
        taken = {d.fold.storage.where(): d.fold for d in damage if d.fold} if arguments.take_back else {}
        for fold in taken.values():
            fold.set_aside()
    counts = {"files": verifier.files, "bytes": verifier.bytes, "without_digest": verifier.unknown}
    if arguments.json:
        found = [{"reason": d.reason, "outcome": d.outcome} for d in damage]
        print(json.dumps({"run": name, **counts, "damage": found, "taken_back": sorted(taken)}, indent=2))
        return 1 if damage else 0
    console = make_console()
    for d in damage:
        say(console, f"{d.reason}: {'set aside' if d.fold and taken else d.outcome}", "red")
    for where in old:
        say(console, f"{where} is from before cells had digests: it cannot be compared", "yellow")
    unknown = f"; {verifier.unknown} of them are from before there were digests, and could only be read"
    verdict = f"{len(damage)} are damaged" if damage else "all are whole"
    say(console, f"Run {name}: {verifier.files} files read, {verdict}" + unknown * bool(verifier.unknown))
    return 1 if damage else 0
