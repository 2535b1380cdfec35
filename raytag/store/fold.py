"""One fold of one experiment, from its first checkpoint to its result.

    fold_K/  checkpoint-0.safetensors + checkpoint-0.json, the same with 1: the last two states of its training
             curve.csv       a row an epoch
             weights.safetensors, oof.parquet, test.parquet
             pseudo.parquet + pseudo.json   what it read of an earlier stage, where it did
             result.json     written last: scores, the data and the set of clips (``raytag.store.kept.trained``)
                             that it was trained on, and size and digest of each file
             pruned.json     names what ``raytag prune`` freed
             windows.parquet + windows.json   its tiles out-of-fold, where ``raytag windows`` was called
             damaged-N/      what was finished once and found damaged

A fold is finished when it is whole: ``result.json`` holds what was written, and the files that it lists are there
with their sizes. Then it is never written again. Files are compared with their digests whenever they are read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pandas as pd

from raytag.errors import DamagedError
from raytag.store.files import Storage
from raytag.store.kept.trained import clips_of, keep_clips

if TYPE_CHECKING:
    import torch

RESULT = "result.json"
WEIGHTS = "weights.safetensors"
PRUNED = "pruned.json"
PREDICTIONS = ("oof.parquet", "test.parquet")
#: What it says of each tile of its out-of-fold clips, where that was asked for.
WINDOWS = "windows.parquet"
#: What a fold read of its parent: it goes on with the same predictions, wherever it goes on.
PSEUDO = "pseudo.parquet"
_PSEUDO_READ = "pseudo.json"
#: What ``raytag windows`` adds to a finished fold: the table, and what is kept of it.
WINDOWS, WINDOWS_KEPT = "windows.parquet", "windows.json"
CURVE_COLUMNS = ["epoch", "lr", "train_loss", "lwlrap", "seconds"]
#: Pairs of tensors and state, written in turn. The last is that of before there were two states.
CHECKPOINTS = ("checkpoint-0", "checkpoint-1", "checkpoint")


class FoldStore:
    """The files of a fold.

    Parameters
    ----------
    storage : Storage
        Of its folder.
    data : mapping, optional
        What tells the data of its run from others (`raytag.store.run.RunStore.data`); None where that does not
        matter.
    run : Storage, optional
        Of its run, which keeps the clips that it was trained on; without a run nothing does.
    """

    def __init__(
        self, storage: Storage, data: Mapping[str, str | None] | None = None, run: Storage | None = None
    ) -> None:
        self.storage, self.data, self._run = storage, data, run

    @property
    def finished(self) -> bool:
        """Whether the fold is there as a whole; sizes are looked at, contents when they are read."""
        return self.look()[0] is not None

    def look(self, read: Collection[str] = ()) -> tuple[dict[str, Any] | None, str]:
        """The result of a fold that is finished, else None; and of one that is not whole, what is wrong with it.

        Parameters
        ----------
        read : collection of str
            Files whose content is compared too.
        """
        sizes = self.storage.sizes()
        if RESULT not in sizes:
            return None, ""
        try:
            result = self.result()
            _check_data(self.data, result.get("data"), self.storage.where())
            for name, kept in result_files(result).items():
                if name not in sizes and PRUNED in sizes and name in self.pruned():
                    continue
                if name not in sizes:
                    raise DamagedError(f"{self.storage.where(name)} is gone")
                if kept and kept["bytes"] != sizes[name]:
                    words = f"has {sizes[name]} bytes instead of {kept['bytes']}"
                    raise DamagedError(f"{self.storage.where(name)} is damaged: it {words}")
                if name in read:
                    self.storage.read(name, kept)
        except DamagedError as error:
            return None, str(error)
        return result, ""

    def result(self) -> dict[str, Any]:
        """``result.json``: lwlrap, tied_pairs, epochs, kept_epoch, steps, seconds, files and more."""
        result: dict[str, Any] = self.storage.read_json(RESULT)
        return result

    def set_aside(self) -> None:
        """Take the fold back: what was finished goes to a folder of its own, its result first."""
        number = len([n for n in self.storage.folders() if n.startswith("damaged-")])
        names = self.storage.files()
        for name in sorted(names, key=lambda n: n != RESULT):
            if not name.startswith("checkpoint"):
                self.storage.move(name, f"damaged-{number}/{name}")

    def curve(self) -> pd.DataFrame:
        """One row an epoch, columns ``CURVE_COLUMNS``; empty before the first.

        That of an unfinished fold is for looking at alone: the checkpoint has its own, and it is written anew after
        each epoch. So what cannot be read of it is no error, but empty too.
        """
        if (result := self.look()[0]) and (kept := result_files(result).get("curve.csv")):
            return self.storage.read_csv("curve.csv", kept)
        try:
            found = self.storage.read_csv("curve.csv")
        except (FileNotFoundError, DamagedError):
            found = pd.DataFrame()
        return found if list(found) == CURVE_COLUMNS else pd.DataFrame(columns=CURVE_COLUMNS)

    # -- checkpoints ----------------------------------------------------------------------------------

    def checkpoints(self) -> Iterator[tuple[str, dict[str, Any] | None, str]]:
        """Each checkpoint: its name, its JSON, and "" or why it is not whole; the newest first, damaged last."""
        found: list[tuple[str, dict[str, Any] | None, str]] = []
        for name in CHECKPOINTS:
            if not self.storage.exists(f"{name}.json"):
                continue
            try:
                kept = self.storage.read_json(f"{name}.json")
                _check_data(self.data, kept.get("data"), self.storage.where(f"{name}.json"))
                found.append((name, kept, ""))
            except DamagedError as error:
                found.append((name, None, str(error)))
        yield from sorted(found, key=lambda c: _progress(c[1]), reverse=True)

    def checkpoint(self) -> tuple[dict[str, torch.Tensor], dict[str, Any], list[str]] | None:
        """Tensors and state of the newest checkpoint that is whole, and what is wrong with others.

        None when there is none; where all are damaged tensors and state are empty.
        """
        found = list(self.checkpoints())
        wrong = [why for _, kept, why in found if kept is None]
        for _, kept, _ in found:
            if kept is None:
                continue
            try:
                data = self.storage.read(kept["tensors"], kept.get("file"))
                return load_tensors(data, self.storage.where(kept["tensors"])), kept["state"], wrong
            except (DamagedError, FileNotFoundError) as error:
                wrong.append(str(error))
        return ({}, {}, wrong) if wrong else None

    def write_checkpoint(
        self, tensors: Mapping[str, torch.Tensor], state: Mapping[str, Any], curve: pd.DataFrame
    ) -> None:
        """Put a state beside the last one, and the curve up to it."""
        last = next((name for name, kept, _ in self.checkpoints() if kept is not None), "")
        name = CHECKPOINTS[1] if last == CHECKPOINTS[0] else CHECKPOINTS[0]
        file = self.storage.write(f"{name}.safetensors", save_tensors(tensors))
        self.storage.write_csv("curve.csv", curve)
        kept = {"tensors": f"{name}.safetensors", "file": file, "data": self.data, "state": dict(state)}
        self.storage.write_json(f"{name}.json", kept)

    # -- what was read of earlier stages --------------------------------------------------------------

    def keep_pseudo(self, frame: pd.DataFrame, read: Mapping[str, str]) -> None:
        """Write predictions that were read, and the digests of the weights that they were computed with."""
        kept = {"files": {PSEUDO: self.storage.write_parquet(PSEUDO, frame)}, "read": dict(read), "data": self.data}
        self.storage.write_json(_PSEUDO_READ, kept)

    def pseudo(self) -> tuple[pd.DataFrame, dict[str, str]]:
        """What `keep_pseudo` wrote; a `DamagedError` or ``FileNotFoundError`` where it is not there as it was."""
        kept = self.storage.read_json(_PSEUDO_READ)
        _check_data(self.data, kept.get("data"), self.storage.where(_PSEUDO_READ))
        return self.storage.read_parquet(PSEUDO, kept["files"][PSEUDO]), kept["read"]

    # -- out-of-fold probabilities of tiles -----------------------------------------------------------

    def keep_windows(self, frame: pd.DataFrame) -> None:
        """Write the tiles of the out-of-fold clips: fname, start_s, end_s, then a float32 column a class."""
        self.storage.delete(WINDOWS_KEPT)
        kept = {"files": {WINDOWS: self.storage.write_parquet(WINDOWS, frame)}, "data": self.data}
        self.storage.write_json(WINDOWS_KEPT, kept)

    def windows(self) -> pd.DataFrame | None:
        """What `keep_windows` wrote, a row a tile: the clips in the order of `oof`, each one's tiles left to right.

        ``start_s`` and ``end_s`` are float64 seconds from where the clip's features begin (silent ends are cut);
        padded tiles begin before, or end behind the clip. None where ``raytag windows`` was not called, or
        ``raytag prune`` freed them.

        Raises
        ------
        DamagedError
            They are not as they were written.
        """
        try:
            kept = self.storage.read_json(WINDOWS_KEPT)
        except FileNotFoundError:
            return None
        _check_data(self.data, kept.get("data"), self.storage.where(WINDOWS_KEPT))
        try:
            return self.storage.read_parquet(WINDOWS, kept["files"][WINDOWS])
        except FileNotFoundError:
            raise DamagedError(f"{self.storage.where(WINDOWS)} is gone; raytag windows makes it again") from None

    # -- what is finished -----------------------------------------------------------------------------

    def finish(
        self,
        *,
        weights: Mapping[str, torch.Tensor],
        oof: pd.DataFrame,
        test: pd.DataFrame | None,
        curve: pd.DataFrame | None,
        result: Mapping[str, Any],
        trained: Collection[str] | None = None,
        keep_checkpoint: bool = False,
    ) -> None:
        """Write everything that a finished fold holds, ``result.json`` last, and drop the checkpoints.

        ``trained`` are the ids of the clips that were trained on, unless ``result`` names them. With
        ``keep_checkpoint`` the last one stays: a longer training may go on from it. Second-level models have no
        curve.
        """
        if self.finished:
            return
        for old in (PRUNED, WINDOWS_KEPT, WINDOWS):
            self.storage.delete(old)
        files = {
            WEIGHTS: self.storage.write(WEIGHTS, save_tensors(weights)),
            "oof.parquet": self.storage.write_parquet("oof.parquet", oof),
        }
        if test is not None:
            files["test.parquet"] = self.storage.write_parquet("test.parquet", test)
        if curve is not None:
            files["curve.csv"] = self.storage.write_csv("curve.csv", curve)
        with suppress(FileNotFoundError, DamagedError):
            files |= self.storage.read_json(_PSEUDO_READ)["files"]
        if trained is not None and self._run is not None:
            result = {**result, "trained": keep_clips(self._run, trained)}
        self.storage.write_json(RESULT, {**result, "data": self.data, "files": files})
        whole = [(f"{name}.json", kept["tensors"]) for name, kept, _ in self.checkpoints() if kept is not None]
        spared = whole[0] if keep_checkpoint and whole else ()
        for name in self.storage.files():
            if name.startswith("checkpoint") and name not in spared:
                self.storage.delete(name)

    def pruned(self) -> list[str]:
        """Files that ``raytag prune`` freed: they belong to the fold and need not be there."""
        try:
            return list(self.storage.read_json(PRUNED)["files"])
        except FileNotFoundError:
            return []
        except DamagedError:
            return [WEIGHTS]  # of what belongs to a finished fold it frees nothing else

    def weights(self) -> dict[str, torch.Tensor]:
        """The kept epoch's; a `DamagedError` also where they were pruned."""
        if WEIGHTS in self.pruned() and not self.storage.exists(WEIGHTS):
            raise DamagedError(
                f"{self.storage.where(WEIGHTS)} was freed by raytag prune: its predictions are kept, its weights "
                "come back only when the fold's folder is deleted and the launch repeated"
            )
        kept = result_files(self.result())[WEIGHTS]
        return load_tensors(self.storage.read(WEIGHTS, kept), self.storage.where(WEIGHTS))

    def digest_of_weights(self) -> str:
        """Of the kept epoch's; "" in folds of before there were digests."""
        return str(result_files(self.result())[WEIGHTS].get("digest", ""))

    def trained(self) -> frozenset[str]:
        """Ids of the clips that its model was trained on; what it read of earlier stages had clips of its own.

        Raises
        ------
        DamagedError
            They are lost or damaged, or the fold was finished before they were recorded.
        """
        name = self.result().get("trained")
        if name is None or self._run is None:
            raise DamagedError(
                f"{self.storage.where(RESULT)} is from before the clips that a model was trained on were recorded: "
                "delete the fold's folder and launch again to have it trained anew"
            )
        return clips_of(self._run, name)

    def oof(self) -> pd.DataFrame:
        """Out-of-fold predictions: fname, then one float32 probability a class in class order."""
        return self.storage.read_parquet("oof.parquet", result_files(self.result())["oof.parquet"])

    def test(self) -> pd.DataFrame | None:
        """Predictions of this fold's model for the test clips, or None when the data have none."""
        files = result_files(self.result())
        if "test.parquet" in files or self.storage.exists("test.parquet"):
            return self.storage.read_parquet("test.parquet", files.get("test.parquet"))
        return None


