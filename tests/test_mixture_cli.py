"""A mixture whose experiments have different features, by the command line: one launch, one race, one blend."""

from __future__ import annotations

import json

import pytest

from raytag.store.events import read_events
from raytag.store.files import Storage
from raytag.store.run import RunStore
from tests.cli import SMALL, run
from tests.recordings import make_folder

pytestmark = pytest.mark.long


def test_three_geometries_race_and_blend_in_one_launch(tmp_path):
    data = make_folder(tmp_path / "recordings")
    small = [*SMALL, "--set", "input.crop_frames=32", "--epochs", "2"]
    arguments = ["--space", "geometries", "--data", data, "--run", "r", "--num-samples", "5", "--keep", "2", *small]
    code, printed = run("launch.py", *arguments, cwd=tmp_path)
    assert code == 0, printed
    for number in (1, 2, 3):
        assert f"features: set {number} of 3: " in printed
    store = RunStore(str(tmp_path / "runs"), "r")
    experiments = [store.experiment(name) for name in store.experiments()]
    assert len(experiments) == 5
    assert {e.features.n_mels for e in experiments} == {128, 64, 96}
    assert len(list((tmp_path / "cache").iterdir())) == 3
    code, printed = run("launch.py", *arguments, cwd=tmp_path)
    assert code == 0, printed
    assert printed.count("34 clips cached, 0 to compute") == 3
    events = read_events(Storage(str(tmp_path / "runs" / "r")))
    folds = [(e["experiment"], e["fold"]) for e in events if e["event"] == "fold"]
    assert len(set(folds)) == len(folds)
    code, printed = run("ensemble_search.py", "--run", "r", "--stackers", "0", cwd=tmp_path)
    assert code == 0, printed
    report = json.loads((tmp_path / "runs" / "r" / "ensembles" / "ensemble-001" / "ensemble.json").read_text())
    assert set(report["members"]) <= set(store.complete())
