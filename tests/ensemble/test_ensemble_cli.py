"""ensemble_search.py through the command line."""

from __future__ import annotations

import contextlib
import io
import json
import os
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from raytag.blends.means.base import blend
from raytag.cluster.tasks import keep_workers
from raytag.ensemble import command
from raytag.ensemble.choose.left_out import epoch_optimism
from raytag.ensemble.choose.ways import WAYS
from raytag.ensemble.command import ensemble_search
from raytag.ensemble.options import EnsembleOptions
from raytag.ensemble.predictions.oof import load_oof
from raytag.ensemble.stackers.case import LinearConfig, StackerConfig, predict_stacker
from raytag.metrics import lwlrap
from raytag.store.files import Storage
from raytag.store.fold import FoldStore
from raytag.store.lease import Lease, LeaseError, place
from raytag.store.run import RunStore
from tests.cli import call, run
from tests.ensemble.fakes import CLASSES, add_windows, experiment, make_store

FILES = ["ensemble.json", "oof.parquet", "sizes.csv", "sizes.png", "subsets.parquet"]
OPTIONS = ["--size", "1-3", "--stackers", "3", "--name", "first"]


@pytest.fixture(scope="module")
def workers(ray_session):
    """The processes of one search serve the next."""
    with keep_workers():
        yield


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
    files = [*FILES, "stackers", "stackers.csv", "submission.csv"]
    assert sorted(p.name for p in ensemble(work).iterdir()) == sorted(files)
    for words in (*(str(ensemble(work) / name) for name in files), "nested", "optimism", "Not covered"):
        assert words in output
    assert report(work)["verdict"] in " ".join(output.split())
    log = (work / "runs" / "fake" / "log.txt").read_text()
    assert "--- ensemble search, raytag" in log
    assert report(work)["verdict"] in log
    for name in report(work)["members"]:
        assert name in output


def test_the_report_tells_what_was_chosen_and_what_it_is_worth(work):
    found = report(work)
    ways = found["ways"]
    assert list(ways) == list(WAYS)
    for entry in (found, *ways.values()):
        assert entry["optimism"] == pytest.approx(entry["in_sample"] - entry["nested"])
        low, high = entry["nested_interval"]
        assert low < entry["nested"] < high
    subset = ways["subset"]
    assert found["subset_search"]["n_subsets"] == 5 + 10 + 10
    assert found["subset_search"]["exact_sizes"] == [1, 2, 3]
    assert ways["weighted"]["in_sample"] >= subset["in_sample"] >= ways["single"]["in_sample"]
    assert found["subset_search"]["bound"] >= ways["weighted"]["in_sample"]
    assert set(subset["member_frequency"]) <= {experiment(m).id for m in range(5)}
    assert len(subset["chosen_without_fold"]) == 4
    assert sorted(found["decided_without_fold"]) == ["0", "1", "2", "3"]
    assert set(found["decided_without_fold"].values()) <= set(ways)
    assert found["search"]["way"] == "auto"
    for name in ("to_single", "to_single_own"):
        assert found[name]["low"] <= found[name]["value"] <= found[name]["high"]
    gaps = [found["nested"] - ways["single"][kind] for kind in ("nested", "in_sample")]
    assert [found["to_single"]["value"], found["to_single_own"]["value"]] == pytest.approx(gaps)
    assert found["interval_by"] == ["fold", "clip"]
    assert any("other models" in text or "first-level models" in text for text in found["not_covered"])
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
    assert table["score"][0] == pytest.approx(report(work)["ways"]["subset"]["in_sample"], abs=1e-12)
    assert set(table["members"][0]) == set(report(work)["ways"]["subset"]["members"])
    weights = report(work)["n_labels"]
    pooled = table[[f"fold_{k}" for k in range(4)]] @ np.array(weights) / sum(weights)
    np.testing.assert_allclose(pooled, table["score"])


