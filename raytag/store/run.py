"""The run store: what a run keeps, who may write it, and when a fold is finished.

    runs/RUN/run.json                               dataset fingerprint, classes, folds
    runs/RUN/clips.parquet                          the table of clips with their folds
    runs/RUN/contents.parquet                       a hash of each recording (clip, content)
    runs/RUN/quarantine.csv                         unusable clips and why; no prediction has them
    runs/RUN/public.csv                             what leaderboards said (``raytag.store.public``)
    runs/RUN/events/NNN.jsonl                       decisions of each launch (``raytag.store.events``)
    runs/RUN/files/SHA256                           users' files of weights with which experiments begin
    runs/RUN/trained/DIGEST.json                    sets of clips that models were trained on
    runs/RUN/experiments/NAME-HASH8/experiment.json, and the text of its corrections
    runs/RUN/experiments/NAME-HASH8/fold_K/         checkpoints, predictions, result (``raytag.store.fold``)
    runs/RUN/plugins/FILE-HASH8.py                  what experiments use of ``raytag.plugins``, for all workers
    runs/RUN/ensembles/NAME/                        what ``ensemble_search.py`` wrote

An experiment is complete when all folds of ``run.json`` are finished. Whatever tells which data a run is about
stands in two places, ``run.json`` and each fold: what is lost or damaged in one is made again from the other and
the dataset, where they agree.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Mapping
from typing import Any

import pandas as pd

from raytag import __version__, plugins
from raytag.datasets.table import ClipTable, fingerprint
from raytag.errors import DamagedError
from raytag.experiment import LEAKY, Experiment
from raytag.store.difference import difference, replaced_clips
from raytag.store.digest import digest
from raytag.store.files import Storage
from raytag.store.fold import CHECKPOINTS, RESULT, FoldStore
from raytag.store.kept.outside import keep_files, with_texts

FORMAT = 2
#: Runs of format 1 are read; their experiments were named otherwise, so nothing can be added to them.
READ = (1, FORMAT)
REPORT = "ensemble.json"  # of an ensemble, written last: it is there exactly when this is
CONTENTS = ["clip", "content"]  # columns of contents.parquet


class StoreError(ValueError):
    """The run store does not fit what is asked of it; the message says what differs and what to do."""


class RunStore:
    """One run: a folder under ``runs_dir``."""

    def __init__(self, runs_dir: str, name: str) -> None:
        self.runs_dir, self.name = runs_dir, name
        self.storage = Storage(runs_dir).sub(name)
        self.mended: list[str] = []  # what a launch made again, in words
        self.kept: dict[str, int] = {}  # users' files that are known to be whole there: bytes by digest
        try:
            self.run: dict[str, Any] = self.storage.read_json("run.json")
        except FileNotFoundError:
            known = list_runs(runs_dir)
            raise StoreError(
                f"no run {name!r} in {Storage(runs_dir).where()}; "
                + (f"there are: {', '.join(known)}" if known else "start one with python launch.py")
            ) from None
        except DamagedError as error:
            raise DamagedError(f"{error}; the launch that made the run writes it anew") from None
        if self.run.get("format") not in READ:
            raise StoreError(
                f"{self.storage.where('run.json')} has format {self.run.get('format')}, this raytag reads {FORMAT}"
            )

    @classmethod
    def newest(cls, runs_dir: str) -> RunStore:
        """The run that was launched last."""
        return cls(*locate(None, runs_dir))

    @classmethod
    def find(cls, run: str | None, runs_dir: str) -> RunStore:
        """A run by its name below ``runs_dir``, else by the path or URI of its folder; None is the newest."""
        return cls(*locate(run, runs_dir))

    @classmethod
    def open_for(cls, runs_dir: str, name: str, table: ClipTable, data: str) -> RunStore:
        """The run of that name if ``table`` fits it, else a new one.

        What is lost or damaged and follows from the table is written again; `mended` says what.

        Raises
        ------
        StoreError
            The run was made on other data; the message says what differs.
        """
        storage = Storage(runs_dir).sub(name)
        run = {
            "format": FORMAT,
            "raytag": __version__,
            "name": name,
            "data": data,
            "fingerprint": table.fingerprint(),
            "classes": list(table.classes),
            "n_folds": table.n_folds,
            "submission": list(table.submission) if table.submission is not None else None,
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "files": {},
        }
        try:
            store = cls(runs_dir, name)
        except DamagedError as error:
            store = cls._again(storage, runs_dir, name, run, str(error).partition(";")[0])
        except StoreError:
            if storage.exists("run.json"):  # of another format
                raise
            store = cls._again(storage, runs_dir, name, run, "")
        if store.run["format"] != FORMAT:
            raise StoreError(
                f"run {name!r} is from before experiments were named by what differs from the defaults: its folds "
                "would not be found. It is read as before, by ensemble_search.py too; train with another --run name"
            )
        if store.run["fingerprint"] != run["fingerprint"]:
            try:
                words = difference(store.run, store.clips(), run, table.clips)
            except (DamagedError, FileNotFoundError) as error:
                words = f"labels, folds or classes differ (no more can be said: {error})"
            raise StoreError(
                f"run {name!r} was made on other data ({store.run['data']}): {words}. Use another --run name"
            )
        store._keep_clips(table)
        store._write_run()  # renews its time: this is now the newest run
        return store

    @classmethod
    def _again(cls, storage: Storage, runs_dir: str, name: str, run: Mapping[str, Any], damage: str) -> RunStore:
        """A new run, or one whose ``run.json`` is lost or damaged while its folds are of the same data."""
        store = cls.__new__(cls)
        store.runs_dir, store.name, store.storage = runs_dir, name, storage
        store.mended, store.kept = [], {}
        store.run = dict(run)
        if not storage.exists("experiments"):
            return store
        damage = damage or f"{storage.where('run.json')} is gone"
        known = store._origins("fingerprint")
        if not known and storage.exists("clips.parquet"):  # folds of before they knew their data
            known["clips.parquet"] = fingerprint(run["classes"], store.storage.read_parquet("clips.parquet"))
        other = [where for where, own in known.items() if own != run["fingerprint"]]
        if other or not known:
            words = (
                f"{other[0]} has other labels, folds or classes" if other else "nothing tells of what data it was"
            )
            raise StoreError(f"{damage}, and {words}. Restore it or the tables, or use another --run name")
        store.mended.append(f"{damage}: written anew, for its folds were trained on these very labels and folds")
        return store

    def _origins(self, what: str) -> dict[str, str]:
        """The fingerprint or the contents of the data that each fold was trained on, as far as it knows."""
        found = {}
        for experiment in self.experiments():
            for fold in self.storage.folders(f"experiments/{experiment}"):
                for file in (RESULT, *(f"{name}.json" for name in CHECKPOINTS)):
                    name = f"experiments/{experiment}/{fold}/{file}"
                    if not self.storage.exists(name):
                        continue
                    try:
                        own = (self.storage.read_json(name).get("data") or {}).get(what)
                    except DamagedError:
                        continue  # it is taken back before anything trains
                    if own is not None:
                        found[f"{experiment} {fold} ({file})"] = own
        return found

    def _keep_clips(self, table: ClipTable) -> None:
        """Write ``clips.parquet`` unless it is there; the table is the run's."""
        name, kept = "clips.parquet", self.run.get("files", {}).get("clips.parquet")
        try:
            self.storage.read(name, kept)
            if kept is not None:
                return
            damage = ""  # a run of before there were digests
        except (DamagedError, FileNotFoundError) as error:
            damage = str(error).replace("does not exist", "is gone") if self.storage.exists("experiments") else ""
        self._keep(name, self.storage.write_parquet(name, table.clips.drop(columns="path")))
        self.mended += [f"{damage}: written anew from the tables"] * bool(damage)

    def _keep(self, name: str, kept: Mapping[str, Any]) -> None:
        self.run["files"] = {**self.run.get("files", {}), name: dict(kept)}

    def _write_run(self) -> None:
        self.storage.write_json("run.json", self.run)

    @property
    def data(self) -> dict[str, str | None]:
        """What tells the data of this run from others: of the tables, and of the recordings once they are known."""
        return {"fingerprint": self.run["fingerprint"], "contents": self.run.get("contents")}

    def set_contents(self, contents: Mapping[str, str]) -> str:
        """Record what the recordings of this run hold: a hash of the bytes of each usable one by clip.

        Returns
        -------
        str
            A sentence where earlier launches did not record it; else "".

        Raises
        ------
        StoreError
            Recordings were replaced since an earlier launch: finished folds were trained on other sound.
        """
        name, damage, before = "contents.parquet", "", None
        try:
            before = self.contents()
        except DamagedError as error:
            damage = str(error)
        if before is not None and (replaced := replaced_clips(before, contents)):
            raise StoreError(
                f"run {self.name!r} was made with other recordings: {len(replaced)} were replaced "
                f"({', '.join(replaced[:3])}{', …' if len(replaced) > 3 else ''}). Restore them, or use another "
                "--run name"
            )
        if before is not None and name in self.run.get("files", {}):
            return ""
        known: dict[str, str] = {}
        if before is None:
            known = {"run.json": self.run["contents"]} if self.run.get("contents") else self._origins("contents")
            damage = damage or f"{self.storage.where(name)} is gone"
            if other := [where for where, own in known.items() if own != _of_contents(contents)]:
                raise StoreError(
                    f"{damage}, and {other[0]} knows other recordings than there are now. Restore what was "
                    "replaced, or use another --run name"
                )
            self.mended += [f"{damage}: written anew"] * bool(known)
        kept = contents if before is None else before
        self._keep(name, self.storage.write_parquet(name, pd.DataFrame(kept.items(), columns=CONTENTS)))
        self.run["contents"] = _of_contents(kept)
        self._write_run()
        if before is not None or known or not self.experiments():
            return ""
        return f"Run {self.name} is from before recordings were compared: from now on they are"

    def contents(self) -> dict[str, str] | None:
        """Hash of each recording by clip, as the first launch found them; None in old runs."""
        if not self.storage.exists("contents.parquet"):
            return None
        frame = self.storage.read_parquet("contents.parquet", self.run.get("files", {}).get("contents.parquet"))
        return dict(zip(frame["clip"], frame["content"], strict=True))

    def set_quarantine(self, quarantined: pd.DataFrame) -> None:
        """Record which clips are unusable (columns clip, reason); they take no part in this run.

        Raises
        ------
        StoreError
            Another set of clips was unusable at an earlier launch: its predictions would not fit.
        """
        name, now = "quarantine.csv", quarantined[["clip", "reason"]].sort_values("clip", ignore_index=True)
        kept = self.run.get("files", {}).get(name)
        try:
            old = self.quarantine()
        except (DamagedError, FileNotFoundError) as error:
            old = None
            if kept:  # which clips are usable is part of the contents, and those were compared
                self.mended.append(f"{str(error).removesuffix(' does not exist')}: written anew")
        if old is not None:
            before, after = set(old["clip"]), set(now["clip"])
            if before != after:
                mended, broken = sorted(before - after), sorted(after - before)
                words = [f"usable now: {', '.join(mended[:5])}"] * bool(mended)
                words += [f"unusable now: {', '.join(broken[:5])}"] * bool(broken)
                raise StoreError(
                    f"run {self.name!r} was made with other usable clips ({'; '.join(words)}). "
                    "Restore the files or use another --run name"
                )
            if kept:
                return
        self._keep(name, self.storage.write_csv(name, now))
        self._write_run()

    def quarantine(self) -> pd.DataFrame:
        """The unusable clips (clip, reason); predictions leave them out."""
        return self.storage.read_csv("quarantine.csv", self.run.get("files", {}).get("quarantine.csv"))

    def take_mended(self) -> list[str]:
        """What was made again since this was asked last, in words."""
        words, self.mended = self.mended, []
        return words

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.run["classes"])

    @property
    def n_folds(self) -> int:
        return int(self.run["n_folds"])

    def clips(self) -> pd.DataFrame:
        """The table of clips (clip, fname, labels, subset, fold, group, duration, rate)."""
        return self.storage.read_parquet("clips.parquet", self.run.get("files", {}).get("clips.parquet"))

    def add(self, experiment: Experiment) -> None:
        """Record an experiment; a second time changes nothing but what is damaged."""
        folder = f"experiments/{experiment.id}"
        name, begun = f"{folder}/experiment.json", self.storage.exists(folder)
        fields = experiment.model_dump(mode="json")
        self.mended += plugins.keep(self.storage, fields)
        self.mended += keep_files(self.storage, experiment, self.kept)
        if self.storage.exists(name):
            try:
                self.storage.read_json(name)
                return
            except DamagedError as error:
                self.mended.append(f"{error}: written anew")
        elif begun:
            self.mended.append(f"{self.storage.where(name)} is gone: written anew")
        self.storage.write_json(name, fields)

    def experiments(self) -> list[str]:
        """Identities of all experiments, sorted."""
        return self.storage.folders("experiments")

    def experiment(self, experiment_id: str) -> Experiment:
        """An experiment with the text of its corrections, where the run still has it.

        The plugins that it names are loaded from the run where they are trusted (`raytag.plugins.load_named`).
        """
        fields = self.storage.read_json(f"experiments/{experiment_id}/experiment.json")
        plugins.load_named(self.storage, fields)
        return with_texts(self.storage, Experiment.model_validate(fields))

    def fold(self, experiment_id: str, fold: int) -> FoldStore:
        return self.model(experiment_id, f"fold_{fold}")

    def model(self, experiment_id: str, folder: str) -> FoldStore:
        """Any model of an experiment by its folder: also those that leave out further folds."""
        return FoldStore(self.storage.sub(f"experiments/{experiment_id}/{folder}"), self.data, self.storage)

    def lineage(self, experiment_id: str) -> dict[str, Any]:
        """What the result of a fold says of an experiment's stage, at least ``stage`` and ``leaky``.

        Where no fold is finished, its parents tell, as they stand in ``experiment.json``.
        """
        results = (self.fold(experiment_id, k).look()[0] for k in range(self.n_folds))
        if (result := next((result for result in results if result is not None), None)) is not None:
            return lineage_in(result)
        try:
            return _lineage_of(self.storage.read_json(f"experiments/{experiment_id}/experiment.json"))
        except (DamagedError, FileNotFoundError):
            return lineage_in({})

    def finished_folds(self, experiment_id: str) -> list[int]:
        return [k for k in range(self.n_folds) if self.fold(experiment_id, k).finished]

    def incomplete(self) -> dict[str, list[int]]:
        """The folds that are not finished, of each experiment that has such."""
        folds = {e: set(range(self.n_folds)) - set(self.finished_folds(e)) for e in self.experiments()}
        return {e: sorted(missing) for e, missing in folds.items() if missing}

    def complete(self) -> list[str]:
        """Experiments of which every fold is finished, sorted."""
        return [e for e in self.experiments() if len(self.finished_folds(e)) == self.n_folds]


