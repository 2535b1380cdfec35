"""FSDKaggle2019 (Fonseca et al. 2019, *Audio tagging with noisy labels and minimal supervision*).

The same recordings come in two layouts: the folder of the competition, whose test labels are hidden behind a
sample submission, and the folder that was published afterwards with a CSV for the test clips too.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from raytag.datasets.listing import ListedClip, Listing
from raytag.datasets.readers.base import Tables, audio_files, csv_entries, submission_classes
from raytag.datasets.tables.csv_file import read_csv


@dataclass(frozen=True)
class FsdKaggle2019:
    """Curated clips, and optionally noisy and test clips, each a CSV and a folder of its own.

    The curated CSV may have the columns ``fold`` and ``group`` beside ``fname`` and ``labels``. Test clips
    are the rows of the sample submission, or of ``test_csv``, or else the sorted audio files of the test folder;
    what ``test_csv`` says about their labels is not read.
    """

    name: str
    curated: tuple[str, str]  # CSV, folder
    noisy: tuple[str, str]
    test_folder: str
    sample_submission: str | None = None
    test_csv: str | None = None

    @property
    def expects(self) -> str:
        test = self.sample_submission or self.test_csv
        return (
            f"{self.curated[0]} (fname,labels[,fold][,group]) and {self.curated[1]}/; optionally "
            f"{self.noisy[0]} and {self.noisy[1]}/; optionally {self.test_folder}/ and {test}"
        )

    def recognises(self, directory: Path) -> bool:
        return (directory / self.curated[0]).is_file() and (directory / self.curated[1]).is_dir()

    def read(self, directory: Path, separator: str | None = None) -> Listing:
        tables, classes, submission = Tables(separator), None, None
        sample = directory / (self.sample_submission or "")
        if sample.is_file():  # first: it says which classes there are
            table = read_csv(sample)
            classes = submission_classes(table)
            test = csv_entries(table, self.test_folder, "test", label_column=None, tables=tables)
            submission = tuple(entry.fname for entry in test)
        elif self.test_csv is not None and (directory / self.test_csv).is_file():
            table = read_csv(directory / self.test_csv)
            test = csv_entries(table, self.test_folder, "test", label_column=None, tables=tables)
        else:
            names = audio_files(directory / self.test_folder)
            test = [ListedClip(name, f"{self.test_folder}/{name}", "test") for name in names]
        entries = []
        for subset, (csv, folder) in (("curated", self.curated), ("noisy", self.noisy)):
            if subset == "curated" or (directory / csv).is_file():
                table = read_csv(directory / csv)
                entries += csv_entries(table, folder, subset, classes=classes or (), tables=tables)
        return tables.listing(self.name, entries + test, classes, submission)


COMPETITION = FsdKaggle2019(
    "FSDKaggle2019",
    curated=("train_curated.csv", "train_curated"),
    noisy=("train_noisy.csv", "train_noisy"),
    test_folder="test",
    sample_submission="sample_submission.csv",
)

PUBLISHED = FsdKaggle2019(
    "FSDKaggle2019, as published",
    curated=("FSDKaggle2019.meta/train_curated_post_competition.csv", "FSDKaggle2019.audio_train_curated"),
    noisy=("FSDKaggle2019.meta/train_noisy_post_competition.csv", "FSDKaggle2019.audio_train_noisy"),
    test_folder="FSDKaggle2019.audio_test",
    test_csv="FSDKaggle2019.meta/test_post_competition.csv",
)