def test_submission_has_the_sample_submissions_rows_and_columns(work):
    table = pd.read_csv(ensemble(work) / "submission.csv")
    assert list(table.columns) == ["fname", *CLASSES]
    assert list(table["fname"]) == [f"{i:03d}.wav" for i in range(54, 47, -1)]  # reversed, as in the sample
    oof = load_oof(RunStore(str(work / "runs"), "fake"))
    found = report(work)
    weights = [found["members"].get(e, 0) for e in oof.experiments]
    stored = [
        pd.read_parquet(ensemble(work) / "stackers" / name / f"fold_{k}" / "test.parquet")[list(CLASSES)].to_numpy()
        for k, names in found["stackers"].items()
        for name in names
    ]
    inputs = np.stack([*oof.test, *stored])
    expected = blend(inputs, "geometric", [*weights, *[0.25] * len(stored)])[::-1]
    np.testing.assert_allclose(table[list(CLASSES)], expected, rtol=1e-6)


def test_oof_of_the_final_blend_has_the_reported_score(work):
    table = pd.read_parquet(ensemble(work) / "oof.parquet")
    oof = load_oof(RunStore(str(work / "runs"), "fake"))
    assert list(table["fname"]) == list(oof.fnames)
    assert lwlrap(oof.targets, table[list(CLASSES)].to_numpy()) == pytest.approx(report(work)["in_sample"])


def test_best_of_each_size(work):
    table = pd.read_csv(ensemble(work) / "sizes.csv")
    assert list(table["size"]) == [1, 2, 3]
    assert table["exact"].all()
    assert (table["nested"] > 0.3).all()
    best = pd.read_parquet(ensemble(work) / "subsets.parquet").groupby("size")["score"].max()
    np.testing.assert_allclose(table["in_sample"], best)
    assert (ensemble(work) / "sizes.png").read_bytes().startswith(b"\x89PNG")


def test_second_level_models_are_stored_and_predict_again(work):
    table = pd.read_csv(ensemble(work) / "stackers.csv")
    assert set(table["fold"]) == {0, 1, 2, 3}
    kept = table[table["kept"]]
    assert set(kept["family"]) == {"mlp", "linear"}
    oof = load_oof(RunStore(str(work / "runs"), "fake"))
    for row in kept.itertuples():
        store = FoldStore(Storage(str(ensemble(work) / "stackers" / row.name / f"fold_{row.fold}")))
        assert store.finished
        result = store.result()
        members = [oof.experiments.index(e) for e in result["members"]]
        rows = np.flatnonzero(oof.fold == row.fold)
        config = (LinearConfig if row.family == "linear" else StackerConfig)(**result["config"])
        again = predict_stacker(config, store.weights(), oof.test[members])
        np.testing.assert_allclose(again, store.test()[list(CLASSES)], atol=1e-6)
        assert list(store.oof()["fname"]) == [oof.fnames[i] for i in rows]


def test_windows_are_learnt_from_and_make_another_search(workers, tmp_path):
    """Said once where a member has none; once all have them, the same name is that of another search."""
    store = make_store(tmp_path, n_models=2)
    options = EnsembleOptions(runs_dir=str(tmp_path / "runs"), size="2", stackers=1, way="mlp", name="mine")
    words = "Networks learn from means over all tiles"

    def result(**changes):
        console = Console(file=io.StringIO(), width=1000)
        assert ensemble_search(replace(options, **changes), console) == 0
        tables = store.storage.sub(f"ensembles/{changes.get('name', 'mine')}").read_json("ensemble.json")
        return console.file.getvalue(), tables["search"]

    text, search = result()
    assert text.count(words) == 1
    assert [search[key] for key in ("windows", "faithful", "stackers_from")] == [[], False, "raytag"]
    assert "nothing to do" in result()[0]
    assert words not in result(name="linear", stackers=0, way="subset")[0]
    for m in range(2):
        add_windows(store, experiment(m).id)
        text = result(name=f"windows{m}")[0]
        assert (words in text) == (m == 0)
        assert (experiment(1).id + " (without windows" in text) == (m == 0)
    assert result(name="windows1")[1]["windows"] == sorted(experiment(m).id for m in range(2))
    with pytest.raises(ValueError, match="other options"):
        result()


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


