"""The demo: complete or not there, the same sounds every time, learnable."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from raytag.datasets import DatasetError, audit, demo, load, make_demo
from raytag.seeding import generator


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    return make_demo(tmp_path_factory.mktemp("demo") / "data" / "demo")


@pytest.fixture
def small(monkeypatch):
    """Builds of a few clips, for tests of the folder and not of the sounds."""
    monkeypatch.setattr(demo, "CURATED", 8)
    monkeypatch.setattr(demo, "NOISY", 2)
    monkeypatch.setattr(demo, "TEST", 2)


def digest(folder: Path) -> str:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    content = [(str(path.relative_to(folder)), hashlib.sha256(path.read_bytes()).hexdigest()) for path in files]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def test_it_is_a_dataset(built):
    table = load(built)
    found = audit(table)
    assert table.layout == "FSDKaggle2019"
    assert found.clips == {"curated": 160, "noisy": 120, "test": 80}
    assert table.classes == demo.CLASSES
    assert len(table.classes) == 10
    assert [fold.clips for fold in found.folds] == [40] * 4
    assert all(fold.absent == () for fold in found.folds)
    assert set(found.labels_per_clip) == {1, 2, 3}
    assert found.rates == {44100: 360}
    assert found.seconds[0] >= 0.39
    assert found.seconds[2] <= 3.0
    assert found.warnings == ()
    assert len(table.submission) == 80
    assert soundfile.info(table.clips["path"][0]).subtype == "PCM_16"


def test_truth_is_beside_and_half_of_the_noisy_labels_are_wrong(built):
    test = pd.read_csv(built / "truth" / "test.csv")
    assert list(test["fname"]) == list(load(built).submission)
    assert test["labels"].str.split(",").explode().isin(demo.CLASSES).all()
    truth = pd.read_csv(built / "truth" / "train_noisy.csv").set_index("fname")["labels"]
    given = pd.read_csv(built / "train_noisy.csv").set_index("fname")["labels"]
    assert 0.35 < (truth != given.loc[truth.index]).mean() < 0.65
    wrong = [(t.split(","), g.split(",")) for t, g in zip(truth, given.loc[truth.index], strict=True) if t != g]
    assert all(not set(t) & set(g) for t, g in wrong)


def test_the_same_bytes_every_time(built, tmp_path, monkeypatch):
    # the subsets are drawn apart, so one of them stands for all
    folder = tmp_path / "test"
    demo._write_subset(folder, 2, demo.TEST)
    assert digest(folder) == digest(built / "test")


@pytest.mark.parametrize("name", demo.CLASSES)
def test_every_kind_varies_and_is_finite(name):
    first, second = (demo.KINDS[name](generator(seed), 20000) for seed in (1, 2))
    for wave in (first, second):
        assert wave.shape == (20000,)
        assert np.isfinite(wave).all()
        assert np.abs(wave).max() > 0
    assert np.corrcoef(first, second)[0, 1] < 0.9
    np.testing.assert_array_equal(first, demo.KINDS[name](generator(1), 20000))


def test_clips_are_not_clipped_nor_silent(built):
    table = load(built)
    for path in table.clips["path"][::20]:
        wave = soundfile.read(path, dtype="int16")[0].astype(int)
        assert 1000 < np.abs(wave).max() < 32767


def test_a_second_call_builds_nothing(built, monkeypatch):
    monkeypatch.setattr(demo, "_build", lambda directory: pytest.fail("built again"))
    assert make_demo(built) == built


def test_an_older_demo_is_replaced(tmp_path, small):
    target = tmp_path / "demo"
    target.mkdir()
    (target / "demo.json").write_text('{"demo_version": 0}')
    (target / "old.wav").write_text("")
    make_demo(target)
    assert not (target / "old.wav").exists()
    assert len(load(target, n_folds=2, fold_method="stratified").rows("curated")) == 8


@pytest.mark.parametrize("marker", [None, "{", "{}", "[]"])
def test_another_folder_is_left_alone(tmp_path, marker):
    (tmp_path / "precious.txt").write_text("x")
    if marker is not None:
        (tmp_path / "demo.json").write_text(marker)
    with pytest.raises(DatasetError, match="is no demo dataset"):
        make_demo(tmp_path)
    assert (tmp_path / "precious.txt").read_text() == "x"


def test_a_file_is_left_alone(tmp_path):
    (tmp_path / "demo").write_text("x")
    with pytest.raises(DatasetError, match="is no demo dataset"):
        make_demo(tmp_path / "demo")


def test_an_empty_folder_is_filled(tmp_path, small):
    (tmp_path / "demo").mkdir()
    make_demo(tmp_path / "demo")
    assert (tmp_path / "demo" / "train_curated.csv").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]


def test_a_failed_build_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(demo, "synthesise", fail)
    with pytest.raises(OSError, match="no space"):
        make_demo(tmp_path / "demo")
    assert list(tmp_path.iterdir()) == []


def test_a_killed_build_is_never_taken_for_a_demo(tmp_path):
    target = tmp_path / "demo"
    code = f"from raytag.datasets import make_demo; make_demo({str(target)!r})"
    process = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".demo.*.tmp/train_curated/*.wav")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    (left,) = tmp_path.glob(".demo.*.tmp")
    assert not target.exists()
    os.utime(left, (0, 0))  # what an earlier hour left is cleared away
    make_demo(target)
    assert len(load(target)) == 360
    assert list(tmp_path.iterdir()) == [target]


def test_of_two_builders_one_is_faster(tmp_path, small, monkeypatch):
    target = tmp_path / "demo"
    build = demo._build

    def build_while_another_finishes(directory: Path) -> None:
        build(directory)
        monkeypatch.setattr(demo, "_build", build)
        make_demo(target)

    monkeypatch.setattr(demo, "_build", build_while_another_finishes)
    assert make_demo(target) == target
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]
