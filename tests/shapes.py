"""Folders in the shape of published datasets, made of other recordings: to look at what raytag says of them.

python -m tests.shapes fsd50k ../shared/data/esc10 OUT        # or birdclef
raytag check OUT
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pandas as pd


def fsd50k(source: Path, out: Path) -> None:
    """FSD50K: ancestors among the labels, names without extension, uploaders in the metadata."""
    clips = pd.read_csv(source / "esc10.csv")
    animals = {"Dog_bark", "Rooster"}
    rows = {"dev": ["fname,labels,mids,split"], "eval": ["fname,labels,mids"]}
    info = {}
    names = [*sorted(set(clips["label"])), "Animal", "Thing"]
    for i, (file, label, fold) in enumerate(clips[["fname", "label", "fold"]].itertuples(index=False)):
        part, name = ("eval" if fold == 5 else "dev"), str(10_000 + i)
        mids = "/m/" + label.lower()
        labels = f"{label},{'Animal' if label in animals else 'Thing'}"
        rows[part].append(f'{name},"{labels}","{mids},/m/x"' + (",train" if part == "dev" else ""))
        if part == "dev":
            info[name] = {"title": file, "tags": [], "license": "CC0", "uploader": f"user{i % 57}"}
        target = out / f"FSD50K.{part}_audio" / f"{name}.wav"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / "audio" / file, target)  # what libsndfile reads does not depend on the extension
    for folder in ("FSD50K.ground_truth", "FSD50K.metadata"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    for part, lines in rows.items():
        (out / "FSD50K.ground_truth" / f"{part}.csv").write_text("\n".join(lines) + "\n")
    vocabulary = "".join(f"{i},{name},/m/{name.lower()}\n" for i, name in enumerate(names))
    (out / "FSD50K.ground_truth" / "vocabulary.csv").write_text(vocabulary)
    (out / "FSD50K.metadata" / "dev_clips_info_FSD50K.json").write_text(json.dumps(info))


def birdclef(source: Path, out: Path) -> None:
    """BirdCLEF as from 2022 on: a folder a species, secondary labels as lists, ratings."""
    clips = pd.read_csv(source / "esc10.csv")
    species = sorted(set(clips["label"]))
    lines = ["primary_label,secondary_labels,type,latitude,longitude,author,filename,rating"]
    for i, (file, label) in enumerate(clips[["fname", "label"]].itertuples(index=False)):
        second = species[(i * 7) % len(species)]
        more = "[]" if i % 5 or second == label else f"['{second}']"
        more = "['unknown1']" if i % 50 == 3 else more
        lines.append(f"{label},\"{more}\",['call'],-1.2,36.8,someone,{label}/{file},{i % 11 / 2}")
        target = out / "train_audio" / label / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / "audio" / file, target)
    (out / "train_metadata.csv").write_text("\n".join(lines) + "\n")
    columns = ",".join(reversed(species))
    (out / "sample_submission.csv").write_text(f"row_id,{columns}\nsoundscape_1_5" + ",0.1" * len(species) + "\n")


if __name__ == "__main__":
    {"fsd50k": fsd50k, "birdclef": birdclef}[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