def test_without_stackers_test_clips_or_a_given_name(workers, tmp_path):
    store = make_store(tmp_path, n_test=0, n_models=3, name="bare")
    options = EnsembleOptions(runs_dir=f"file://{tmp_path}/runs", run=("bare",), stackers=0)
    for name in ("ensemble-001", "ensemble-002"):
        assert ensemble_search(options, quiet()) == 0
        folder = tmp_path / "runs" / "bare" / "ensembles" / name
        assert sorted(p.name for p in folder.iterdir()) == FILES
        found = json.loads((folder / "ensemble.json").read_text())
        assert found["search"]["sizes"] == [1, 2, 3]
        assert list(found["ways"]) == ["single", "few", "subset", "greedy", "weighted"]
    assert store.storage.folders("ensembles") == ["ensemble-001", "ensemble-002"]


def test_two_searches_at_once_both_keep_their_result(workers, tmp_path, monkeypatch):
    """The second one runs from start to end while the first one searches; a third was killed before both."""
    store = make_store(tmp_path, n_models=3, n_test=0)
    killed = store.storage.sub("ensembles/ensemble-001")
    killed.write_json("lease.json", {"id": "x", **place(), "pid": 2**22 + 1, "since": 0.0, "beat": time.time()})
    killed.write("stackers/old/fold_0/result.json", b"{}")
    killed.write("submission.csv", b"old")
    search, options = command.search_ensemble, EnsembleOptions(runs_dir=str(tmp_path / "runs"), stackers=0)

    def search_beside(*given):
        monkeypatch.setattr(command, "search_ensemble", search)
        assert ensemble_search(replace(options, blend="rank"), quiet()) == 0
        with pytest.raises(LeaseError, match=rf"'ensemble-001' of run 'fake'.*process {os.getpid()} .*--name"):
            ensemble_search(replace(options, name="ensemble-001", seed=1), quiet())
        return search(*given)

    monkeypatch.setattr(command, "search_ensemble", search_beside)
    assert ensemble_search(options, quiet()) == 0
    folders = [tmp_path / f"runs/fake/ensembles/ensemble-00{n}" for n in (1, 2)]
    blends = [json.loads((folder / "ensemble.json").read_text())["search"]["blend"] for folder in folders]
    assert blends == ["geometric", "rank"]
    for folder in folders:
        assert sorted(path.name for path in folder.iterdir()) == FILES


def test_a_search_that_fails_leaves_no_name_behind(tmp_path, monkeypatch):
    store = make_store(tmp_path, n_models=2)

    def fail(*given):
        assert store.storage.exists("ensembles/ensemble-001/lease.json")
        raise RuntimeError("it broke")

    monkeypatch.setattr(command, "search_ensemble", fail)
    monkeypatch.setattr(command, "ray_session", lambda address: contextlib.nullcontext(lambda: None))
    with pytest.raises(RuntimeError, match="it broke"):
        ensemble_search(EnsembleOptions(runs_dir=str(tmp_path / "runs")), quiet())
    assert store.storage.folders("ensembles") == []


def test_a_search_whose_name_was_taken_while_the_machine_slept_keeps_its_result(workers, tmp_path, monkeypatch):
    make_store(tmp_path, n_models=2)
    search = command.search_ensemble

    def sleep(*given):
        leases[0].lost = True
        return search(*given)

    leases = []
    monkeypatch.setattr(command, "search_ensemble", sleep)
    monkeypatch.setattr(command, "Lease", lambda *given: leases.append(Lease(*given)) or leases[-1])
    console = quiet()
    options = EnsembleOptions(runs_dir=str(tmp_path / "runs"), stackers=0, name="mine")
    assert ensemble_search(options, console) == 0
    assert "took the name mine" in console.file.getvalue()
    assert (tmp_path / "runs/fake/ensembles/ensemble-001/ensemble.json").exists()
    assert not (tmp_path / "runs/fake/ensembles/mine").exists()