def lineage_in(result: Mapping[str, Any]) -> dict[str, Any]:
    """What the result of a fold says of its stage; folds of before there were stages are of the first."""
    return {"stage": 1, "leaky": False, **result.get("lineage", {})}


def _lineage_of(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Stage and leakiness of an experiment by its JSON values, for which no plugin has to be imported."""
    parts = [part for part in (fields.get("init"), fields.get("pseudo")) if isinstance(part, dict)]
    parents = [_lineage_of(part["parent"]) for part in parts if "parent" in part]
    leaky = any(part.get("reader") in LEAKY for part in parts) or any(parent["leaky"] for parent in parents)
    return {"stage": 1 + max((parent["stage"] for parent in parents), default=0), "leaky": leaky}


def _of_contents(contents: Mapping[str, str]) -> str:
    return digest("".join(f"{clip}\0{content}\n" for clip, content in sorted(contents.items())).encode())


def locate(run: str | None, runs_dir: str) -> tuple[str, str]:
    """(runs_dir, name) of a run: by its name, else by the path or URI of its folder; None is the newest."""
    if run is None:
        storage, names = Storage(runs_dir), list_runs(runs_dir)
        if not names:
            raise StoreError(f"there is no run in {storage.where()}; start one with python launch.py")
        return runs_dir, max(names, key=lambda n: storage.modified(f"{n}/run.json"))
    if "://" in run:
        base, mark, query = run.partition("?")
        parent, _, name = base.rstrip("/").rpartition("/")
        return parent + mark + query, name
    named = Storage(runs_dir).exists(f"{run}/run.json")
    if not named and (os.sep in run or os.path.isfile(f"{run}/run.json")):
        parent, name = os.path.split(os.path.abspath(run))
        return parent, name
    return runs_dir, run


def list_runs(runs_dir: str) -> list[str]:
    storage = Storage(runs_dir)
    return [name for name in storage.folders() if storage.exists(f"{name}/run.json")]
