"""The run store: what a run keeps, who may write it, and when a fold is finished.

    runs/RUN/run.json                               dataset fingerprint, classes, folds
    runs/RUN/clips.parquet                          the table of clips with their folds
    runs/RUN/contents.parquet                       a hash of each recording (clip, content)
    runs/RUN/quarantine.csv                         unusable clips and why; no prediction has them
    runs/RUN/public.csv                             what leaderboards said (``raytag.store.public``)
    runs/RUN/events/NNN.jsonl                       decisions of each launch (``raytag.store.events``)
    runs/RUN/experiments/NAME-HASH8/experiment.json
    runs/RUN/experiments/NAME-HASH8/fold_K/         checkpoint.safetensors + checkpoint.json, curve.csv, and at
                                                    the end weights.safetensors, oof.parquet, test.parquet
                                                    and, written last, result.json; pruned.json names what
                                                    ``raytag prune`` freed
    runs/RUN/ensembles/NAME/                        what ``ensemble_search.py`` wrote

A fold is finished exactly when its ``result.json`` exists; from then on it is never written again. An
experiment is complete when all folds of ``run.json`` are finished.
"""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from raytag import __version__
from raytag.datasets.table import ClipTable
from raytag.experiment import Experiment
from raytag.store.files import Storage

if TYPE_CHECKING:
    import torch

FORMAT = 1
REPORT = "ensemble.json"  # of an ensemble, written last: it is there exactly when this is
PRUNED = "pruned.json"
CONTENTS = ["clip", "content"]  # columns of contents.parquet
CURVE_COLUMNS = ["epoch", "lr", "train_loss", "lwlrap", "seconds"]


class StoreError(ValueError):
    """The run store does not fit what is asked of it; the message says what differs and what to do."""


class FoldStore:
    """One fold of one experiment."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    @property
    def finished(self) -> bool:
        return self.storage.exists("result.json")

    def result(self) -> dict[str, Any]:
        """``result.json``: lwlrap, tied_pairs, epochs, kept_epoch, steps, seconds and more."""
        result: dict[str, Any] = self.storage.read_json("result.json")
        return result

    def curve(self) -> pd.DataFrame:
        """One row an epoch, columns ``CURVE_COLUMNS``; empty before the first."""
        if not self.storage.exists("curve.csv"):
            return pd.DataFrame(columns=CURVE_COLUMNS)
        return self.storage.read_csv("curve.csv")

    def checkpoint(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
        """Tensors and state of the newest checkpoint that is whole, or None.

        The JSON names the tensor file that belongs to it, so a kill between the two writes leaves the
        older pair in force.
        """
        if not self.storage.exists("checkpoint.json"):
            return None
        state = self.storage.read_json("checkpoint.json")
        return _load_tensors(self.storage.read(state["tensors"])), state["state"]

    def write_checkpoint(
        self, tensors: Mapping[str, torch.Tensor], state: Mapping[str, Any], curve: pd.DataFrame
    ) -> None:
        """Replace the checkpoint and the curve up to it."""
        previous = self.storage.read_json("checkpoint.json") if self.storage.exists("checkpoint.json") else None
        current = "checkpoint.safetensors"
        if previous is not None and previous["tensors"] == current:
            current = "checkpoint-b.safetensors"
        self.storage.write(current, _save_tensors(tensors))
        self.storage.write_csv("curve.csv", curve)
        self.storage.write_json("checkpoint.json", {"tensors": current, "state": dict(state)})

    def finish(
        self,
        *,
        weights: Mapping[str, torch.Tensor],
        oof: pd.DataFrame,
        test: pd.DataFrame | None,
        curve: pd.DataFrame | None,
        result: Mapping[str, Any],
        keep_checkpoint: bool = False,
    ) -> None:
        """Write everything that a finished fold holds, ``result.json`` last, and drop the checkpoints.

        With ``keep_checkpoint`` the last one stays: a longer training may go on from it. Second-level models have
        no curve.
        """
        if self.finished:
            return
        self.storage.delete(PRUNED)
        self.storage.write("weights.safetensors", _save_tensors(weights))
        self.storage.write_parquet("oof.parquet", oof)
        if test is not None:
            self.storage.write_parquet("test.parquet", test)
        if curve is not None:
            self.storage.write_csv("curve.csv", curve)
        self.storage.write_json("result.json", dict(result))
        kept = ["checkpoint.json", self.storage.read_json("checkpoint.json")["tensors"]] if keep_checkpoint else []
        for name in ("checkpoint.json", "checkpoint.safetensors", "checkpoint-b.safetensors"):
            if name not in kept:
                self.storage.delete(name)

    def pruned(self) -> list[str]:
        """Files that ``raytag prune`` freed: they belong to the fold and need not be there."""
        return list(self.storage.read_json(PRUNED)["files"]) if self.storage.exists(PRUNED) else []

    def weights(self) -> dict[str, torch.Tensor]:
        """The kept epoch's; a `StoreError` where they were pruned."""
        if "weights.safetensors" in self.pruned():
            raise StoreError(
                f"{self.storage.where('weights.safetensors')} was freed by raytag prune: its predictions are kept, "
                "its weights come back only when the fold's folder is deleted and the launch repeated"
            )
        return _load_tensors(self.storage.read("weights.safetensors"))

    def oof(self) -> pd.DataFrame:
        """Out-of-fold predictions: fname, then one float32 probability a class in class order."""
        return self.storage.read_parquet("oof.parquet")

    def test(self) -> pd.DataFrame | None:
        """Predictions of this fold's model for the test clips, or None when the data have none."""
        return self.storage.read_parquet("test.parquet") if self.storage.exists("test.parquet") else None


