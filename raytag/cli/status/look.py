"""What the files of a run tell of it, for `raytag status`: read only, and whatever is damaged is named."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from raytag.errors import DamagedError
from raytag.search.leaderboard import pooled
from raytag.search.race.standing import dropped, searches
from raytag.store.disk import StoredFile, sizes, stored_files
from raytag.store.events import read_log
from raytag.store.files import Storage
from raytag.store.fold import FoldStore
from raytag.store.lease import holder
from raytag.store.run import REPORT, RunStore, StoreError, lineage_in

READERS = 16  # threads: an object store answers each request late, but many at once
BEST = 10


class _Run:
    """A run's files, and what is wrong with them."""

    def __init__(self, runs_dir: str, name: str) -> None:
        self.name, self.storage = name, Storage(runs_dir).sub(name)
        self.damaged: list[str] = []
        self.info: dict[str, Any] = {}
        with self.naming():
            self.info = RunStore(runs_dir, name).run
        self.files = {file.name: file for file in stored_files(self.storage)}
        names = [parts for file in self.files if (parts := file.split("/"))[0] == "experiments" and len(parts) > 2]
        self.experiments = sorted({parts[1] for parts in names})
        self.folds: dict[str, dict[int, dict[str, StoredFile]]] = {name: {} for name in self.experiments}
        for parts in names:
            number = parts[2].removeprefix("fold_")
            if len(parts) == 4 and number.isdecimal():
                self.folds[parts[1]].setdefault(int(number), {})[parts[3]] = self.files["/".join(parts)]
        self.n_folds = max((k for folds in self.folds.values() for k in folds), default=-1) + 1
        with self.naming("run.json"):
            self.n_folds = int(self.info.get("n_folds", self.n_folds))

    @contextmanager
    def naming(self, what: str = "") -> Iterator[None]:
        """Go on where a file is damaged or vanishes, and name it (``what``, where the error does not)."""
        try:
            yield
        except StoreError:
            raise
        except FileNotFoundError:
            pass  # a launch deleted it since the folder was listed
        except (ValueError, OSError) as error:
            named = self.storage.where() in str(error)
            self.damaged.append(str(error) if named else f"{self.storage.where(what)}: {error}")
        except (KeyError, TypeError, AttributeError, ZeroDivisionError) as error:
            self.damaged.append(f"{self.storage.where(what)} does not hold what it should ({error!r})")

    def result(self, experiment: str, fold: int) -> dict[str, Any] | None:
        """What is of interest in a fold's result; None where it is not finished or is damaged."""
        name = f"experiments/{experiment}/fold_{fold}"
        if f"{name}/result.json" not in self.files:
            return None
        with self.naming(f"{name}/result.json"):
            store = FoldStore(self.storage.sub(name))
            _, damage = store.look()
            if damage:
                raise DamagedError(damage)
            found = store.result()
            leaky = lineage_in(found)["leaky"]
            return {"lwlrap": float(found["lwlrap"]), "labels": float(found["labels"]), "leaky": leaky}
        return None


def look(runs_dir: str, name: str) -> dict[str, Any]:
    """The state of a run as JSON values, the best and the newest first.

    Raises
    ------
    StoreError
        There is no such run.
    """
    run = _Run(runs_dir, name)
    cells = [(e, k) for e in run.experiments for k in range(run.n_folds)]
    with ThreadPoolExecutor(READERS) as pool:
        found = dict(zip(cells, pool.map(lambda cell: run.result(*cell), cells), strict=True))
    done = {e: [found[e, k] for k in range(run.n_folds) if found[e, k] is not None] for e in run.experiments}
    complete = {e for e, results in done.items() if run.n_folds and len(results) == run.n_folds}
    events: list[dict[str, Any]] = []
    with run.naming("events"):
        events, damage = read_log(run.storage)
        run.damaged += damage
    known = searches(events)
    out = {e: why for e, why in dropped(known).items() if e not in complete}
    failed = {e: why for search in known for e, why in search.failed.items() if e not in complete}
    lease = None
    with run.naming("lease.json"):
        lease = holder(run.storage)
    idle = _idle(run, events, {*complete, *out, *failed})
    begun = [row for e in run.experiments if e not in {*out, *failed, *idle} for row in _begun(run, e)]
    since = lease["since"] if lease is not None and lease["alive"] else float("inf")
    best = {}
    leaky = {e for e, results in done.items() if any(result and result["leaky"] for result in results)}
    for experiment in sorted(complete - leaky):
        with run.naming(f"experiments/{experiment}"):
            best[experiment] = pooled(result for result in done[experiment] if result)
    files = list(run.files.values())
    return {
        "run": name,
        "where": run.storage.where(),
        "data": run.info.get("data"),
        "created": run.info.get("created"),
        "folds": run.n_folds,
        "lease": lease,
        "last_launch": _last_launch(events),
        "searches": [_search(search, found, run.n_folds) for search in known],
        "experiments": {
            "total": len(run.experiments),
            "complete": len(complete),
            "dropped": len(out),
            "failed": len(failed),
            "open": len({*run.experiments} - complete - {*out, *failed, *idle}),
        },
        "running": [row for row in begun if row["updated"] >= since],
        "begun": [row for row in begun if row["updated"] < since],
        "dropped": [{"experiment": e, "reason": why} for e, why in reversed(out.items())],
        "failed": [{"experiment": e, "reason": why} for e, why in reversed(failed.items())],
        "best": [{"experiment": e, "cv_lwlrap": best[e]} for e in sorted(best, key=lambda e: (-best[e], e))[:BEST]],
        "ensembles": list(_ensembles(run)),
        "disk": {"total": sum(file.size for file in files), **sizes(files)},
        "damaged": sorted(set(run.damaged)),
    }


