"""What the audit counts."""

from __future__ import annotations

import dataclasses

import pytest

from raytag.datasets import audit, load


def test_counts(make_folder, competition):
    found = audit(load(make_folder(competition), n_folds=2, fold_method="kfold"))
    assert found.clips == {"curated": 6, "noisy": 2, "test": 2}
    assert found.hours == {"curated": pytest.approx(21 / 8 / 3600), "noisy": 1 / 3600, "test": 3 / 3600}
    assert found.n_classes == 3
    assert found.labels_per_clip == {1: 5, 2: 1}
    assert found.rates == {8000: 10}
    assert found.seconds == (0.125, 0.5, 2.0)
    assert [(fold.clips, sum(f.clips for f in found.folds)) for fold in found.folds] == [(3, 6), (3, 6)]
    assert sum(fold.labels for fold in found.folds) == 7
    assert found.missing == found.unreadable == found.unlisted == found.untrained == found.shared_groups == ()


def test_text_is_a_few_lines(make_folder, competition):
    root = make_folder(competition)
    lines = str(audit(load(root, n_folds=2))).splitlines()
    assert lines[:4] == [
        f"{root} (FSDKaggle2019)",
        "  clips    6 curated (0.0 min), 2 noisy (0.0 min), 2 test (0.1 min)",
        "  labels   3 classes, 1.17 a curated clip (5 with 1, 1 with 2)",
        "  audio    8000 Hz, 0.1 to 2.0 s, median 0.5 s",
    ]
    assert lines[4].startswith("  folds    2 of 3 3 clips with ")
    assert all(line.startswith("  warning") for line in lines[5:])


def test_files_that_are_missing_unreadable_or_unlisted(make_folder, competition):
    del competition["train_curated/c1.wav"]
    competition["train_curated/c2.wav"] = b""
    competition["test/t3.wav"] = 1.0
    competition["train_noisy/extra.FLAC"] = b""
    competition["train_noisy/notes.txt"] = b""
    found = audit(load(make_folder(competition), n_folds=2))
    assert found.missing == ("train_curated/c1.wav",)
    assert found.unreadable == ("train_curated/c2.wav",)
    assert found.unlisted == ("test/t3.wav", "train_noisy/extra.FLAC")
    assert found.rates == {8000: 8}
    text = str(found)
    assert "1 clip has no file (train_curated/c1.wav)" in text
    assert "2 audio files are not listed (test/t3.wav, train_noisy/extra.FLAC)" in text


def test_dropped_clips_are_not_called_unlisted(make_folder, competition):
    table = load(make_folder(competition), n_folds=2).drop(["train_curated/c1.wav"])
    assert audit(table).unlisted == ()


def test_classes_that_training_or_a_fold_lacks(make_folder, competition):
    competition["train_curated.csv"] = (
        "fname,labels,fold\nc1.wav,Bark,0\nc2.wav,Bark,1\nc3.wav,Zither,0\nc4.wav,Zither,0\n"
    )
    found = audit(load(make_folder(competition)))
    assert found.untrained == ("Meow",)
    assert [fold.absent for fold in found.folds] == [("Meow",), ("Zither", "Meow")]
    assert "1 class has no curated clip (Meow)" in str(found)
    assert "1 class has no clip in a fold (Zither in fold 1)" in str(found)


def test_noisy_clips_of_a_curated_group(make_folder, competition):
    competition["train_curated.csv"] = "fname,labels,group\n" + "".join(
        f"c{i}.wav,Bark,s{i}\n" for i in range(1, 7)
    )
    competition["train_noisy.csv"] = "fname,labels,group\nn1.wav,Bark,s3\nn2.wav,Bark,s7\n"
    found = audit(load(make_folder(competition), n_folds=2))
    assert found.groups == 6
    assert found.shared_groups == ("train_noisy/n1.wav",)
    assert "1 noisy clip shares its group with curated clips (train_noisy/n1.wav)" in str(found)


def test_no_readable_audio_at_all(make_folder, competition):
    root = make_folder({k: (b"" if isinstance(v, float) else v) for k, v in competition.items()})
    found = audit(load(root, n_folds=2))
    assert len(found.unreadable) == 10
    assert "none readable" in str(found)


def test_long_lists_are_cut_and_rates_counted(make_folder, competition):
    found = audit(load(make_folder(competition), n_folds=2))
    found = dataclasses.replace(found, unlisted=tuple("abcdef"), rates={8000: 3, 44100: 7})
    assert "6 audio files are not listed (a, b, c, …)" in str(found)
    assert "8000 Hz (3), 44100 Hz (7)" in str(found)
