"""A fold is finished when it is whole, and what is damaged is never believed."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch

from raytag.errors import DamagedError
from raytag.store.files import Storage
from raytag.store.fold import CURVE_COLUMNS, PREDICTIONS, FoldStore

DATA = {"fingerprint": "f", "contents": "c"}
FILES = ("weights.safetensors", "oof.parquet", "test.parquet", "curve.csv", "result.json")


def finish(fold: FoldStore, value: float = 0.5, **changes) -> None:
    frame = pd.DataFrame({"fname": ["0.wav"], "a": np.float32([value]), "b": np.float32([0.9])})
    curve = pd.DataFrame([(1, 0.1, 0.5, value, 2.0)], columns=CURVE_COLUMNS)
    parts = {"weights": {"w": torch.full((2,), value)}, "oof": frame, "test": frame, "curve": curve}
    fold.finish(**parts, result={"lwlrap": value, "labels": 4}, **changes)


@pytest.fixture(params=["path", "uri"])
def fold(request, tmp_path):
    return FoldStore(
        Storage(str(tmp_path / "fold_0") if request.param == "path" else f"file://{tmp_path}/fold_0"), DATA
    )


def save(fold: FoldStore, epoch: int) -> None:
    curve = pd.DataFrame([(epoch, 0.1, 0.5, 0.5, 2.0)], columns=CURVE_COLUMNS)
    fold.write_checkpoint({"w": torch.full((3,), float(epoch))}, {"epoch": epoch, "step": 0}, curve)


def flip(storage: Storage, name: str, position: int) -> None:
    data = bytearray(storage.read(name))
    data[position % len(data)] ^= 1 << position % 8
    storage.write(name, bytes(data))


def test_a_finished_fold_is_never_written_again(fold):
    finish(fold)
    before = fold.storage.read("result.json")
    finish(fold, 0.9)
    assert fold.storage.read("result.json") == before


def test_windows_are_there_whole_or_not_at_all(fold):
    frame = pd.DataFrame({"fname": ["0.wav", "0.wav"], "start_s": [-0.5, 1.5], "end_s": [3.5, 5.5]})
    frame = frame.assign(a=np.float32([0.1, 0.2]), b=np.float32([0.3, 0.4]))
    finish(fold)
    assert fold.windows() is None
    fold.keep_windows(frame)
    pd.testing.assert_frame_equal(fold.windows(), frame)
    assert fold.finished
    whole = fold.storage.read("windows.parquet")
    fold.storage.write("windows.parquet", whole[:-1] + b"!")
    with pytest.raises(DamagedError, match=r"windows\.parquet is damaged"):
        fold.windows()
    fold.storage.delete("windows.parquet")
    with pytest.raises(DamagedError, match=r"windows\.parquet is gone; raytag windows"):
        fold.windows()
    fold.storage.write("windows.parquet", whole)
    with pytest.raises(DamagedError, match="belongs to other data"):
        FoldStore(fold.storage, DATA | {"contents": "d"}).windows()
    fold.storage.delete("result.json")  # trained again, it has other tiles
    finish(fold, 0.9)
    assert fold.windows() is None
    assert "windows.parquet" not in fold.storage.files()


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("how", ["gone", "cut", "flip"])
def test_a_fold_that_is_not_whole_is_not_finished_or_not_read(fold, name, how):
    finish(fold)
    whole = fold.storage.read(name)
    read = {"oof.parquet": fold.oof, "test.parquet": fold.test, "curve.csv": fold.curve, "result.json": fold.result}
    for position in range(0, len(whole), max(1, len(whole) // 40)) if how == "flip" else [len(whole) // 2]:
        if how == "gone":
            fold.storage.delete(name)
        elif how == "cut":
            fold.storage.write(name, whole[:position])
        else:
            flip(fold.storage, name, position)
        finished, damage = fold.look(read=PREDICTIONS)
        if name in PREDICTIONS or name == "result.json" or how != "flip":
            harmless = name == "result.json" and how == "flip" and finished  # a blank, or the name of its digest
            assert not finished or harmless, position
            assert damage or harmless or (name == "result.json" and how == "gone")
            if harmless:
                assert fold.result()["lwlrap"] == 0.5
                continue
        if name != "curve.csv" or finished:  # that of an unfinished fold is for looking at
            with pytest.raises((DamagedError, FileNotFoundError), match=name.replace(".", r"\.")):
                read.get(name, fold.weights)()
        fold.storage.write(name, whole)
    assert fold.look(read=PREDICTIONS) == (fold.result(), "") or how == "flip"


def test_a_fold_that_is_set_aside_is_open_and_its_files_are_kept(fold):
    for number in range(2):
        finish(fold)
        fold.set_aside()
        assert not fold.finished
        assert fold.look() == (None, "")
        assert fold.storage.files() == []
        assert sorted(fold.storage.files(f"damaged-{number}")) == sorted(FILES)


def test_a_fold_of_other_data_is_not_this_runs(fold):
    finish(fold)
    assert FoldStore(fold.storage, {"fingerprint": "f", "contents": None}).finished  # as far as it is known
    other = FoldStore(fold.storage, {"fingerprint": "f", "contents": "other sound"})
    assert not other.finished
    assert "contents differ" in other.look()[1]


def test_folds_of_before_there_were_digests_are_read(fold):
    finish(fold)
    result = fold.result()
    del result["files"], result["data"]
    fold.storage.write("result.json", json.dumps(result).encode())
    assert fold.finished
    assert (fold.oof()["a"].tolist(), fold.test()["a"].tolist()) == ([0.5], [0.5])
    assert fold.weights()["w"].tolist() == [0.5, 0.5]
    fold.storage.delete("oof.parquet")
    assert not fold.finished


def test_checkpoints_alternate_so_that_a_kill_leaves_a_whole_one(fold):
    assert fold.checkpoint() is None
    save(fold, 1)
    # a kill between the tensors and the JSON of the second checkpoint
    fold.storage.write("checkpoint-1.safetensors", b"half of a fi")
    tensors, state, wrong = fold.checkpoint()
    assert (tensors["w"].tolist(), state["epoch"], wrong) == ([1.0, 1.0, 1.0], 1, [])
    for epoch in (2, 3, 4):
        save(fold, epoch)
        tensors, state, wrong = fold.checkpoint()
        assert (tensors["w"][0].item(), state["epoch"], wrong) == (epoch, epoch, [])
    finish(fold)
    assert not [f for f in fold.storage.files() if "checkpoint" in f]


@pytest.mark.parametrize("suffix", ["json", "safetensors"])
@pytest.mark.parametrize("how", ["gone", "cut", "flip"])
def test_a_damaged_checkpoint_falls_back_to_the_other_and_then_to_the_start(fold, suffix, how):
    for epoch in (1, 2):
        save(fold, epoch)
    for name, left in (("checkpoint-1", 1), ("checkpoint-0", None)):
        file = f"{name}.{suffix}"
        if how == "gone":
            fold.storage.delete(file)
        elif how == "cut":
            fold.storage.write(file, fold.storage.read(file)[:-20])
        else:
            flip(fold.storage, file, len(fold.storage.read(file)) // 2)
        found = fold.checkpoint()
        if left is None:
            assert found is None or found[:2] == ({}, {})
        else:
            assert found[1]["epoch"] == found[0]["w"][0].item() == left
        if not (how == "gone" and suffix == "json"):
            assert file in " ".join(found[2])
    save(fold, 3)
    assert fold.checkpoint()[1]["epoch"] == 3


def test_a_checkpoint_of_before_is_continued_and_kept_until_there_are_two(fold):
    save(fold, 5)
    kept = fold.storage.read_json("checkpoint-0.json")
    fold.storage.write("checkpoint-b.safetensors", fold.storage.read("checkpoint-0.safetensors"))
    old = {"tensors": "checkpoint-b.safetensors", "state": kept["state"]}
    fold.storage.write("checkpoint.json", json.dumps(old).encode())
    for name in ("checkpoint-0.json", "checkpoint-0.safetensors"):
        fold.storage.delete(name)
    assert fold.checkpoint()[1]["epoch"] == 5
    save(fold, 6)
    assert fold.checkpoint()[1]["epoch"] == 6
    fold.storage.delete("checkpoint-0.safetensors")
    assert fold.checkpoint()[1]["epoch"] == 5


def test_a_checkpoint_of_other_data_is_never_continued(fold):
    save(fold, 1)
    tensors, state, wrong = FoldStore(fold.storage, {"fingerprint": "other"}).checkpoint()
    assert (tensors, state) == ({}, {})
    assert "belongs to other data" in wrong[0]