class RunStore:
    """One run: a folder under ``runs_dir``."""

    def __init__(self, runs_dir: str, name: str) -> None:
        self.runs_dir = runs_dir
        self.name = name
        self.storage = Storage(runs_dir).sub(name)
        try:
            self.run: dict[str, Any] = self.storage.read_json("run.json")
        except FileNotFoundError:
            known = list_runs(runs_dir)
            raise StoreError(
                f"no run {name!r} in {Storage(runs_dir).where()}; "
                + (f"there are: {', '.join(known)}" if known else "start one with python launch.py")
            ) from None
        if self.run.get("format") != FORMAT:
            raise StoreError(
                f"{self.storage.where('run.json')} has format {self.run.get('format')}, this raytag reads {FORMAT}"
            )

    @classmethod
    def newest(cls, runs_dir: str) -> RunStore:
        """The run that was launched last."""
        return cls.find(None, runs_dir)

    @classmethod
    def find(cls, run: str | None, runs_dir: str) -> RunStore:
        """A run as `locate` finds it."""
        return cls(*locate(run, runs_dir))

    @classmethod
    def open_for(cls, runs_dir: str, name: str, table: ClipTable, data: str) -> RunStore:
        """The run of that name if ``table`` fits it, else a new one.

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
        }
        if storage.exists("run.json"):
            store = cls(runs_dir, name)
            if store.run["fingerprint"] != run["fingerprint"]:
                raise StoreError(
                    f"run {name!r} was made on other data ({store.run['data']}): "
                    f"{difference(store.run, store.clips(), run, table.clips)}. Use another --run name"
                )
            storage.write_json("run.json", store.run)  # renews its time: this is now the newest run
            return store
        storage.write_parquet("clips.parquet", table.clips.drop(columns="path"))
        storage.write_json("run.json", run)
        return cls(runs_dir, name)

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
        before = self.contents()
        if before is None:
            self.storage.write_parquet("contents.parquet", pd.DataFrame(contents.items(), columns=CONTENTS))
            if not self.experiments():
                return ""
            return f"Run {self.name} is from before recordings were compared: from now on they are"
        if replaced := replaced_clips(before, contents):
            raise StoreError(
                f"run {self.name!r} was made with other recordings: {len(replaced)} were replaced "
                f"({', '.join(replaced[:3])}{', …' if len(replaced) > 3 else ''}). Restore them, or use another "
                "--run name"
            )
        return ""

    def contents(self) -> dict[str, str] | None:
        """Hash of each recording by clip, as the first launch found them; None in old runs."""
        if not self.storage.exists("contents.parquet"):
            return None
        frame = self.storage.read_parquet("contents.parquet")
        return dict(zip(frame["clip"], frame["content"], strict=True))

    def set_quarantine(self, quarantined: pd.DataFrame) -> None:
        """Record which clips are unusable (columns clip, reason); they take no part in this run.

        Raises
        ------
        StoreError
            Another set of clips was unusable at an earlier launch: its predictions would not fit.
        """
        now = quarantined[["clip", "reason"]].sort_values("clip", ignore_index=True)
        if self.storage.exists("quarantine.csv"):
            before, after = set(self.quarantine()["clip"]), set(now["clip"])
            if before != after:
                mended, broken = sorted(before - after), sorted(after - before)
                words = [f"usable now: {', '.join(mended[:5])}"] * bool(mended)
                words += [f"unusable now: {', '.join(broken[:5])}"] * bool(broken)
                raise StoreError(
                    f"run {self.name!r} was made with other usable clips ({'; '.join(words)}). "
                    "Restore the files or use another --run name"
                )
            return
        self.storage.write_csv("quarantine.csv", now)

    def quarantine(self) -> pd.DataFrame:
        """The unusable clips (clip, reason); predictions leave them out."""
        return self.storage.read_csv("quarantine.csv")

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.run["classes"])

    @property
    def n_folds(self) -> int:
        return int(self.run["n_folds"])

    def clips(self) -> pd.DataFrame:
        """The table of clips (clip, fname, labels, subset, fold, group, duration, rate)."""
        return self.storage.read_parquet("clips.parquet")

    def add(self, experiment: Experiment) -> None:
        """Record an experiment; a second time changes nothing."""
        name = f"experiments/{experiment.id}/experiment.json"
        if not self.storage.exists(name):
            self.storage.write(name, (experiment.to_json() + "\n").encode())

    def experiments(self) -> list[str]:
        """Identities of all experiments, sorted."""
        return self.storage.folders("experiments")

    def experiment(self, experiment_id: str) -> Experiment:
        return Experiment.from_json(self.storage.read(f"experiments/{experiment_id}/experiment.json"))

    def fold(self, experiment_id: str, fold: int) -> FoldStore:
        return FoldStore(self.storage.sub(f"experiments/{experiment_id}/fold_{fold}"))

    def finished_folds(self, experiment_id: str) -> list[int]:
        return [k for k in range(self.n_folds) if self.fold(experiment_id, k).finished]

    def complete(self) -> list[str]:
        """Experiments of which every fold is finished, sorted."""
        return [e for e in self.experiments() if len(self.finished_folds(e)) == self.n_folds]


# Only tensors need torch, so it is imported here: a run's tables are read without it.
def _load_tensors(data: bytes) -> dict[str, torch.Tensor]:
    from safetensors.torch import load

    tensors: dict[str, torch.Tensor] = load(data)
    return tensors


def _save_tensors(tensors: Mapping[str, torch.Tensor]) -> bytes:
    from safetensors.torch import save

    data: bytes = save({k: v.contiguous() for k, v in tensors.items()})
    return data


def replaced_clips(a: Mapping[str, str] | None, b: Mapping[str, str] | None) -> list[str]:
    """Clips whose recordings differ in two tables of contents; none where either is not known."""
    return sorted(clip for clip, content in (a or {}).items() if (b or {}).get(clip, content) != content)


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


def difference(
    old: Mapping[str, Any],
    old_clips: pd.DataFrame,
    new: Mapping[str, Any],
    new_clips: pd.DataFrame,
    there: str = "there",
    now: str = "now",
) -> str:
    """What distinguishes two tables of clips, in words.

    Parameters
    ----------
    old, new : mapping
        With ``classes`` and ``n_folds``, as in ``run.json``.
    old_clips, new_clips : pd.DataFrame
        See `RunStore.clips`.
    there, now : str
        What the two are called: ``"5 folds there, 4 now"``.
    """
    found = []
    if old["classes"] != new["classes"]:
        gone = sorted(set(old["classes"]) - set(new["classes"]))
        more = sorted(set(new["classes"]) - set(old["classes"]))
        changes = [f"without {', '.join(gone[:5])}" if gone else "", f"with {', '.join(more[:5])}" if more else ""]
        found.append(f"the classes differ: {now} " + (" and ".join(c for c in changes if c) or "in another order"))
    if old["n_folds"] != new["n_folds"]:
        found.append(f"{old['n_folds']} folds {there}, {new['n_folds']} {now}")
    a, b = old_clips.set_index("clip"), new_clips.set_index("clip")
    lost, added = a.index.difference(b.index), b.index.difference(a.index)
    if len(lost):
        found.append(f"{len(lost)} clips are missing {now} (first {lost[0]})")
    if len(added):
        only = "new" if now == "now" else f"only {now}"
        found.append(f"{len(added)} clips are {only} (first {added[0]})")
    both = a.index.intersection(b.index)
    for column in ("labels", "fold", "group", "subset"):
        changed = both[(a.loc[both, column] != b.loc[both, column]).to_numpy()]
        if len(changed):
            clip = changed[0]
            found.append(
                f"{column} of {len(changed)} clips differs (first {clip}: "
                f"{json.dumps(str(a.loc[clip, column]))} {there}, {json.dumps(str(b.loc[clip, column]))} {now})"
            )
    return "; ".join(found) or "their order differs"
