"""The contract of `raytag.testing.readers` over all readers, and that each of its promises can be broken."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from raytag.datasets import DatasetError
from raytag.datasets.readers import READERS, Listing
from raytag.datasets.readers.single_csv import SingleCsv
from raytag.testing.readers import check_reader

FOLDERS = {
    "FSDKaggle2019": "competition",
    "FSDKaggle2019, as published": "published",
    "ESC-50": "esc50",
    "FSD50K": "fsd50k",
    "BirdCLEF": "birdclef",
    "one CSV": "one_csv",
}


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_every_reader_keeps_the_contract(reader, make_folder, request):
    folder = make_folder(request.getfixturevalue(FOLDERS[reader.name]))
    check_reader(reader, folder)
    assert next(other for other in READERS if other.recognises(folder)) is reader


class Greedy(SingleCsv):
    def recognises(self, directory: Path) -> bool:
        return True


class Hungry(SingleCsv):
    def recognises(self, directory: Path) -> bool:
        return any(directory.iterdir())


class Shy(SingleCsv):
    def recognises(self, directory: Path) -> bool:
        return False


class Scribbler(SingleCsv):
    def read(self, directory: Path) -> Listing:
        (directory / "index.cache").write_text("x")
        return super().read(directory)


class Nameless(SingleCsv):
    def read(self, directory: Path) -> Listing:
        return replace(super().read(directory), layout="CSV")


class Forgetful(SingleCsv):
    def read(self, directory: Path) -> Listing:
        listing = super().read(directory)
        return replace(listing, entries=listing.entries[1:])


class Stuttering(SingleCsv):
    def read(self, directory: Path) -> Listing:
        listing = super().read(directory)
        return replace(listing, entries=[*listing.entries, listing.entries[0]])


class Unlabelled(SingleCsv):
    def read(self, directory: Path) -> Listing:
        listing = super().read(directory)
        return replace(listing, entries=[replace(entry, labels=()) for entry in listing.entries])


class AllTest(SingleCsv):
    def read(self, directory: Path) -> Listing:
        listing = super().read(directory)
        return replace(listing, entries=[replace(entry, subset="test") for entry in listing.entries])


class TestFirst(SingleCsv):
    __test__ = False

    def read(self, directory: Path) -> Listing:
        first, *others = super().read(directory).entries
        return Listing(self.name, [replace(first, subset="test"), *others])


class Elsewhere(SingleCsv):
    def read(self, directory: Path) -> Listing:
        listing = super().read(directory)
        entries = [replace(entry, clip=f"sound/{entry.fname}") for entry in listing.entries]
        return replace(listing, entries=entries)


class InOrderOfAppearance(SingleCsv):
    def read(self, directory: Path) -> Listing:
        listing = super().read(directory)
        names = dict.fromkeys(label for entry in listing.entries for label in entry.labels)
        return replace(listing, classes=tuple(names))


class Previous(SingleCsv):
    """A clip takes its labels from the row above."""

    def read(self, directory: Path) -> Listing:
        listing = super().read(directory)
        above = [("Owl",), *(entry.labels for entry in listing.entries)]
        entries = [replace(e, labels=labels) for e, labels in zip(listing.entries, above, strict=False)]
        return replace(listing, entries=entries)


class Narrow(SingleCsv):
    def read(self, directory: Path) -> Listing:
        return replace(super().read(directory), classes=("Owl",))


class Vague(SingleCsv):
    expects = "recordings and what is in them"


class Silent(SingleCsv):
    expects = " "


class Lenient(SingleCsv):
    """Gives what it read before where a table is at fault."""

    last: Listing

    def read(self, directory: Path) -> Listing:
        try:
            self.last = super().read(directory)
        except DatasetError:
            return self.last
        return self.last


class Brief(SingleCsv):
    def read(self, directory: Path) -> Listing:
        try:
            return super().read(directory)
        except DatasetError:
            raise DatasetError("the table is at fault") from None


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (Greedy, "takes an empty folder"),
        (Hungry, "takes any folder"),
        (Shy, "does not recognise its own"),
        (Scribbler, "reading changes the folder"),
        (Nameless, "the layout is called 'CSV'"),
        (Forgetful, r"audio/a\.wav is not listed"),
        (Stuttering, r"audio/a\.wav is listed 2 times"),
        (Unlabelled, r"no clip has a label"),
        (AllTest, "no clip is curated"),
        (TestFirst, "curated clips come first"),
        (Elsewhere, r"sound/a\.wav is no file"),
        (InOrderOfAppearance, "order of rows in birds.csv changes the classes"),
        (Previous, "order of rows in birds.csv changes what"),
        (Narrow, r"makes no table: .*birds\.csv:2: label 'Wren' is not a class"),
        (Vague, r"says neither birds\.csv nor its columns"),
        (Silent, "does not say what it expects"),
        (Lenient, "that stands twice is not refused"),
        (Brief, "a row that stands twice is told as 'the table is at fault'"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_bad_reader_is_told_what_it_breaks(bad, message, make_folder, one_csv):
    with pytest.raises(AssertionError, match=message):
        check_reader(bad(), make_folder(one_csv))