def test_one_fold_has_no_nested_score_and_no_stackers(workers, tmp_path):
    make_store(tmp_path, folds=1, n_models=2)
    console = quiet()
    assert ensemble_search(EnsembleOptions(runs_dir=str(tmp_path / "runs")), console) == 0
    assert "nothing could be left out" in console.file.getvalue()
    found = json.loads((tmp_path / "runs/fake/ensembles/ensemble-001/ensemble.json").read_text())
    assert found["nested"] is None
    assert found["in_sample"] > 0


def test_a_submitted_clip_without_prediction_gets_the_mean_row(workers, tmp_path):
    store = make_store(tmp_path, n_models=2)
    store.storage.write_json("run.json", store.run | {"submission": ["050.wav", "lost.wav", "048.wav"]})
    console = quiet()
    assert ensemble_search(EnsembleOptions(runs_dir=str(tmp_path / "runs"), stackers=0), console) == 0
    assert "first lost.wav" in console.file.getvalue()
    table = pd.read_csv(tmp_path / "runs/fake/ensembles/ensemble-001/submission.csv")
    assert list(table["fname"]) == ["050.wav", "lost.wav", "048.wav"]
    assert np.isfinite(table[list(CLASSES)]).all(axis=None)


def test_runs_and_outside_predictions_join(workers, tmp_path):
    store = make_store(tmp_path, n_models=2, name="mine")
    make_store(tmp_path, n_models=3, name="yours")
    oof = load_oof(store)
    theirs = pd.DataFrame(np.concatenate([oof.probabilities[0], oof.test[0]]), columns=list(CLASSES))
    theirs.insert(0, "fname", [*oof.fnames, *oof.test_fnames])
    theirs.to_csv(tmp_path / "theirs.csv", index=False)
    options = EnsembleOptions(
        runs_dir=str(tmp_path / "runs"),
        run=("mine", "yours"),
        predictions=(str(tmp_path / "theirs.csv"),),
        stackers=0,
    )
    console = quiet()
    assert ensemble_search(options, console) == 0
    found = json.loads((tmp_path / "runs/mine/ensembles/ensemble-001/ensemble.json").read_text())
    # two experiments of both runs are the same
    assert sorted(found["experiments"]) == sorted(
        [f"mine/{experiment(0).id}", f"mine/{experiment(1).id}", f"yours/{experiment(2).id}", "theirs"]
    )
    assert found["experiments"]["theirs"] == found["experiments"][f"mine/{experiment(0).id}"]
    assert any("theirs" in note for note in found["notes"])
    assert (tmp_path / "runs/mine/ensembles/ensemble-001/submission.csv").exists()


def test_errors_name_the_way_out(tmp_path):
    make_store(tmp_path, complete=False, n_models=1, name="half")
    code, output = call("ensemble_search.py", cwd=tmp_path)
    assert code == 2
    assert "no experiment of run 'half' is complete" in output
    assert "lacks 1 of 4 folds (3)" in output


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
        ({"stacker_draws": 0}, "--stacker-draws 0"),
        ({"faithful": True}, r"--faithful --way auto: .*--way subset\+mlp"),
        ({"faithful": True, "way": "linear"}, "--faithful --way linear"),
        ({"seed": -1}, "--seed"),
        ({"name": "a/b"}, "--name"),
        ({"budget": "soon"}, "--budget .*45m"),
    ],
)
def test_wrong_options(options, words):
    with pytest.raises(ValueError, match=words):
        EnsembleOptions(**options).check()
