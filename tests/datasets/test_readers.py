"""Layouts are recognised without being named."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from raytag.datasets import DatasetError, load


def test_competition_folder(make_folder, competition):
    root = make_folder(competition)
    table = load(root, n_folds=2)
    assert table.layout == "FSDKaggle2019"
    assert table.directory == root
    assert table.classes == ("Zither", "Bark", "Meow")  # the sample submission's order, not the alphabet's
    assert table.submission == ("t2.wav", "t1.wav")
    clips = table.clips.set_index("clip")
    assert list(clips.index) == [
        *(f"train_curated/c{i}.wav" for i in range(1, 7)),
        "train_noisy/n1.wav",
        "train_noisy/n2.wav",
        "test/t2.wav",
        "test/t1.wav",
    ]
    assert clips.loc["train_curated/c3.wav", "labels"] == "Bark,Meow"  # in class order
    assert clips.loc["train_noisy/n1.wav", "labels"] == "Zither,Bark"
    assert (clips["labels"][clips["subset"] == "test"] == "").all()
    assert set(clips["fold"][clips["subset"] == "curated"]) == {0, 1}
    assert (clips["fold"][clips["subset"] != "curated"] == -1).all()
    assert clips.loc["test/t2.wav", "duration"] == 2.0
    assert (clips["rate"] == 8000).all()
    assert all(Path(path).is_file() for path in clips["path"])
    assert clips.loc["train_noisy/n2.wav", "fname"] == "n2.wav"


def test_competition_folder_of_curated_clips_only(make_folder, competition):
    root = make_folder({k: v for k, v in competition.items() if k.startswith("train_curated")})
    table = load(root, n_folds=2)
    assert table.classes == ("Bark", "Meow", "Zither")
    assert table.submission is None
    assert set(table.clips["subset"]) == {"curated"}


def test_without_a_sample_submission_the_test_clips_are_the_sorted_listing(make_folder, competition):
    del competition["sample_submission.csv"]
    root = make_folder({**competition, "test/T0.WAV": 1.0, "test/notes.txt": "x", "test/.hidden.wav": "x"})
    table = load(root, n_folds=2)
    assert list(table.clips["fname"][table.rows("test")]) == ["T0.WAV", "t1.wav", "t2.wav"]
    assert table.classes == ("Bark", "Meow", "Zither")
    assert table.submission is None


def test_classes_called_fold_and_group_in_a_sample_submission_are_classes(make_folder, competition):
    competition["sample_submission.csv"] = "fname,Zither,Bark,Meow,fold,group\nt1.wav,0,0,0,0,0\n"
    table = load(make_folder(competition), n_folds=2)
    assert table.classes[-2:] == ("fold", "group")
    assert (table.clips["group"] == "").all()


def test_given_folds_and_groups_of_the_curated_csv_are_kept(make_folder, competition):
    competition["train_curated.csv"] = (
        "fname,labels,fold,license,group\nc1.wav,Bark,7,CC0,a\nc2.wav,Meow,3,CC0,\nc3.wav,Meow,3,CC0,b\n"
        "c4.wav,Zither,5,CC0,\nc5.wav,Bark,7,CC0,a\nc6.wav,Zither,5,CC0,\n"
    )
    table = load(make_folder(competition))
    curated = table.clips.iloc[table.rows("curated")]
    assert list(curated["fold"]) == [2, 0, 0, 1, 2, 1]  # 3, 5, 7 renumbered in sorted order
    assert list(curated["group"]) == ["a", "", "b", "", "a", ""]
    assert table.n_folds == 3


def test_published_folder(make_folder, published):
    table = load(make_folder(published), n_folds=2)
    assert table.layout == "FSDKaggle2019, as published"
    assert list(table.clips["fname"]) == ["a.wav", "b.wav", "n.wav", "y.wav", "x.wav"]
    assert list(table.clips["labels"]) == ["A,B", "A", "C", "", ""]  # the test labels are not read
    assert table.clips["duration"].notna().all()


def test_esc50_layout(make_folder, esc50):
    table = load(make_folder({**esc50, "meta/esc50-human.xlsx": b"\0"}))
    assert table.layout == "ESC-50"
    assert table.classes == ("x", "y")
    assert list(table.clips["fold"]) == [0, 0, 1, 1]
    assert table.clips["clip"][0] == "audio/1-0-A-0.wav"


@pytest.mark.parametrize("folder", ["audio/", "clips of 2021/", ""])
def test_one_csv_finds_its_audio(make_folder, folder):
    root = make_folder(
        {
            "birds.csv": "fname,fold,label,freesound_id\na.wav,1,Owl,9\nb.wav,2,Wren,9\n",
            f"{folder}a.wav": 0.5,
            f"{folder}b.wav": 0.5,
            "docs/readme.txt": "",
        }
    )
    table = load(root)
    assert table.layout == "one CSV"
    assert list(table.clips["clip"]) == [f"{folder}a.wav", f"{folder}b.wav"]
    assert table.clips["duration"].tolist() == [0.5, 0.5]
    assert (table.clips["group"] == "").all()  # freesound_id is no group unless it is called so


def test_one_csv_with_files_in_folders_below(make_folder):
    root = make_folder(
        {"all.csv": "fname,labels\nsite1/a.wav,Owl\nsite2/a.wav,Owl\n", "site1/a.wav": 1, "site2/a.wav": 1}
    )
    assert list(load(root, n_folds=2).clips["clip"]) == ["site1/a.wav", "site2/a.wav"]


def test_one_csv_groups_make_the_folds(make_folder):
    rows = "".join(f"{i}.wav,Owl,site{i % 3}\n" for i in range(9))
    table = load(make_folder({"all.csv": "fname,labels,group\n" + rows, "audio/0.wav": 1}), n_folds=3)
    assert table.clips.groupby("group")["fold"].nunique().max() == 1
    assert table.n_folds == 3


def test_cells_are_stripped_and_blank_lines_and_a_byte_order_mark_passed_over(make_folder):
    text = '\ufeff"fname", labels\r\n\r\na.wav , "Owl , Wren"\r\nb.wav,Wren\r\n\r\n'
    table = load(make_folder({"all.csv": text.replace(', "Owl', ',"Owl'), "audio/a.wav": 1}), n_folds=2)
    assert list(table.clips["fname"]) == ["a.wav", "b.wav"]
    assert table.clips["labels"][0] == "Owl,Wren"


def test_missing_and_unreadable_audio_is_no_error(make_folder, competition):
    del competition["train_curated/c1.wav"]
    competition["train_curated/c2.wav"] = b"RIFF, perhaps"
    table = load(make_folder(competition), n_folds=2)
    assert np.isnan(table.clips["duration"][:2]).all()
    assert (table.clips["rate"][:2] == 0).all()
    assert table.clips["duration"][2:].notna().all()


def test_unknown_folder_lists_what_is_expected(make_folder):
    root = make_folder({"notes.csv": "when,what\n1,2\n", "b.wav": 1.0})
    with pytest.raises(DatasetError) as error:
        load(root)
    for word in ("notes.csv", "b.wav", "train_curated.csv", "meta/esc50.csv", "fname, labels", str(root)):
        assert word in str(error.value)


@pytest.mark.parametrize(("make", "message"), [(False, "does not exist"), (True, "is not a folder")])
def test_no_folder(tmp_path, make, message):
    path = tmp_path / "x"
    if make:
        path.write_text("")
    with pytest.raises(DatasetError, match=message):
        load(path)


def test_uri_is_refused():
    with pytest.raises(DatasetError, match=r"s3://bucket/data.*local disk"):
        load("s3://bucket/data")


def test_several_csv_files(make_folder):
    root = make_folder({"a.csv": "fname,labels\na.wav,A\n", "b.csv": "fname,label\na.wav,A\n", "a.wav": 1})
    with pytest.raises(DatasetError, match=r"several CSV files.*a\.csv, b\.csv"):
        load(root)


def test_audio_in_several_places(make_folder):
    root = make_folder({"a.csv": "fname,labels\na.wav,A\nb.wav,A\n", "x/a.wav": 1, "y/b.wav": 1})
    with pytest.raises(DatasetError, match=r"several places \(x/, y/\)"):
        load(root)


def test_audio_nowhere(make_folder):
    root = make_folder({"a.csv": "fname,labels\na.wav,A\nb.wav,A\n", "x/c.wav": 1})
    with pytest.raises(DatasetError, match=r"none of its 2 files is in .*\(x/\)"):
        load(root)


def test_esc10(shared):
    table = load(shared / "data" / "esc10")
    official = pd.read_csv(shared / "data" / "esc10" / "esc10.csv").set_index("fname")
    assert len(table) == 400
    assert len(table.classes) == 10
    assert list(table.classes) == sorted(official["label"].unique())
    assert table.clips["fold"].value_counts().to_dict() == dict.fromkeys(range(5), 80)
    assert (table.clips["fold"].to_numpy() == official.loc[table.clips["fname"], "fold"].to_numpy() - 1).all()
    assert (table.clips["labels"].to_numpy() == official.loc[table.clips["fname"], "label"].to_numpy()).all()
    assert table.clips["duration"].between(3, 8).all()


@pytest.mark.parametrize("fold_column", [True, False])
def test_mixed_recordings_in_the_competition_layout(shared, tmp_path, fold_column):
    command = [sys.executable, shared / "tools" / "make_fsd.py", "--out", tmp_path / "fsd", "--seed", "0"]
    command += ["--curated", "40", "--noisy", "20", "--test", "10", *([] if fold_column else ["--no-fold-column"])]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    table = load(tmp_path / "fsd")
    assert [len(table.rows(s)) for s in ("curated", "noisy", "test")] == [40, 20, 10]
    assert table.clips["duration"].between(0.25, 14).all()
    curated = pd.read_csv(tmp_path / "fsd" / "train_curated.csv")
    assert table.n_folds == (4 if fold_column else 5)
    if fold_column:
        assert (table.clips["fold"].to_numpy()[:40] == curated["fold"].to_numpy()).all()
    positive = table.targets(table.rows("curated")) > 0
    for row, text in zip(positive, curated["labels"], strict=True):
        assert {table.classes[c] for c in np.flatnonzero(row)} == set(text.split(","))
