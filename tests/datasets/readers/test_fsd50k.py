"""FSD50K as published: names without extension, uploaders as groups, the vocabulary's order of classes."""

from __future__ import annotations

import pytest

from raytag.datasets import DatasetError, load


def test_it_is_read(make_folder, fsd50k):
    table = load(make_folder(fsd50k), n_folds=2)
    assert table.layout == "FSD50K"
    assert table.classes == ("Animal", "Bark", "Dog", "Meow")
    assert table.clips["fname"].tolist() == ["101", "102", "103", "104", "201"]
    assert table.clips["clip"][0] == "FSD50K.dev_audio/101.wav"
    assert table.clips["labels"].tolist() == ["Animal,Bark,Dog", "Animal,Meow", "Animal,Dog", "Meow", ""]
    assert table.clips["subset"].tolist() == ["curated"] * 4 + ["test"]
    assert table.clips["duration"].notna().all()


def test_clips_of_one_uploader_share_a_fold(make_folder, fsd50k):
    table = load(make_folder(fsd50k), n_folds=2)
    assert table.clips["group"].tolist() == ["a", "a", "b", "", ""]
    assert table.clips["fold"][0] == table.clips["fold"][1]


def test_metadata_and_vocabulary_may_be_missing_but_not_broken(make_folder, fsd50k):
    info = "FSD50K.metadata/dev_clips_info_FSD50K.json"
    bare = {name: content for name, content in fsd50k.items() if name != info and "vocabulary" not in name}
    table = load(make_folder(bare, "bare"), n_folds=2)
    assert (table.clips["group"] == "").all()
    assert table.classes == ("Animal", "Bark", "Dog", "Meow")
    with pytest.raises(DatasetError, match=r"dev_clips_info_FSD50K\.json: not the metadata of FSD50K"):
        load(make_folder({**fsd50k, info: '{"101": 1}'}), n_folds=2)