def _idle(run: _Run, events: list[dict[str, Any]], closed: set[str]) -> set[str]:
    """Experiments that no search proposed and that nothing which is left learns from."""
    readers: dict[str, set[str]] = {}
    proposed = [event for event in events if event["event"] == "propose"]
    for event in proposed:
        for ancestor in event.get("ancestors", ()):
            readers.setdefault(ancestor, set()).add(event["experiment"])
    own = {event["experiment"] for event in proposed}
    return {e for e in run.experiments if e in readers and e not in own and readers[e] <= closed}


def _last_launch(events: list[dict[str, Any]]) -> dict[str, Any] | None:
    """When and how the run was last launched, and whether it was interrupted (None: it did not say)."""
    last: dict[str, Any] | None = None
    for event in events:
        if event["event"] == "launch":
            last = {"time": event.get("time"), "command": event.get("command"), "interrupted": None}
        elif event["event"] == "end" and last is not None:
            last["interrupted"] = bool(event.get("interrupted"))
    return last


def _search(search: Any, found: dict[tuple[str, int], Any], n_folds: int) -> dict[str, Any]:
    race, settings = search.race, search.race.get("settings", {})
    folds = race.get("folds", range(n_folds))
    left = {e: sum(found.get((e, k)) is None for k in folds) for e in search.open}
    return {
        "key": search.key,
        "stopping": settings.get("stopping"),
        "keep": settings.get("keep"),
        "number": race.get("number"),
        "drawn": len(search.active),
        "open_experiments": sum(n > 0 for n in left.values()),
        "open_folds": sum(left.values()),
    }


def _begun(run: _Run, experiment: str) -> Iterator[dict[str, Any]]:
    """The folds of an experiment that have begun and are not finished, as their curves tell."""
    for fold, files in sorted(run.folds[experiment].items()):
        curve = files.get("curve.csv")
        if "result.json" in files or curve is None:
            continue
        epochs, scores = None, []
        with run.naming(curve.name):
            text = run.storage.read(curve.name).decode()
            scores = [float(row["lwlrap"]) for row in csv.DictReader(io.StringIO(text))]
        with run.naming(f"experiments/{experiment}/experiment.json"):
            stored = run.storage.read_json(f"experiments/{experiment}/experiment.json")
            epochs = int(stored["training"]["epochs"])
        yield {
            "experiment": experiment,
            "fold": fold,
            "epoch": len(scores),
            "epochs": epochs,
            "lwlrap": scores[-1] if scores else None,
            "best": max(scores, default=None),
            "updated": max(file.modified for file in files.values()),
        }


def _ensembles(run: _Run) -> Iterator[dict[str, Any]]:
    """The ensembles of a run, the newest first."""
    names = [file for file in run.files if file.startswith("ensembles/") and file.endswith(f"/{REPORT}")]
    for file in sorted(names, key=lambda n: -run.files[n].modified):
        with run.naming(file):
            report = run.storage.read_json(file)
            yield {
                "name": file.split("/")[1],
                "way": report["ways"][report["way"]]["title"],
                "members": len(report["members"]),
                "in_sample": report["in_sample"],
                "nested": report["nested"],
            }
