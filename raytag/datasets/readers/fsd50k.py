"""FSD50K (Fonseca et al. 2022, *FSD50K: an Open Dataset of Human-Labeled Sound Events*) as Zenodo has it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from raytag.datasets.listing import ListedClip, Listing
from raytag.datasets.readers.base import Tables, csv_entries
from raytag.datasets.table import DatasetError
from raytag.datasets.tables.csv_file import parse_csv, read_csv

_TABLES = "FSD50K.ground_truth"
_UPLOADERS = "FSD50K.metadata/dev_clips_info_FSD50K.json"


class Fsd50k:
    """The development set is curated, the evaluation set test clips.

    Its tables name clips without their extension. Clips of one uploader are one group where the metadata are there,
    as in the published split into training and validation, which is not used: folds are made.
    """

    name = "FSD50K"
    expects = (
        f"{_TABLES}/dev.csv (fname,labels,mids,split) and FSD50K.dev_audio/; optionally {_TABLES}/eval.csv and "
        f"FSD50K.eval_audio/, {_TABLES}/vocabulary.csv, {_UPLOADERS}"
    )

    def recognises(self, directory: Path) -> bool:
        return (directory / _TABLES / "dev.csv").is_file() and (directory / "FSD50K.dev_audio").is_dir()

    def read(self, directory: Path, separator: str | None = None) -> Listing:
        tables, classes = Tables(separator), None
        vocabulary = directory / _TABLES / "vocabulary.csv"
        if vocabulary.is_file():  # it has no header
            rows = parse_csv(b"index,label,mid\n" + vocabulary.read_bytes(), vocabulary).rows
            classes = tuple(label for _, (_, label, _) in rows)
        entries = csv_entries(
            read_csv(directory / _TABLES / "dev.csv"),
            "FSD50K.dev_audio",
            "curated",
            classes=classes or (),
            tables=tables,
        )
        uploaders = _uploaders(directory / _UPLOADERS)
        if uploaders:
            entries = [replace(entry, group=uploaders.get(entry.fname, "")) for entry in entries]
        if (directory / _TABLES / "eval.csv").is_file():
            table = read_csv(directory / _TABLES / "eval.csv")
            entries += csv_entries(table, "FSD50K.eval_audio", "test", label_column=None, tables=tables)
        return tables.listing(self.name, [_with_extension(entry) for entry in entries], classes)


def _with_extension(entry: ListedClip) -> ListedClip:
    return entry if entry.clip.endswith(".wav") else replace(entry, clip=f"{entry.clip}.wav")


def _uploaders(path: Path) -> Mapping[str, str]:
    """Uploader of each clip; none where there are no metadata."""
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {fname: str(facts["uploader"]) for fname, facts in found.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DatasetError(
            f"{path}: not the metadata of FSD50K, an object with an uploader for each clip ({error!r}); download "
            "it again, or remove it to have no groups"
        ) from None
