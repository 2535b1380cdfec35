"""Corrections files: what they do to rows, and what is said of a bad one."""

from __future__ import annotations

import json

import numpy as np
import pytest

from raytag.datasets import DatasetError, load
from raytag.datasets import corrected_rows as rows_of
from raytag.experiment import CorrectionsFile


@pytest.fixture
def table(make_folder, competition):
    return load(make_folder(competition), n_folds=2)


@pytest.fixture
def write(tmp_path):
    def write(content) -> str:
        path = tmp_path / "corrections.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content, indent=1))
        return str(path)

    return write


def corrected_rows(table, path, subset):
    return rows_of(table, CorrectionsFile.read(path), subset)


def test_rows_of_a_subset(table, write):
    path = write({"c5.wav": "remove", "c4.wav": "Meow,Zither", "c2.wav": "remove", "c1.wav": "Bark"})
    found = corrected_rows(table, path, "curated")
    np.testing.assert_array_equal(found.removed, [1, 4])
    np.testing.assert_array_equal(found.relabelled, [0, 3])  # c1 too, though its labels are the old ones
    np.testing.assert_array_equal(found.targets, [[0, 1, 0], [1, 0, 1]])
    assert found.removed.dtype == found.relabelled.dtype == np.int64
    assert found.targets.dtype == np.float32


def test_rows_of_the_noisy_subset(table, write):
    found = corrected_rows(table, write({"n2.wav": "Zither"}), "noisy")
    np.testing.assert_array_equal(found.relabelled, [7])
    assert len(found.removed) == 0


def test_nothing_to_correct(table, write):
    found = corrected_rows(table, write({}), "curated")
    assert found.removed.shape == found.relabelled.shape == (0,)
    assert found.targets.shape == (0, 3)


def test_labels_of_the_table_stay(table, write):
    before = table.targets()
    corrected_rows(table, write({"c1.wav": "Zither"}), "curated")
    np.testing.assert_array_equal(table.targets(), before)


def test_dropped_clips_are_passed_over(table, write):
    path = write({"c1.wav": "remove", "c2.wav": "Zither", "c3.wav": "Zither"})
    less = table.drop(["train_curated/c1.wav", "train_curated/c2.wav"])
    found = corrected_rows(less, path, "curated")
    assert len(found.removed) == 0
    np.testing.assert_array_equal(found.relabelled, [0])
    with pytest.raises(DatasetError, match="no noisy clip"):
        corrected_rows(less, write({"c1.wav": "remove"}), "noisy")


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        ('{"c1.wav": "remove",\n "c9.wav": "remove"}', 2, "no curated clip is named 'c9.wav'"),
        ('{"n1.wav": "remove"}', 1, "no curated clip is named 'n1.wav'"),
        ('{"c1.wav": "Bark",\n "c2.wav":\n "Barc"}', 2, "c2.wav: label 'Barc' is not one of the 3 classes"),
        ('{"c1.wav": "Bark,,Meow"}', 1, "an empty label"),
        ('{"c1.wav": "Bark,Bark"}', 1, "a label stands twice"),
        ('{"c1.wav": ""}', 1, "expected is one object"),
        ('{"c1.wav": null}', 1, "expected is one object"),
        ('{"c1.wav": ["Bark"]}', 1, "expected is one object"),
        ('{"c1.wav": "remove", "c1.wav": "Bark"}', 1, "stands twice"),
        ('[["c1.wav", "remove"]]', 1, "expected is one object"),
        ("[]", 1, "expected is one object"),
        ('"remove"', 1, "expected is one object"),
        ('{"c1.wav": "remove",\n c2.wav}', 2, "not valid JSON"),
        ("", 1, "not valid JSON"),
    ],
)
def test_faults(table, write, content, line, message):
    path = write(content)
    with pytest.raises(DatasetError) as error:
        corrected_rows(table, path, "curated")
    assert str(error.value).startswith(f"{path}:{line}: ")
    assert message in str(error.value)


def test_no_such_file_and_not_utf8(tmp_path):
    path = tmp_path / "none.json"
    with pytest.raises(ValueError, match=r"none\.json: No such file"):
        CorrectionsFile.read(str(path))
    path.write_bytes(b'{"b\xe4r.wav": "remove"}')
    with pytest.raises(ValueError, match="not UTF-8"):
        CorrectionsFile.read(str(path))


def test_a_byte_order_mark_is_passed_over_and_a_lost_text_is_named(table, write, tmp_path):
    path = tmp_path / "corrections.json"
    path.write_bytes(b'\xef\xbb\xbf{"c1.wav": "remove"}')
    np.testing.assert_array_equal(corrected_rows(table, str(path), "curated").removed, [0])
    lost = CorrectionsFile.read(str(path)).model_copy(update={"text": None})
    with pytest.raises(DatasetError, match=r"lost its copy of the corrections .*corrections\.json"):
        rows_of(table, lost, "curated")