def result_files(result: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What is kept of each file of a finished fold: nothing in folds of before."""
    files: dict[str, dict[str, Any]] = result.get("files", {WEIGHTS: {}, "oof.parquet": {}})
    return files


def _check_data(run: Mapping[str, str | None] | None, own: Mapping[str, str | None] | None, where: str) -> None:
    """Compare what is known of both."""
    for name, value in (own or {}).items():
        known = (run or {}).get(name)
        if value is not None and known is not None and value != known:
            raise DamagedError(f"{where} belongs to other data: its {name} differ from the run's")


def _progress(kept: Mapping[str, Any] | None) -> tuple[int, int]:
    return (-1, -1) if kept is None else (kept["state"].get("epoch", 0), kept["state"].get("step", 0))


# Only tensors need torch, so it is imported here: a run's tables are read without it.
def load_tensors(data: bytes, where: str) -> dict[str, torch.Tensor]:
    """Of a safetensors file; a `DamagedError` where it is none."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        tensors: dict[str, torch.Tensor] = load(data)
    except SafetensorError as error:
        raise DamagedError(f"{where} is damaged: {error}") from None
    return tensors


def save_tensors(tensors: Mapping[str, torch.Tensor]) -> bytes:
    from safetensors.torch import save

    data: bytes = save({k: v.contiguous() for k, v in tensors.items()})
    return data
