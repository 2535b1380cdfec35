"""raytag labels: from noisy labels to corrections that trainings take, nothing written over, nothing guessed."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch

from raytag import datasets
from raytag.blends.means.base import geometric_mean
from raytag.cli import main
from raytag.datasets.table import split_labels
from raytag.experiment import CorrectionsFile, Sampling
from raytag.features.sets.cached import cached_bank
from raytag.metrics import clip_precisions
from raytag.predict import predict, restored
from raytag.train.sources import split
from tests.small_runs import clean_and_noisy


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return clean_and_noisy(tmp_path_factory.mktemp("labels"))


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    return tmp_path


def labels(work, command, *arguments):
    run = () if command == "select" else ("--runs-dir", str(work.folder / "runs"))
    device = ("--device", "cpu") if command == "score" else ()
    return main(["labels", command, *map(str, arguments), *run, *device])


def refused(work, capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        labels(work, *arguments)
    assert end.value.code == 2
    return capsys.readouterr().err


def test_noisy_clips_are_rated_from_stored_weights_and_cached_features(work, here, capsys):
    assert labels(work, "score") == 0
    said = capsys.readouterr().out
    assert f"Left out: {work.ids['noisy']}: its models were trained on all 6 of them" in said
    assert f"6 noisy clips, each rated by 2 models of {work.ids['clean']}" in said
    assert "are below 0.5" in said
    contents, rows = work.store.contents(), work.table.rows("noisy")
    own = {clip: contents[clip] for clip in work.table.clips["clip"][rows]}
    bank = cached_bank(work.clean.features, str(work.folder / "cache"), own, None)
    feed, folds = work.clean.input.open(bank, work.clean.features), []
    for k in range(2):
        weights = work.store.fold(work.ids["clean"], k).weights()
        model = restored(work.clean, weights, 3, torch.device("cpu"))
        folds.append(predict(model, feed, np.arange(6), torch.device("cpu")))
    expected = clip_precisions(work.table.targets(rows), geometric_mean(np.stack(folds)))
    found = pd.read_csv("scores.csv")
    assert list(found) == ["fname", "labels", "score", "margin", "models"]
    assert found["margin"].is_monotonic_decreasing
    assert set(found["models"]) == {2}
    given = work.table.clips.iloc[rows].set_index("fname")["labels"]
    assert dict(zip(found["fname"], found["labels"], strict=True)) == given.to_dict()
    by_name = found.set_index("fname")["score"].loc[given.index]
    np.testing.assert_allclose(by_name, expected, atol=1e-6)
    assert labels(work, "score", "--json", "--force", "--experiment", work.ids["clean"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["experiments"] == [work.ids["clean"]]
    assert report["below_half"] == (expected < 0.5).sum()
    assert report["quantiles"]["50"] == pytest.approx(np.median(expected))


def test_what_cannot_be_rated_or_written_is_a_sentence(work, here, capsys):
    (here / "there.csv").write_text("mine")
    assert "trained on all 6" in refused(work, capsys, "score", "--experiment", work.ids["noisy"])
    assert "--force" in refused(work, capsys, "score", "--out", "there.csv")
    said = refused(work, capsys, "score", "--cache-dir", here / "elsewhere")
    assert "lacks 6 clips (train_noisy/n0.wav" in said
    assert "--cache-dir" in said
    assert "--of x: no such experiment" in refused(work, capsys, "list", "--of", "x")
    assert "--count 0" in refused(work, capsys, "list", "--count", 0)
    assert "s.csv: No such file" in refused(work, capsys, "select", "s.csv", "--count", 1)
    assert "--share" in refused(work, capsys, "select", "s.csv")
    assert [path.name for path in here.iterdir()] == ["there.csv"]
    assert (here / "there.csv").read_text() == "mine"


def test_listed_clips_are_edited_merged_and_trained_on(work, here, capsys):
    assert labels(work, "list", "--of", work.ids["clean"], "--count", 5) == 0
    assert "raytag labels merge doubtful.csv --run" in capsys.readouterr().out
    found = pd.read_csv("doubtful.csv", keep_default_na=False)
    assert list(found) == ["fname", "labels", "score", "margin", "predicted", "action"]
    folds = [work.store.fold(work.ids["clean"], k).oof() for k in range(2)]
    oof = pd.concat(folds).set_index("fname")
    curated = work.table.rows("curated")
    fnames = work.table.clips["fname"][curated]
    targets, p = work.table.targets(curated), oof.loc[fnames].to_numpy()
    scores = pd.Series(clip_precisions(targets, p), index=fnames)
    np.testing.assert_allclose(found["score"], scores[found["fname"]], atol=1e-6)
    above = np.log(np.where(targets > 0, p, 1).min(axis=1)) - np.log(np.where(targets > 0, 0, p).max(axis=1))
    np.testing.assert_allclose(found["margin"], np.sort(above)[:5], atol=1e-5)
    likeliest = oof.loc[found["fname"]].idxmax(axis=1)
    assert [words.split()[0] for words in found["predicted"]] == likeliest.tolist()
    found.loc[0, "action"], found.loc[2, "action"] = "remove", "tone, noise"
    found.to_csv("edited.csv", index=False)
    other = next(fname for fname in fnames if fname not in set(found["fname"]))
    (here / "older.json").write_text(json.dumps({other: "clicks"}))
    assert labels(work, "merge", "edited.csv", "older.json", "--run", "small") == 0
    assert "3 clips, 1 of them removed" in capsys.readouterr().out
    sampling = Sampling(curated_corrections=CorrectionsFile.read("corrections.json"))
    sources = [split(work.table, sampling, fold).sources[0] for fold in range(2)]  # each of the clips of the other
    every = work.table.clips["fname"].to_numpy()
    targets = {f: own for source in sources for f, own in zip(every[source.rows], source.targets, strict=True)}
    assert found["fname"][0] not in targets
    assert targets[found["fname"][2]].tolist() == [0, 1, 1]
    assert targets[other].tolist() == [1, 0, 0]


def test_conflicts_write_nothing_unless_one_file_is_preferred(work, here, capsys):
    (here / "a.csv").write_text("fname,action\nc000.wav,remove\nc001.wav,tone\n")
    (here / "b.json").write_text('{"c000.wav": "noise"}')
    assert labels(work, "merge", "a.csv", "b.json") == 1
    said = capsys.readouterr().out
    assert "c000.wav: a.csv:2 says remove; b.json:1 says noise" in said
    assert "nothing is written" in said
    assert not (here / "corrections.json").exists()
    assert labels(work, "merge", "a.csv", "b.json", "--json") == 1
    assert json.loads(capsys.readouterr().out)["conflicts"][0]["fname"] == "c000.wav"
    assert labels(work, "merge", "a.csv", "b.json", "--prefer", "last") == 0
    assert json.loads((here / "corrections.json").read_text()) == {"c000.wav": "noise", "c001.wav": "tone"}
    (here / "a.csv").write_text("fname,action\nc000.wav,Tone\n")
    assert "a.csv:2: c000.wav: label 'Tone' is not one of" in refused(
        work, capsys, "merge", "a.csv", "--run", "small", "--force"
    )
    (here / "a.csv").write_text("fname,action\nc000.wav,tone\nx.wav,tone\n")
    said = refused(work, capsys, "merge", "a.csv", "--run", "small", "--force")
    assert "a.csv:3: run 'small' has no clip named 'x.wav'" in said
    assert len(json.loads((here / "corrections.json").read_text())) == 2


def test_what_is_selected_is_better_labelled_and_drawn_as_curated(work, here, capsys):
    """On the demo's truth, with a made-up score that knows a little of it."""
    table = datasets.load(datasets.make_demo(here / "data" / "demo"))
    truth = pd.read_csv(here / "data/demo/truth/train_noisy.csv").set_index("fname")["labels"]
    noisy = table.clips.iloc[table.rows("noisy")]
    right = {f: split_labels(own) for f, own in zip(noisy["fname"], noisy["labels"], strict=True)}
    precision = pd.Series({f: np.mean([label in truth[f].split(",") for label in own]) for f, own in right.items()})
    rng = np.random.default_rng(0)
    scores = (precision + rng.normal(0, 0.5, len(precision))).clip(0, 1)
    noisy[["fname", "labels"]].assign(score=0.5, margin=scores.to_numpy()).to_csv("scores.csv", index=False)
    assert labels(work, "select", "scores.csv", "--share", 0.5) == 0
    assert "Kept 60 of 120 clips" in capsys.readouterr().out
    chosen = json.loads((here / "noisy_corrections.json").read_text())
    kept = [fname for fname, action in chosen.items() if action != "remove"]
    assert len(chosen) == 120
    assert len(kept) == 60
    assert precision[kept].mean() > precision.mean() + 0.1
    assert {fname: chosen[fname] for fname in kept} == noisy.set_index("fname")["labels"].loc[kept].to_dict()
    sampling = Sampling(noisy_corrections=CorrectionsFile.read("noisy_corrections.json"), corrected_noisy_prob=0.4)
    source = split(table, sampling, 0).sources[-1]
    assert source.name == "corrected_noisy"
    assert set(table.clips["fname"].to_numpy()[source.rows]) == set(kept)
    np.testing.assert_array_equal(source.targets, table.targets(source.rows))
    assert (
        labels(work, "select", "scores.csv", "--count", 60, "--rest", "keep", "--out", "kept.json", "--json") == 0
    )
    assert json.loads(capsys.readouterr().out)["kept"] == 60
    assert json.loads((here / "kept.json").read_text()).keys() == set(kept)


@pytest.mark.parametrize("command", ["score", "select", "list", "merge"])
def test_each_help_has_an_example(command, capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["labels", command, "--help"])
    shown = capsys.readouterr().out
    assert f"\n    raytag labels {command} " in shown
    assert "--force" in shown
