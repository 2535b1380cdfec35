"""Free the disk from weights and checkpoints of a run that no ensemble needs.

    raytag prune RUN                     lists what would go, then asks
    raytag prune RUN --yes               without asking, for scripts
    raytag prune RUN --keep-best 30      spares the 30 best complete experiments

What goes, of complete and of dropped experiments: weights, and what raytag windows made with them, but those of
members of a stored ensemble and of models that its stackers read; checkpoints, also the last ones, from which
trainings of more --epochs go on; and files that killed writers left. The best complete experiments keep all, and so
do those that are still to be trained. Predictions, results and curves stay: leaderboards and ensemble searches
remain as they are. While a launch works on the run nothing is pruned.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from raytag.store.disk import StoredFile
    from raytag.store.run import RunStore


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="name, path or URI of a run")
    parser.add_argument("--runs-dir", default="runs", help="where runs are looked up by name (%(default)s)")
    parser.add_argument(
        "--keep-best", type=int, default=10, metavar="N", help="complete experiments that keep all (%(default)s)"
    )
    parser.add_argument("--yes", action="store_true", help="delete without asking")


def run(arguments: argparse.Namespace) -> int:
    """List, ask, delete."""
    from raytag.console import make_console, say, size_words
    from raytag.errors import RefusedError
    from raytag.store.lease import Lease, holder
    from raytag.store.run import RunStore

    if arguments.keep_best < 0:
        raise ValueError(f"--keep-best {arguments.keep_best}: must be 0 or more")
    console, store = make_console(), RunStore.find(arguments.run, arguments.runs_dir)
    owner = holder(store.storage)
    if owner is not None and owner["alive"]:
        raise RefusedError(
            f"process {owner['pid']} on {owner['host']} works on run {store.name!r}: prune it when that has ended"
        )
    listed = prunable(store, arguments.keep_best)
    if not listed:
        say(console, f"Run {store.name}: there is nothing to prune")
        return 0
    _show(console, store, listed)
    if not arguments.yes and not _agreed(f"Delete {size_words(_size(listed))}? [y/N] "):
        say(console, "Nothing was deleted")
        return 0
    with Lease(store.storage, f"run {store.name!r}", "wait for it or stop it"):
        still = set(prunable(store, arguments.keep_best)) & set(listed)  # a launch may have come and gone
        _delete(store, still)
    say(console, f"Run {store.name}: {size_words(_size(still))} freed")
    return 0


def prunable(store: RunStore, keep_best: int) -> list[StoredFile]:
    """The files of a run that may go, by name.

    Raises
    ------
    ValueError
        An ensemble cannot be read, so what it needs is not known.
    """
    from raytag.search.race.standing import dropped, searches
    from raytag.store.disk import stored_files
    from raytag.store.events import read_events
    from raytag.store.fold import WINDOWS, WINDOWS_KEPT

    complete, members, events = store.complete(), _members(store), read_events(store.storage)
    closed = {*dropped(searches(events)), *complete}
    closed -= set(_best(store, complete)[:keep_best])
    open_ones = set(store.experiments()) - {*closed, *complete}
    closed -= {parent for e in events if e.get("experiment") in open_ones for parent in e.get("ancestors", ())}

    def goes(file: StoredFile) -> bool:
        folder, owner, *_ = [*file.name.split("/"), ""]
        if folder != "experiments" or owner not in closed:
            return file.abandoned
        unneeded = file.kind == "weights" or file.base in (WINDOWS, WINDOWS_KEPT)
        return file.abandoned or file.kind == "checkpoints" or (unneeded and owner not in members)

    return [file for file in stored_files(store.storage) if goes(file)]


def _best(store: RunStore, complete: Iterable[str]) -> list[str]:
    """Complete experiments, the best first, leaky ones last."""
    from raytag.search.leaderboard import pooled
    from raytag.store.run import lineage_in

    results = {e: [store.fold(e, k).result() for k in range(store.n_folds)] for e in complete}
    return sorted(results, key=lambda e: (lineage_in(results[e][0])["leaky"], -pooled(results[e]), e))


def _members(store: RunStore) -> set[str]:
    """Experiments of a run that ensembles need, of this run and of others that it joined."""
    from raytag.store.files import Storage
    from raytag.store.run import REPORT, list_runs

    found: set[str] = set()
    for name in list_runs(store.runs_dir):
        storage = Storage(store.runs_dir).sub(name)
        for ensemble in storage.folders("ensembles"):
            folder = f"ensembles/{ensemble}"
            if not storage.exists(f"{folder}/{REPORT}"):
                continue
            try:
                report = storage.read_json(f"{folder}/{REPORT}")
                runs, members = report["search"]["runs"], {*report["members"]}
                for stackers in report["stackers"].values():
                    for stacker in stackers[:1]:  # all of a fold read the same members
                        fold = storage.folders(f"{folder}/stackers/{stacker}")[0]
                        result = storage.read_json(f"{folder}/stackers/{stacker}/{fold}/result.json")
                        members |= {*result["members"]}
            except (ValueError, KeyError, IndexError, TypeError, AttributeError, FileNotFoundError) as error:
                raise ValueError(
                    f"{storage.where(folder)} is damaged ({error}), so which weights it needs is not known: "
                    "restore it, or delete that folder and search again"
                ) from None
            if store.name in runs:
                prefix = f"{store.name}/" if len(runs) > 1 else ""
                found |= {m.removeprefix(prefix) for m in members if m.startswith(prefix)}
    return found


def _show(console: Console, store: RunStore, files: Iterable[StoredFile]) -> None:
    from rich.markup import escape

    from raytag.console import make_table, say, size_words
    from raytag.store.disk import KINDS, sizes

    by_owner: dict[str, list[StoredFile]] = {}
    for file in files:
        parts = file.name.split("/")
        owner = "left by killed writers" if file.abandoned else parts[1]
        by_owner.setdefault(owner, []).append(file)
    say(console, f"Run {store.name}: this would go", style="bold")
    table = make_table("", ["", *KINDS[:2], "files", "size"])
    for owner, own in by_owner.items():
        kinds = sizes(own)
        cells = [size_words(kinds[kind]) if kinds[kind] else "" for kind in KINDS[:2]]
        table.add_row(escape(owner), *cells, str(len(own)), size_words(_size(own)))
    console.print(table)


def _size(files: Iterable[StoredFile]) -> int:
    return sum(file.size for file in files)


def _agreed(question: str) -> bool:
    """Whether somebody says yes; nobody does where there is no terminal."""
    print(question, end="", file=sys.stderr, flush=True)
    answer = sys.stdin.readline()
    if not answer:
        print("no answer: --yes deletes without asking", file=sys.stderr)
    return answer.strip().lower() in ("y", "yes")


def _delete(store: RunStore, files: Iterable[StoredFile]) -> None:
    """Delete files; those of a fold are named in it before, so that it is not taken for damaged."""
    from raytag.errors import RefusedError
    from raytag.store.fold import PRUNED

    by_folder: dict[str, list[StoredFile]] = {}
    for file in files:
        by_folder.setdefault(file.name[: -len(file.base) - 1], []).append(file)
    for folder, own in sorted(by_folder.items()):
        names = sorted(file.base for file in own if file.kind == "weights")
        storage = store.storage.sub(folder)
        try:
            if names:
                storage.write_json(PRUNED, {"files": names})
            for file in sorted(own, key=lambda f: not f.base.endswith(".json")):  # what points to a file before it
                storage.delete(file.base)
        except OSError as error:
            raise RefusedError(f"{storage.where()} cannot be pruned: {error}") from None
