"""Experiments with other features, inputs and networks, by the command line: one launch, one race, one blend."""

from __future__ import annotations

import json

import pytest

from raytag.store.events import read_events
from raytag.store.files import Storage
from raytag.store.run import RunStore
from tests.cli import SMALL, run
from tests.recordings import make_folder

pytestmark = pytest.mark.long


SPACE = """
SPACES = [
    (1, "specaug_mixup"),
    (1, "specaug_mixup", {"features.n_mels": 64, "features.n_fft": 1024, "features.hop_length": 512}),
    (1, "waveforms"),
]
"""


def test_two_geometries_and_waveforms_race_and_blend_in_one_launch(tmp_path):
    data = make_folder(tmp_path / "recordings")
    (tmp_path / "three.py").write_text(SPACE)
    small = [*SMALL, "--set", "input.crop_frames=32", "--set", "input.crop_seconds=0.5", "--epochs", "2"]
    arguments = ["--space", "three.py", "--data", data, "--run", "r", "--num-samples", "5", "--keep", "5", *small]
    code, printed = run("launch.py", *arguments, cwd=tmp_path)
    assert code == 0, printed
    for number in (1, 2, 3):
        assert f"features: set {number} of 3: " in printed
    store = RunStore(str(tmp_path / "runs"), "r")
    experiments = [store.experiment(name) for name in store.experiments()]
    assert len(experiments) == 5
    assert [e.features.name for e in experiments].count("Waveforms") < 5
    assert {e.sample_shape for e in experiments} >= {(3, 128, 32), (3, 64, 32), (1, 64, 44)}
    assert len(list((tmp_path / "cache").iterdir())) == 3
    code, printed = run("launch.py", *arguments, cwd=tmp_path)
    assert code == 0, printed
    assert printed.count("34 clips cached, 0 to compute") == 3
    events = read_events(Storage(str(tmp_path / "runs" / "r")))
    folds = [(e["experiment"], e["fold"]) for e in events if e["event"] == "fold"]
    assert len(set(folds)) == len(folds)
    assert len({store.experiment(name).features.name for name in store.complete()}) == 2
    everyone = ["--size", "5", "--way", "subset", "--stackers", "0"]
    code, printed = run("ensemble_search.py", "--run", "r", *everyone, cwd=tmp_path)
    assert code == 0, printed
    report = json.loads((tmp_path / "runs" / "r" / "ensembles" / "ensemble-001" / "ensemble.json").read_text())
    assert set(report["members"]) == set(store.complete())
