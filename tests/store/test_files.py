"""Files of a store appear whole or not at all, also when the machine loses power."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from pathlib import Path

import pandas as pd
import pytest

from raytag.errors import DamagedError, NoRoomError
from raytag.store.files import Storage
from raytag.store.fold import FoldStore


def test_content_is_on_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    target, seen = tmp_path / "folder" / "file", []
    replace, fsync = os.replace, os.fsync

    def record_fsync(number):
        fsync(number)
        seen.append(("fsync", os.fstat(number).st_size, target.exists()))

    def record_replace(old, new):
        seen.append(("replace", Path(old).read_bytes(), Path(new)))
        replace(old, new)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(os, "replace", record_replace)
    Storage(tmp_path).write("folder/file", b"content")
    *content_then_name, (what, _, there) = seen
    assert content_then_name == [("fsync", 7, False), ("replace", b"content", target)]
    assert (what, there) == ("fsync", True)  # of the folder, without which power loss takes the name
    assert target.read_bytes() == b"content"


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    storage = Storage(tmp_path)
    storage.write("file", b"old")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda number: os.close(-1))  # as on a disk that fails
        with pytest.raises(OSError, match="Bad file descriptor"):
            storage.write("file", b"new and longer")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("file", b"old")]


@pytest.mark.parametrize("lost", ["weights.safetensors", "oof.parquet", "test.parquet", "curve.csv"])
def test_a_fold_is_not_finished_before_all_else_is_written(tmp_path, monkeypatch, lost):
    """Predictions too: argus-freesound's pipeline trains second-level models on files that no step of it has
    written."""
    import torch

    fold, write = FoldStore(Storage(tmp_path)), Storage.write

    def die(storage, name, data):
        if name == lost:
            raise KeyboardInterrupt
        return write(storage, name, data)

    monkeypatch.setattr(Storage, "write", die)
    frame = pd.DataFrame({"fname": ["a"], "x": [0.5]})
    with pytest.raises(KeyboardInterrupt):
        fold.finish(weights={"w": torch.ones(1)}, oof=frame, test=frame, curve=frame, result={"lwlrap": 0.5})
    assert not fold.finished


def failing(number, times):
    """An ``os.fsync`` of a disk that is full, or not to be written to, for so many times."""
    left, fsync = [times], os.fsync

    def fail(handle):
        left[0] -= 1
        if left[0] >= 0:
            raise OSError(number, os.strerror(number))
        fsync(handle)

    return fail


def test_a_full_disk_is_named_with_its_room(tmp_path, monkeypatch):
    storage = Storage(tmp_path / "runs")
    storage.write("file", b"old\n")
    monkeypatch.setattr(os, "fsync", failing(errno.ENOSPC, 2))
    words = rf"{tmp_path}/runs has no room \(No space left on device\): 3 bytes to write, [\d,]+ are free there"
    with pytest.raises(NoRoomError, match=words):
        storage.write("file", b"new")
    with pytest.raises(NoRoomError, match=words.replace("3 bytes", "5 bytes")):
        storage.append("file", "more")
    assert [(p.name, p.read_bytes()) for p in storage_files(tmp_path)] == [("file", b"old\n")]
    storage.append("file", "more")
    assert storage.read("file") == b"old\nmore\n"


def storage_files(tmp_path):
    return list((tmp_path / "runs").iterdir())


def test_a_read_only_disk_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", failing(errno.EROFS, 1))
    with pytest.raises(NoRoomError, match=r"runs cannot be written to \(Read-only file system\)"):
        Storage(tmp_path / "runs").write("file", b"new")


def test_who_is_patient_writes_when_there_is_room(tmp_path, monkeypatch):
    storage, waited = Storage(tmp_path), []
    storage.patience = waited.append
    monkeypatch.setattr(os, "fsync", failing(errno.ENOSPC, 3))
    storage.sub("runs").write("file", b"new")
    assert len(waited) == 3
    assert storage.read("runs/file") == b"new"
    monkeypatch.setattr(os, "fsync", failing(errno.EROFS, 1))
    with pytest.raises(NoRoomError):  # no waiting makes it writable
        storage.write("file", b"new")
    assert len(waited) == 3


def test_what_is_read_is_what_was_written_or_an_error(tmp_path):
    storage = Storage(tmp_path)
    kept = storage.write("file", b"content")
    assert storage.read("file", kept) == b"content"
    storage.write("file", b"contents")
    with pytest.raises(DamagedError, match="file is damaged: it does not hold what was written"):
        storage.read("file", kept)
    assert storage.read("file") == b"contents"


@pytest.mark.parametrize("value", [{}, {"a": 1.5, "b": [None, {"c": "ü"}]}, {1: 0.1, "nan": float("nan")}])
def test_json_files_hold_their_own_digest(tmp_path, value):
    storage = Storage(tmp_path)
    storage.write_json("file", value)
    whole = storage.read("file")
    again = storage.read_json("file")
    assert json.dumps(again) == json.dumps(value)
    storage.write("file", json.dumps(json.loads(whole), sort_keys=True).encode())  # another order, other blanks
    assert json.dumps(storage.read_json("file"), sort_keys=True) == json.dumps(again, sort_keys=True)
    believed = 0
    for position in range(len(whole)):
        storage.write("file", whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        with contextlib.suppress(DamagedError):
            found = storage.read_json("file")
            assert json.dumps({k: found[k] for k in again}) == json.dumps(again), position
            believed += 1
    assert believed <= whole.count(b" ") + len(b"digest")  # blanks, and the name of the digest
    storage.write("file", b'{"of": "before"}')
    assert storage.read_json("file") == {"of": "before"}
