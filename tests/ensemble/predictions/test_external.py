"""Predictions from elsewhere: any order is right, everything else that does not fit is named."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from raytag.ensemble.predictions.external import read_external
from raytag.store.predictions import PredictionsError

CLASSES = ("bark", "clock", "hum", "NA", "rain")
CLIPS = tuple(f"{i:03d}" for i in range(6))  # numbers to whoever guesses types
TEST = ("100", "101", "102")
RNG = np.random.default_rng(0)
VALUES = RNG.random((9, 5)).astype(np.float32)
VALUES[0, :2] = 0, 1


def make_frame(fnames=(*CLIPS, *TEST)):
    frame = pd.DataFrame(VALUES[: len(fnames)], columns=list(CLASSES))
    frame.insert(0, "fname", list(fnames))
    return frame


def write(folder, frame, suffix=".csv"):
    path = folder / f"mine{suffix}"
    frame.to_csv(path, index=False) if suffix == ".csv" else frame.to_parquet(path, index=False)
    return path


def read(path, **changes):
    return read_external(path, **{"classes": CLASSES, "fnames": CLIPS, "test_fnames": TEST, **changes})


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("order", [1, -1])
def test_rows_and_columns_may_stand_in_any_order(tmp_path, suffix, order):
    frame = make_frame()
    found = read(write(tmp_path, frame.iloc[::order, ::order], suffix))
    assert found.name == "mine"
    assert found.oof.dtype == np.float32
    np.testing.assert_array_equal(found.oof, VALUES[:6])  # to the bit, through text too
    np.testing.assert_array_equal(found.test, VALUES[6:])


def test_test_clips_are_all_there_or_none(tmp_path):
    assert read(write(tmp_path, make_frame(CLIPS))).test is None
    with pytest.raises(PredictionsError, match=r"mine\.csv: .*some of the run's 3 test clips, but 2 .*first 101"):
        read(write(tmp_path, make_frame((*CLIPS, TEST[0]))))


def test_clips_that_the_run_could_not_use_are_left_out(tmp_path):
    path = write(tmp_path, make_frame())
    found = read(path, fnames=CLIPS[1:], ignored=["000"])
    np.testing.assert_array_equal(found.oof, VALUES[1:6])
    with pytest.raises(PredictionsError, match="neither curated nor test clips of the run, first '000'"):
        read(path, fnames=CLIPS[1:])


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path):
    path = write(tmp_path, make_frame())
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    np.testing.assert_array_equal(read(path).oof, VALUES[:6])


@pytest.mark.parametrize(
    "write_file",
    [
        lambda frame, path: frame.to_csv(path, sep=";", decimal=",", index=False),
        lambda frame, path: frame.to_csv(path, sep="\t", encoding="utf-16", index=False),
        lambda frame, path: frame.to_csv(path),
        lambda frame, path: frame.set_index("fname").to_csv(path),
        lambda frame, path: frame.set_index("fname").rename_axis(None).to_csv(path),
        lambda frame, path: frame.set_index("fname").to_parquet(path.with_suffix(".parquet")),
        lambda frame, path: frame.set_index("fname").rename_axis(None).to_parquet(path.with_suffix(".parquet")),
    ],
    ids=["semicolons", "utf-16", "row numbers", "index", "unnamed index", "parquet index", "unnamed parquet index"],
)
def test_files_as_pandas_and_spreadsheets_write_them(tmp_path, write_file):
    path = tmp_path / "mine.csv"
    write_file(make_frame(), path)
    found = read(path if path.exists() else path.with_suffix(".parquet"))
    np.testing.assert_allclose(found.oof, VALUES[:6], rtol=1e-6)
    np.testing.assert_allclose(found.test, VALUES[6:], rtol=1e-6)


def cell(row, column, value):
    def change(frame):
        frame = frame.astype(object)
        frame.loc[row, column] = value
        return frame

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: f.drop(columns="fname"), "no column 'fname'"),
        (
            lambda f: f.rename(columns={"fname": "fnames"}),
            "no column 'fname' (the closest that is there: 'fnames')",
        ),
        (
            lambda f: f.drop(columns="hum"),
            "1 of the run's 5 classes have no column, first 'hum'; names must",
        ),
        (lambda f: f.rename(columns={"rain": " Rain"}), "first 'rain' (the closest that is there: 'Rain')"),
        (lambda f: f.assign(drone=0.5, wind=0.5), "no class of the run: 'drone', 'wind'; remove them"),
        (lambda f: pd.concat([f, f["hum"]], axis=1), "column 'hum' stands twice"),
        (lambda f: pd.concat([f, f.iloc[2:3]]), "clip 002 stands twice"),
        (lambda f: f.iloc[2:], "2 of the run's 6 curated clips have no prediction, first 000"),
        (cell(1, "fname", "0O1"), "neither curated nor test clips of the run, first '0O1' (the closest"),
        (cell(4, "hum", 1.5), "clip 004, class 'hum': '1.5' is no probability"),
        (cell(4, "NA", -0.1), "clip 004, class 'NA': '-0.1'"),
        (cell(7, "bark", np.nan), "clip 101, class 'bark': ''"),
        (cell(5, "rain", "high"), "clip 005, class 'rain': 'high'"),
        (lambda f: f.iloc[:0], "only a header"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, change, words):
    with pytest.raises(PredictionsError) as raised:
        read(write(tmp_path, change(make_frame())))
    assert str(tmp_path / "mine.csv") in str(raised.value)
    assert words in str(raised.value)


def test_parquet_is_checked_as_well(tmp_path):
    with pytest.raises(PredictionsError, match=r"clip 003, class 'rain': .*nan.* is no probability"):
        read(write(tmp_path, make_frame().assign(rain=np.float32([0, 0, 0, np.nan, 0, 0, 0, 0, 0])), ".parquet"))


def test_other_files_are_refused(tmp_path):
    for name in ("mine.npy", "mine"):
        with pytest.raises(PredictionsError, match=r"are read from \.csv and \.parquet files"):
            read(tmp_path / name)
    with pytest.raises(PredictionsError, match="no such file"):
        read(tmp_path / "mine.csv")
    for name, content in (("mine.csv", b""), ("mine.csv", b"a,b\n1,2,3\n"), ("mine.parquet", b"PAR1")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(PredictionsError, match=f"{name}: cannot be read"):
            read(tmp_path / name)


def test_a_name_that_means_two_clips_is_refused(tmp_path):
    with pytest.raises(PredictionsError, match="a curated and a test clip named 000"):
        read(write(tmp_path, make_frame(CLIPS)), test_fnames=("000",))
