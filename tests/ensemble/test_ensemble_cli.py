"""ensemble_search.py through the command line."""

from __future__ import annotations

import io
import json

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from raytag.ensemble.blend import geometric_mean
from raytag.ensemble.command import ensemble_search
from raytag.ensemble.nested import epoch_optimism
from raytag.ensemble.oof import load_oof
from raytag.ensemble.options import EnsembleOptions
from raytag.metrics import lwlrap
from raytag.store import RunStore
from tests.cli import run
from tests.ensemble.fakes import CLASSES, experiment, make_store

OPTIONS = ["--size", "1-3", "--stackers", "3", "--name", "first"]


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A run of five experiments, and what a search printed and wrote."""
    work = tmp_path_factory.mktemp("work")
    make_store(work)
    code, output = run("ensemble_search.py", *OPTIONS, cwd=work)
    (work / "output.txt").write_text(output)
    assert code == 0, output
    return work


def ensemble(work):
    return work / "runs" / "fake" / "ensembles" / "first"


def report(work):
    return json.loads((ensemble(work) / "ensemble.json").read_text())


def test_everything_is_written_and_its_path_printed(work):
    output = (work / "output.txt").read_text()
    files = ["ensemble.json", "oof.parquet", "stackers.csv", "submission.csv", "subsets.parquet"]
    assert sorted(p.name for p in ensemble(work).iterdir()) == files
    for words in (*(str(ensemble(work) / name) for name in files), "nested", "optimism", "Not covered"):
        assert words in output
    for name in report(work)["members"]:
        assert name in output


def test_the_report_tells_what_was_chosen_and_what_it_is_worth(work):
    found = report(work)
    for entry in (found, found["subset"], found["subset_and_stackers"], *found["baselines"].values()):
        assert entry["optimism"] == pytest.approx(entry["in_sample"] - entry["nested"])
    subset = found["subset"]
    assert subset["n_subsets"] == 5 + 10 + 10
    assert subset["in_sample"] >= found["baselines"]["best_single"]["in_sample"]
    assert set(subset["member_frequency"]) <= {experiment(m).id for m in range(5)}
    assert len(subset["chosen_without_fold"]) == 4
    assert found["subset_and_stackers"]["used"] == (found["subset_and_stackers"]["nested"] > subset["nested"])
    assert bool(found["stackers"]) == found["subset_and_stackers"]["used"]
    store = RunStore(str(work / "runs"), "fake")
    for member, value in found["epoch_optimism"]["members"].items():
        curves = [store.fold(member, k).curve() for k in range(4)]
        assert value == epoch_optimism(curves, found["n_labels"]) > 0
    assert found["n_worker_processes"] >= 1
    assert found["n_labels"] == [int(n) for n in np.bincount(np.arange(48) % 4, labels_per_clip(work))]


def labels_per_clip(work):
    return load_oof(RunStore(str(work / "runs"), "fake")).targets.sum(axis=1)


def test_best_subsets_are_listed_in_order(work):
    table = pd.read_parquet(ensemble(work) / "subsets.parquet")
    assert list(table.columns) == ["score", "size", "members", "fold_0", "fold_1", "fold_2", "fold_3"]
    assert len(table) == 25
    assert table["score"].is_monotonic_decreasing
    assert table["score"][0] == report(work)["subset"]["in_sample"]
    assert list(table["members"][0]) == report(work)["subset"]["members"]
    weights = report(work)["n_labels"]
    pooled = table[[f"fold_{k}" for k in range(4)]] @ np.array(weights) / sum(weights)
    np.testing.assert_allclose(pooled, table["score"])


def test_submission_has_the_sample_submissions_rows_and_columns(work):
    table = pd.read_csv(ensemble(work) / "submission.csv")
    assert list(table.columns) == ["fname", *CLASSES]
    assert list(table["fname"]) == [f"{i:03d}.wav" for i in range(54, 47, -1)]  # reversed, as in the sample
    oof = load_oof(RunStore(str(work / "runs"), "fake"))
    found = report(work)
    if not found["stackers"]:
        members = [oof.experiments.index(e) for e in found["members"]]
        expected = geometric_mean(oof.test[members])[::-1]
        np.testing.assert_allclose(table[list(CLASSES)], expected, rtol=1e-6)


def test_oof_of_the_final_blend_has_the_reported_score(work):
    table = pd.read_parquet(ensemble(work) / "oof.parquet")
    oof = load_oof(RunStore(str(work / "runs"), "fake"))
    assert list(table["fname"]) == list(oof.fnames)
    assert lwlrap(oof.targets, table[list(CLASSES)].to_numpy()) == pytest.approx(report(work)["in_sample"])


def test_stackers_are_listed(work):
    table = pd.read_csv(ensemble(work) / "stackers.csv")
    assert list(table["name"]) == ["stacker-000", "stacker-001", "stacker-002"]
    assert table["selected"].all()
    assert table["oof_lwlrap"].between(0, 1).all()


def quiet():
    return Console(file=io.StringIO())


def test_the_same_search_is_not_done_twice_and_another_needs_another_name(work):
    before = (ensemble(work) / "ensemble.json").read_bytes()
    console, runs_dir = quiet(), str(work / "runs")
    again = EnsembleOptions(runs_dir=runs_dir, size="1-3", stackers=3, name="first")
    assert ensemble_search(again, console) == 0
    assert "nothing to do" in console.file.getvalue()
    with pytest.raises(ValueError, match="another --name"):
        ensemble_search(EnsembleOptions(runs_dir=runs_dir, size="2", name="first"), quiet())
    assert (ensemble(work) / "ensemble.json").read_bytes() == before


def test_without_stackers_test_clips_or_a_given_name(ray_session, tmp_path):
    store = make_store(tmp_path, n_test=0, n_models=3, name="bare")
    options = EnsembleOptions(runs_dir=f"file://{tmp_path}/runs", run="bare", stackers=0)
    for name in ("ensemble-001", "ensemble-002"):
        assert ensemble_search(options, quiet()) == 0
        folder = tmp_path / "runs" / "bare" / "ensembles" / name
        assert sorted(p.name for p in folder.iterdir()) == ["ensemble.json", "oof.parquet", "subsets.parquet"]
        found = json.loads((folder / "ensemble.json").read_text())
        assert found["search"]["sizes"] == [1, 2, 3]
        assert found["subset_and_stackers"] is None
    assert store.storage.folders("ensembles") == ["ensemble-001", "ensemble-002"]


def test_one_fold_has_no_nested_score_and_no_stackers(ray_session, tmp_path):
    make_store(tmp_path, folds=1, n_models=2)
    console = quiet()
    assert ensemble_search(EnsembleOptions(runs_dir=str(tmp_path / "runs")), console) == 0
    assert "nothing could be left out" in console.file.getvalue()
    found = json.loads((tmp_path / "runs/fake/ensembles/ensemble-001/ensemble.json").read_text())
    assert found["nested"] is None
    assert found["in_sample"] > 0


def test_a_submitted_clip_without_prediction_gets_the_mean_row(ray_session, tmp_path):
    store = make_store(tmp_path, n_models=2)
    store.storage.write_json("run.json", store.run | {"submission": ["050.wav", "lost.wav", "048.wav"]})
    console = quiet()
    assert ensemble_search(EnsembleOptions(runs_dir=str(tmp_path / "runs"), stackers=0), console) == 0
    assert "first lost.wav" in console.file.getvalue()
    table = pd.read_csv(tmp_path / "runs/fake/ensembles/ensemble-001/submission.csv")
    assert list(table["fname"]) == ["050.wav", "lost.wav", "048.wav"]
    assert np.isfinite(table[list(CLASSES)]).all(axis=None)


def test_errors_name_the_way_out(tmp_path):
    make_store(tmp_path, complete=False, n_models=1, name="half")
    code, output = run("ensemble_search.py", cwd=tmp_path)
    assert code == 2
    assert "no experiment of run 'half' is complete" in output
    assert "lacks 1 of 4 folds (3)" in output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": "seven"}, "5 or 1-7"),
        ({"size": "3-1"}, "do not fall"),
        ({"size": "0-2"}, "start at 1"),
        ({"size": "6"}, "only 5 complete"),
    ],
)
def test_wrong_sizes(options, words):
    with pytest.raises(ValueError, match=words):
        EnsembleOptions(**options).sizes(5)


def test_sizes_end_at_the_number_of_experiments():
    assert EnsembleOptions().sizes(3) == (1, 2, 3)
    assert EnsembleOptions(size="2").sizes(3) == (2,)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"top": 0}, "--top"),
        ({"stackers": -1}, "--stackers"),
        ({"seed": -1}, "--seed"),
        ({"name": "a/b"}, "--name"),
    ],
)
def test_wrong_options(options, words):
    with pytest.raises(ValueError, match=words):
        EnsembleOptions(**options).check()
