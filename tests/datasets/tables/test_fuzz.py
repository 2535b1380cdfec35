"""Tables written in other ways, and damaged: read as meant, refused, or named as wrong; never a traceback."""

from __future__ import annotations

import csv
import io
import time
import unicodedata

import numpy as np
import pytest
import soundfile

from raytag.datasets import DatasetError, load

CLASSES = ["dog", "cat", "rain", "Glocke", "béla"]
SECONDS = 5.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("fuzz")
    rng = np.random.default_rng(0)
    (root / "audio").mkdir()
    for i in range(10):
        soundfile.write(root / "audio" / f"{i:03d}.wav", rng.normal(0, 0.1, 400), 8000)
    return root


def meant_labels(rng):
    rows = [[str(c)] for c in CLASSES] * 2
    for labels in rows:
        labels += [c for c in CLASSES if c not in labels and rng.random() < 0.25]
    return {f"{i:03d}.wav": labels for i, labels in enumerate(rows)}


def one_of(rng, *choices):
    return choices[rng.integers(len(choices))]


def written(rng, meant):
    """The bytes of a table that says the same, in one of many ways."""
    name_of = one_of(
        rng,
        str,
        lambda n: n.removesuffix(".wav"),
        lambda n: n.upper(),
        lambda n: f"audio\\{n}",
        lambda n: f"old/place/{n}",
        lambda n: n.replace(".wav", ".flac"),
    )
    separator = one_of(rng, ",", ";", "|", ", ", " ; ", "\t")
    cell = one_of(
        rng,
        separator.join,
        str,
        lambda labels: "[" + ", ".join(f'"{label}"' for label in labels) + "]",
        lambda labels: "[" + " ".join(f"'{label}'" for label in labels) + "]",
    )
    form = one_of(rng, "cell", "cell", "long", "wide")
    if form == "wide":
        rows = [["fname", *CLASSES]]
        rows += [[name_of(n), *(str(int(c in own)) for c in CLASSES)] for n, own in meant.items()]
    else:
        header = one_of(rng, ["fname", "labels"], ["Filename", "Label"], ["file", "label"])
        cells = [(n, label) for n, own in meant.items() for label in own]
        if form == "cell":
            cells = [(n, cell(own)) for n, own in meant.items()]
        rows = [header, *([name_of(n), text] for n, text in cells)]
    if rng.random() < 0.3:  # another column
        rows = [[str(i) if i else one_of(rng, "", "note", "id"), *row] for i, row in enumerate(rows)]
        if form == "wide" and rows[0][0]:
            rows[0][0] = ""
    if rng.random() < 0.2:
        order = rng.permutation(len(rows) - 1) + 1
        rows = [rows[0], *(rows[i] for i in order)]
    text = io.StringIO()
    delimiter = one_of(rng, ",", ";", "\t", "|")
    end = one_of(rng, "\n", "\r\n")
    quoting = one_of(rng, csv.QUOTE_MINIMAL, csv.QUOTE_ALL)
    csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=quoting).writerows(rows)
    content = text.getvalue()
    if rng.random() < 0.2:
        content = content.replace(end, end * 2)
    if rng.random() < 0.2:
        content = f"sep={delimiter}{end}{content}"
    if rng.random() < 0.3:
        content = unicodedata.normalize("NFD", content)
    encoding = one_of(rng, "utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-le")
    return content.encode(encoding)


def outcome(folder, content):
    """Classes, and the labels of each clip; None where the table is refused or named as wrong."""
    (folder / "clips.csv").write_bytes(content)
    started = time.monotonic()
    try:
        table = load(folder, n_folds=2)
    except DatasetError:
        return None
    finally:
        assert time.monotonic() - started < SECONDS
    if any(finding.wrong for finding in table.findings):
        return None
    labels = {
        clip.rpartition("/")[2]: sorted(text.split(","))
        for clip, text in table.clips[["clip", "labels"]].to_numpy()
    }
    return sorted(table.classes), labels


@pytest.mark.long
def test_a_table_that_says_the_same_is_read_the_same_or_refused(folder):
    read = 0
    for seed in range(400):
        rng = np.random.default_rng(seed)
        meant = meant_labels(rng)
        content = written(rng, meant)
        found = outcome(folder, content)
        if found is not None:
            expected = sorted(CLASSES), {name: sorted(own) for name, own in meant.items()}
            assert found == expected, (seed, content)
            read += 1
    assert read > 360  # nearly all of them


@pytest.mark.long
def test_a_damaged_table_is_no_traceback(folder):
    for seed in range(300):
        rng = np.random.default_rng(10_000 + seed)
        content = bytearray(written(rng, meant_labels(rng)))
        for _ in range(rng.integers(1, 6)):
            at = int(rng.integers(len(content)))
            fault = rng.integers(4)
            if fault == 0:
                content[at] = int(rng.integers(256))
            elif fault == 1:
                del content[at : at + int(rng.integers(1, 9))]
            elif fault == 2:
                content[at:at] = one_of(
                    rng, b'"', b",", b";", b"\n", b"\0", b"[", b"'", b"\xff", b"\t", b"nan", b"x" * 300
                )
            else:
                del content[at:]
            if not content:
                break
        outcome(folder, bytes(content))
