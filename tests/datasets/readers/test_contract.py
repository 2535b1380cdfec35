"""Every reader keeps the contract, and the contract finds readers that do not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from raytag.datasets.readers import READERS
from raytag.datasets.readers.base import ListedClip, Listing
from raytag.datasets.readers.single_csv import SingleCsv
from raytag.testing.readers import check_reader

FOLDERS = {
    "FSDKaggle2019": {
        "train_curated.csv": "fname,labels\na.wav,x\nb.wav,y\n",
        "train_curated/a.wav": 0.1,
        "train_curated/b.wav": 0.1,
    },
    "FSDKaggle2019 as published": {
        "FSDKaggle2019.meta/train_curated_post_competition.csv": "fname,labels\na.wav,x\nb.wav,y\n",
        "FSDKaggle2019.meta/train_noisy_post_competition.csv": "fname,labels\nc.wav,x\n",
        "FSDKaggle2019.audio_train_curated/a.wav": 0.1,
        "FSDKaggle2019.audio_train_curated/b.wav": 0.1,
        "FSDKaggle2019.audio_train_noisy/c.wav": 0.1,
    },
    "ESC-50": {
        "meta/esc50.csv": "filename,fold,target,category\na.wav,1,0,x\nb.wav,2,1,y\n",
        "audio/a.wav": 0.1,
        "audio/b.wav": 0.1,
    },
    "CSV + folder": {"labels.csv": "fname,labels\na.wav,x\nb.wav,y\n", "clips/a.wav": 0.1, "clips/b.wav": 0.1},
}


@pytest.mark.parametrize("number", range(len(READERS)))
def test_it_keeps_the_contract(number, make_folder, tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    reader = READERS[number]
    folder = make_folder(list(FOLDERS.values())[number])
    check_reader(reader, folder, scratch)


class Greedy(SingleCsv):
    def recognises(self, directory):
        return True


class Double(SingleCsv):
    def read(self, directory):
        found = super().read(directory)
        return replace(found, entries=found.entries * 2)


class Mute(SingleCsv):
    def read(self, directory):
        found = super().read(directory)
        return replace(found, entries=[replace(entry, labels=()) for entry in found.entries])


class Careless(SingleCsv):
    def read(self, directory):
        rows = [line.split(",") for line in (directory / "labels.csv").read_text().splitlines()[1:]]
        return Listing(self.name, [ListedClip(row[0], f"clips/{row[0]}", "curated", (row[1],)) for row in rows])


@pytest.mark.parametrize(
    ("reader", "words"),
    [
        (Greedy, "recognises an empty folder"),
        (Double, "listed twice"),
        (Mute, "no clip has a label"),
        (Careless, "refused without its file and line"),
    ],
)
def test_it_finds_a_reader_that_breaks_it(reader, words, make_folder, tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with pytest.raises(AssertionError, match=words):
        check_reader(reader(), make_folder(FOLDERS["CSV + folder"]), scratch)
