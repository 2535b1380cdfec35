"""Read all that a run holds, and say what does not hold what was written."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from raytag import plugins
from raytag.errors import DamagedError
from raytag.store.events import read_log
from raytag.store.files import Storage
from raytag.store.fold import PREDICTIONS, RESULT, WINDOWS, WINDOWS_KEPT, FoldStore, load_tensors, result_files
from raytag.store.kept.trained import clips_of
from raytag.store.run import REPORT

ANEW = "the next launch writes it anew"
AGAIN = "the next launch trains the fold again"
AFTER = "raytag verify --take-back, then a launch, trains the fold again"
BACK = "the fold continues from its other checkpoint, or from its start"
UNRATED = "raytag labels asks no model that was trained on it, until a launch trains one anew"
TILED = "raytag windows makes it again"
LEFT_OUT = "left out: what it told is found in the store, or decided again"
SEARCH = "ensemble_search.py with its --name searches it again"


@dataclass(frozen=True)
class Damage:
    """A file that is not what was written.

    Attributes
    ----------
    reason : str
        Names the file.
    outcome : str
        What becomes of it.
    fold : FoldStore or None
        The fold that is to be taken back, where no launch would notice by itself.
    """

    reason: str
    outcome: str
    fold: FoldStore | None = None


class Verifier:
    """Reads a run; counts what it read.

    Attributes
    ----------
    files, bytes : int
        That were read and compared.
    unknown : int
        Files of before there were digests: they can be read, and that is all that is known.
    """

    def __init__(self, storage: Storage, advance: Callable[[float], None] = lambda _: None) -> None:
        self.storage, self.advance = storage, advance
        self.files = self.bytes = self.unknown = 0
        self._trained: set[str] = set()  # sets of clips, which many folds may name

    def damage(self) -> Iterator[Damage]:
        """What is not whole, in the order of the folders."""
        run: dict[str, Any] = {}
        try:
            run = self._json("run.json")
        except (DamagedError, FileNotFoundError) as error:
            yield Damage(str(error), ANEW)
        for name, kept in run.get("files", {}).items():
            yield from self._file(name, kept, ANEW)
        for words in read_log(self.storage)[1]:
            yield Damage(words, LEFT_OUT)
        data = {"fingerprint": run.get("fingerprint"), "contents": run.get("contents")}
        used: set[str] = set()  # hashes of plugins, which many experiments may use
        for experiment in self.storage.folders("experiments"):
            folder = f"experiments/{experiment}"
            fields: dict[str, Any] = {}
            try:
                fields = self._json(f"{folder}/experiment.json")
            except (DamagedError, FileNotFoundError) as error:
                yield Damage(str(error), ANEW)
            used |= plugins.hashes_in(fields)
            for field, own in fields.get("sampling", {}).items():
                if isinstance(own, dict):  # corrections
                    yield from self._outside(f"{folder}/{field}.json", own["sha256"])
            if weights := fields.get("init", {}).get("file"):
                yield from self._outside(f"files/{weights['sha256']}", weights["sha256"])
            for fold in self.storage.folders(folder):
                yield from self._fold(FoldStore(self.storage.sub(f"{folder}/{fold}"), data), f"{folder}/{fold}")
            self.advance(1)
        for clips in sorted(self._trained):
            try:
                clips_of(self.storage, clips)
                self.files += 1
            except DamagedError as error:
                yield Damage(str(error), UNRATED)
        yield from (Damage(words, ANEW) for words in plugins.damaged(self.storage, used))
        for name in self.storage.folders("ensembles"):
            yield from self._ensemble(f"ensembles/{name}")
            self.advance(1)

    def _json(self, name: str) -> dict[str, Any]:
        value: dict[str, Any] = self.storage.read_json(name)
        self.files += 1
        return value

    def _file(
        self, name: str, kept: dict[str, Any], outcome: str, fold: FoldStore | None = None
    ) -> Iterator[Damage]:
        try:
            data = self.storage.read(name, kept)
        except (DamagedError, FileNotFoundError) as error:
            yield Damage(str(error).replace("does not exist", "is gone"), outcome, fold)
            return
        self.files, self.bytes, self.unknown = self.files + 1, self.bytes + len(data), self.unknown + (not kept)

    def _outside(self, name: str, sha256: str) -> Iterator[Damage]:
        try:
            if hashlib.sha256(self.storage.read(name)).hexdigest() != sha256:
                yield Damage(f"{self.storage.where(name)} is damaged: it does not hold what was written", ANEW)
            self.files += 1
        except FileNotFoundError as error:
            yield Damage(str(error).replace("does not exist", "is gone"), ANEW)

    def _fold(self, fold: FoldStore, folder: str) -> Iterator[Damage]:
        result, damage = fold.look()
        if damage:
            yield Damage(damage, AGAIN)
        elif result is not None:
            self.files += 1
            self._trained |= {result["trained"]} if result.get("trained") else set()
            for name, kept in result_files(result).items():
                if name not in fold.pruned():
                    noticed = name in PREDICTIONS  # by a launch
                    outcome, back = (AGAIN, None) if noticed else (AFTER, fold)
                    yield from self._file(f"{folder}/{name}", kept, outcome, back)
        if fold.storage.exists(WINDOWS_KEPT):
            try:
                kept = self._json(f"{folder}/{WINDOWS_KEPT}")
                yield from self._file(f"{folder}/{WINDOWS}", kept["files"][WINDOWS], TILED)
            except DamagedError as error:
                yield Damage(str(error), TILED)
        for _, state, why in fold.checkpoints():
            if state is None:
                yield Damage(why, BACK)
                continue
            try:
                tensors = state["tensors"]
                load_tensors(fold.storage.read(tensors, state.get("file")), fold.storage.where(tensors))
                self.files += 2
            except (DamagedError, FileNotFoundError) as error:
                yield Damage(str(error), BACK)

    def _ensemble(self, folder: str) -> Iterator[Damage]:
        if not self.storage.exists(f"{folder}/{REPORT}"):
            if self.storage.exists(f"{folder}/oof.parquet"):
                yield Damage(
                    f"{self.storage.where(folder)} holds no {REPORT}: it is lost, or not yet written", SEARCH
                )
            return
        try:
            report = self._json(f"{folder}/{REPORT}")
        except DamagedError as error:
            yield Damage(str(error), SEARCH)
            return
        for name, kept in report.get("files", {}).items():
            yield from self._file(f"{folder}/{name}", kept, SEARCH)
        for stacker in self.storage.folders(f"{folder}/stackers"):
            for fold in self.storage.folders(f"{folder}/stackers/{stacker}"):
                path = f"{folder}/stackers/{stacker}/{fold}"
                if not self.storage.exists(f"{path}/{RESULT}"):
                    yield Damage(f"{self.storage.where(path)} holds no {RESULT}", SEARCH)
                for found in self._fold(FoldStore(self.storage.sub(path)), path):
                    yield Damage(found.reason, SEARCH)
