"""Files of a store appear whole or not at all, also when the machine loses power."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest

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
