"""The table of clips."""

from __future__ import annotations

import os

import numpy as np
import pytest

from raytag.datasets import ClipTable, DatasetError, load


@pytest.fixture
def table(make_folder, competition) -> ClipTable:
    return load(make_folder(competition), n_folds=2)


def test_rows_and_targets(table):
    assert table.rows("noisy").dtype == np.int64
    np.testing.assert_array_equal(table.rows("noisy"), [6, 7])
    targets = table.targets()
    assert targets.dtype == np.float32
    assert targets.shape == (10, 3)
    np.testing.assert_array_equal(targets[2], [0, 1, 1])  # Zither, Bark, Meow
    np.testing.assert_array_equal(targets[8:], 0)
    np.testing.assert_array_equal(table.targets(np.array([7, 2])), targets[[7, 2]])
    assert table.targets(np.array([], dtype=np.int64)).shape == (0, 3)
    with pytest.raises(DatasetError, match="no such subset: 'train'; there are curated, noisy, test"):
        table.rows("train")


def test_fingerprint_does_not_know_where_the_folder_is(make_folder, competition, monkeypatch):
    """argus-freesound works in the one folder of one container alone."""
    first = make_folder(competition, "here")
    second = make_folder(competition, "there")
    assert load(first, n_folds=2).fingerprint() == load(second, n_folds=2).fingerprint()
    link = first.parent / "link"
    link.symlink_to(first)
    monkeypatch.chdir(first)
    relative = load(".", n_folds=2)
    assert relative.fingerprint() == load(link, n_folds=2).fingerprint() == load(first, n_folds=2).fingerprint()
    assert os.path.isabs(relative.clips["path"][0])


def test_fingerprint_is_the_same_on_every_machine(table):
    # a value of this table; it may change only with raytag's definition of a fingerprint
    assert load(table.directory, n_folds=2, fold_method="kfold").fingerprint() == "300912b8293ab490"


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("train_curated.csv", "c2.wav,Meow", "c2.wav,Bark"),
        ("train_curated.csv", "c6.wav,Zither\n", ""),
        ("train_curated.csv", "c5.wav,Bark\nc6.wav,Zither", "c6.wav,Zither\nc5.wav,Bark"),
        ("train_noisy.csv", "n2.wav,Meow", "n3.wav,Meow"),
        ("sample_submission.csv", "Bark,Meow", "Meow,Bark"),
        ("sample_submission.csv", "t2.wav,0,0,0\n", ""),
    ],
)
def test_fingerprint_knows_the_content(make_folder, competition, table, name, old, new):
    assert old in competition[name]
    changed = load(make_folder({**competition, name: competition[name].replace(old, new)}, "other"), n_folds=2)
    assert changed.fingerprint() != table.fingerprint()


def test_fingerprint_knows_folds_and_groups(make_folder, competition, table):
    assert load(table.directory, n_folds=3).fingerprint() != table.fingerprint()
    clips = table.clips.assign(group="one")
    assert ClipTable(clips, table.classes, table.directory, "x").fingerprint() != table.fingerprint()


def test_fingerprint_does_not_know_audio(make_folder, competition, table):
    del competition["train_curated/c1.wav"]
    assert load(make_folder(competition, "silent"), n_folds=2).fingerprint() == table.fingerprint()


def test_drop(table):
    less = table.drop(["train_curated/c1.wav", "test/t2.wav"])
    assert list(less.clips.index) == list(range(8))
    assert less.clips["clip"][0] == "train_curated/c2.wav"
    assert list(less.dropped["clip"]) == ["train_curated/c1.wav", "test/t2.wav"]
    assert less.submission == ("t2.wav", "t1.wav")
    assert less.n_folds == 2
    assert len(table) == 10  # the table itself stays
    again = less.drop(["train_curated/c2.wav"])
    assert list(again.dropped["clip"]) == ["train_curated/c1.wav", "test/t2.wav", "train_curated/c2.wav"]
    assert list(table.drop([]).clips["clip"]) == list(table.clips["clip"])


def test_drop_refuses_unknown_clips_and_whole_folds(table):
    with pytest.raises(DatasetError, match=r"c9\.wav: no such clip"):
        table.drop(["train_curated/c9.wav"])
    for fold in (0, 1):
        with pytest.raises(DatasetError, match=f"none of the clips of fold {fold}"):
            table.drop(table.clips["clip"][table.clips["fold"] == fold])


def test_a_table_checks_itself(table):
    with pytest.raises(DatasetError, match="missing: rate"):
        ClipTable(table.clips.drop(columns="rate"), table.classes, table.directory, "x")
    with pytest.raises(DatasetError, match="reset_index"):
        ClipTable(table.clips.iloc[2:], table.classes, table.directory, "x")
    with pytest.raises(DatasetError, match="stands twice"):
        ClipTable(table.clips.assign(clip="a.wav"), table.classes, table.directory, "x")
    wrong = ClipTable(table.clips.assign(labels="Moo"), table.classes, table.directory, "x")
    with pytest.raises(DatasetError, match="'Moo' is not one of the 3 classes"):
        wrong.targets()
