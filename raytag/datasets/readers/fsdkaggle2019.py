"""FSDKaggle2019 (Fonseca et al. 2019, *Audio tagging with noisy labels and minimal supervision*).

The same recordings come in two layouts: the folder of the competition, whose test labels are hidden behind a
sample submission, and the folder that was published afterwards with a CSV for the test clips too.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from raytag.datasets.readers.base import CsvFile, ListedClip, Listing, audio_files, csv_entries, read_csv
from raytag.datasets.table import DatasetError


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

    def read(self, directory: Path) -> Listing:
        csv, folder = self.curated
        entries = csv_entries(read_csv(directory / csv), folder, "curated", labels_required=True)
        csv, folder = self.noisy
        if (directory / csv).is_file():
            entries += csv_entries(read_csv(directory / csv), folder, "noisy")
        classes = submission = None
        if self.sample_submission is not None and (directory / self.sample_submission).is_file():
            table = read_csv(directory / self.sample_submission)
            classes = submission_classes(table)
            test = csv_entries(table, self.test_folder, "test", label_column=None)
            submission = tuple(entry.fname for entry in test)
        elif self.test_csv is not None and (directory / self.test_csv).is_file():
            test = csv_entries(read_csv(directory / self.test_csv), self.test_folder, "test", label_column=None)
        else:
            names = audio_files(directory / self.test_folder)
            test = [ListedClip(name, f"{self.test_folder}/{name}", "test") for name in names]
        return Listing(self.name, entries + test, classes, submission)


def submission_classes(table: CsvFile) -> tuple[str, ...]:
    """Class order of a sample submission: its columns after the first, which is ``fname``."""
    if table.columns[0] != "fname":
        raise DatasetError(
            f"{table.path}:1: the first column is {table.columns[0]!r}, expected is fname, then the classes"
        )
    classes = table.columns[1:]
    if not classes:
        raise DatasetError(f"{table.path}:1: no classes; a column for each is expected after fname")
    for name in classes:
        if not name or "," in name:
            raise DatasetError(
                f"{table.path}:1: {name!r} cannot name a class: commas separate the labels of a clip"
            )
    return classes


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
