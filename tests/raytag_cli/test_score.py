"""raytag score: against brute force, wrong input named, leaderboards noted and held against cross-validation."""

from __future__ import annotations

import io
import json
import shutil

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from raytag.cli import main
from raytag.metrics import lwlrap, per_class_lwlrap
from raytag.store.public import noted_scores
from raytag.store.run import RunStore
from tests.ensemble.fakes import CLASSES, experiment, make_store, rewrite, simulate

TEST = [f"{i:03d}.wav" for i in range(48, 55)]  # what make_store predicts for
PROBABILITIES, TARGETS = simulate(3, 55, len(CLASSES))


def frame(fnames, values):
    return pd.DataFrame({"fname": list(fnames)} | dict(zip(CLASSES, np.asarray(values).T, strict=True)))


def add_ensemble(store, name, values, nested, submission=True):
    """An ensemble of these predictions for all 55 clips, in an order of its own."""
    storage = store.storage.sub(f"ensembles/{name}")
    storage.write_parquet("oof.parquet", frame([f"{i:03d}.wav" for i in range(48)], values[:48])[::-1])
    if submission:
        storage.write_csv("submission.csv", frame(TEST, values[48:])[::-1])
    storage.write_json("ensemble.json", {"in_sample": lwlrap(TARGETS[:48], values[:48]), "nested": nested})


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """The folder of runs that every test gets a copy of."""
    store = make_store(tmp_path_factory.mktemp("template"), n_models=3)
    add_ensemble(store, "older", PROBABILITIES.mean(axis=0), 0.8)
    add_ensemble(store, "newer", PROBABILITIES.min(axis=0), 0.7)
    return store.runs_dir


@pytest.fixture
def store(template, tmp_path, monkeypatch):
    """Three experiments and two ensembles, of which the older is the better."""
    shutil.copytree(template, tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return RunStore("runs", "fake")


def labels_of(rows):
    return [",".join(np.array(CLASSES)[row == 1]) for row in rows]


@pytest.fixture
def truth(tmp_path):
    """Writes a truth file of the test clips: their own labels with some changes; its path."""

    def write(**changes):
        table = pd.DataFrame({"fname": TEST, "labels": labels_of(TARGETS[48:])} | changes)
        table.to_csv(tmp_path / "truth.csv", index=False)
        return "truth.csv"

    return write


def score(capsys, *arguments):
    """The report of a command that must not fail."""
    assert main(["score", *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def fails(capsys, *arguments):
    """The one sentence of a command that must fail."""
    with pytest.raises(SystemExit, match="2"):
        main(["score", *map(str, arguments)])
    (line,) = capsys.readouterr().err.splitlines()
    return line.removeprefix("error: ")


def named(report):
    return {row["name"]: row for row in report["scores"]}


# -- what is computed --


def test_a_run_out_of_fold(store, capsys):
    report = score(capsys)
    expected = {experiment(m).id: PROBABILITIES[m] for m in range(3)}
    expected |= {"older": PROBABILITIES.mean(axis=0), "newer": PROBABILITIES.min(axis=0)}
    values = {name: lwlrap(TARGETS[:48], p[:48]) for name, p in expected.items()}
    assert {name: row["lwlrap"] for name, row in named(report).items()} == pytest.approx(values)
    assert [row["lwlrap"] for row in report["scores"]] == sorted(values.values(), reverse=True)
    assert report["of"] == max(values, key=values.get)
    assert report["interval"]["low"] < report["interval"]["value"] < report["interval"]["high"]
    assert (report["clips"], report["labels"], report["truth"]) == (48, TARGETS[:48].sum(), None)
    assert named(report)["older"]["nested"] == 0.8


def test_a_run_against_published_labels_and_by_class(store, truth, capsys):
    report = score(capsys, store.name, "--truth", truth(), "--of", "newer")
    blend = PROBABILITIES.min(axis=0)
    assert named(report)["newer"]["lwlrap"] == lwlrap(TARGETS[48:], blend[48:])
    assert named(report)[experiment(1).id]["lwlrap"] == lwlrap(TARGETS[48:], PROBABILITIES[1, 48:])
    assert named(report)[experiment(1).id]["cv_lwlrap"] == lwlrap(TARGETS[:48], PROBABILITIES[1, :48])
    for c, row in enumerate(report["by_class"]):
        own, p = TARGETS[48:, c], blend[48:, c]
        assert (row["class"], row["positives"]) == (CLASSES[c], own.sum())
        if own.any():
            assert row["lwlrap"] == per_class_lwlrap(TARGETS[48:], blend[48:])[0][c]
            assert row["average_precision"] == pytest.approx(average_precision_score(own, p))
            assert row["roc_auc"] == pytest.approx(roc_auc_score(own, p))
        else:  # a class without positives
            assert row["lwlrap"] is row["average_precision"] is row["roc_auc"] is None
    assert 0 in [row["positives"] for row in report["by_class"]]


def test_public_and_private_apart_and_together(store, truth, capsys):
    usage = ["Public", "private", "PRIVATE", "public", "Private", "Private", "Public"]
    report = score(capsys, "--truth", truth(Usage=usage), "--of", experiment(0).id)
    row, public = named(report)[experiment(0).id], np.array([u.lower() == "public" for u in usage])
    for part, rows in (("lwlrap", slice(None)), ("public", public), ("private", ~public)):
        assert row[part] == lwlrap(TARGETS[48:][rows], PROBABILITIES[0, 48:][rows])
        values, weight = per_class_lwlrap(TARGETS[48:][rows], PROBABILITIES[0, 48:][rows])
        assert [c[part] for c in report["by_class"]] == [
            v if w else None for v, w in zip(values, weight, strict=True)
        ]
    usage[1] = "Ignored"
    assert "truth.csv:3: usage 'Ignored' is neither Public nor Private" in fails(
        capsys, "--truth", truth(usage=usage)
    )
    report = score(capsys, "--truth", truth(usage="Private"))
    assert "public" not in report["scores"][0]
    assert report["scores"][0]["private"] == report["scores"][0]["lwlrap"]


def test_the_columns_of_the_published_labels(store, truth, capsys):
    more = {"usage": "Private", "freesound_id": range(7), "license": "CC0"}
    assert score(capsys, "--truth", truth(**more))["clips"] == 7


def test_clips_without_labels_are_left_out_with_a_note(store, truth, capsys):
    labels = labels_of(TARGETS[48:])
    labels[2] = ""
    report = score(capsys, "--truth", truth(labels=labels))
    kept = np.arange(7) != 2
    assert named(report)[experiment(0).id]["lwlrap"] == lwlrap(TARGETS[48:][kept], PROBABILITIES[0, 48:][kept])
    assert report["notes"] == ["left out, for truth.csv has no labels for them: 1 clip (050.wav)"]
    assert "no clip has a label" in fails(capsys, "--truth", truth(labels=""))


def test_one_clip_of_the_truth_is_enough(store, truth, tmp_path, capsys):
    truth()
    (tmp_path / "truth.csv").write_text("fname,labels\n049.wav,hum\n")
    report = score(capsys, "--truth", "truth.csv")
    assert named(report)[experiment(2).id]["lwlrap"] == lwlrap([np.isin(CLASSES, "hum")], PROBABILITIES[2, [49]])
    assert report["interval"] is None
    assert {row["roc_auc"] for row in report["by_class"]} == {None}
    assert report["notes"] == [
        "left out, for the truth file does not name them: 6 predicted clips (048.wav, 050.wav, 051.wav, 052.wav, "
        "053.wav, …)"
    ]
    assert main(["score", "--truth", "truth.csv"]) == 0


def test_a_submission_of_any_finite_numbers(store, truth, capsys):
    logits = np.log(PROBABILITIES[0, 48:].astype(np.float64))
    wanted = lwlrap(TARGETS[48:], logits)
    shuffled = frame(TEST, logits)[["fname", *CLASSES[::-1]]].iloc[::-1]
    shuffled.to_csv("mine.csv", index=False)
    shuffled.to_parquet("mine.parquet")
    for name in ("mine.csv", "mine.parquet"):
        (row,) = score(capsys, name, "--truth", truth())["scores"]
        assert (row["name"], row["lwlrap"], row["tied_pairs"]) == (name, wanted, 0)


def test_ties_cost_what_their_best_rank_shows(store, truth, capsys):
    frame(TEST, np.zeros((7, 5))).to_csv("mine.csv", index=False)
    (row,) = score(capsys, "mine.csv", "--truth", truth(labels="hum"))["scores"]
    assert (row["lwlrap"], row["best_rank"], row["tied_pairs"]) == (pytest.approx(0.2), 1.0, 28)


def test_clips_that_the_run_could_not_use_get_the_mean_row(store, truth, capsys):
    store.set_quarantine(pd.DataFrame({"clip": ["test/050.wav"], "reason": "silent"}))
    for m in range(3):
        for k in range(4):
            fold = store.fold(experiment(m).id, k)
            test = fold.test()
            rewrite(fold, "test.parquet", test[test["fname"] != "050.wav"])
    values = PROBABILITIES[0, 48:].astype(np.float64)
    values[2] = np.delete(values, 2, axis=0).mean(axis=0)
    report = score(capsys, "--truth", truth())
    assert named(report)[experiment(0).id]["lwlrap"] == pytest.approx(lwlrap(TARGETS[48:], values))
    assert report["notes"] == ["the run could not use 1 clip (050.wav): predicted by the mean row"]


def test_what_is_not_scored_is_named(store, truth, capsys):
    store.add(experiment(7))
    add_ensemble(store, "bare", PROBABILITIES[0], None, submission=False)
    store.storage.write("ensembles/begun/oof.parquet", b"")
    report = score(capsys, "--truth", truth())
    assert report["notes"] == [
        f"not scored, for some of their folds are not finished: 1 experiment ({experiment(7).id})",
        "not scored: ensemble bare, which has no submission.csv",
        "not scored: ensemble begun, which has no ensemble.json",
    ]


def test_a_run_without_test_clips_or_complete_experiments(tmp_path, truth, capsys):
    plain = make_store(tmp_path, n_models=1, n_test=0, name="plain")
    assert named(score(capsys, plain.storage.root)).keys() == {experiment(0).id}
    assert "run 'plain' has no test clips" in fails(capsys, plain.storage.root, "--truth", tmp_path / truth())
    begun = make_store(tmp_path, n_models=1, complete=False, name="begun")
    assert f"{experiment(0).id} lacks 1 of 4 folds (3)" in fails(capsys, begun.storage.root)


def test_the_labels_of_real_test_clips(shared, tmp_path, capsys):
    """Classes, commas and columns as make_fsd.py writes a truth file, from real recordings' labels."""
    table = pd.read_csv(shared / "data" / "esc10" / "esc10.csv")
    classes, rng = sorted(table["label"].unique()), np.random.default_rng(0)
    rows = table.sample(60, random_state=0).reset_index()
    rows["labels"] = [",".join(sorted({a, b})) for a, b in zip(rows["label"], rows["label"][::-1], strict=True)]
    rows["sources"] = rows["freesound_id"]
    rows[["fname", "labels", "sources"]].to_csv(tmp_path / "test.csv", index=False)
    values = rng.random((60, len(classes)))
    pd.DataFrame(values, columns=classes).assign(fname=rows["fname"]).to_csv(tmp_path / "mine.csv", index=False)
    targets = np.array([[c in text.split(",") for c in classes] for text in rows["labels"]])
    report = score(capsys, tmp_path / "mine.csv", "--truth", tmp_path / "test.csv")
    assert report["scores"][0]["lwlrap"] == lwlrap(targets, values)
    assert report["labels"] == targets.sum()


# -- what is wrong --


def test_missing_clips_and_classes_are_named(store, truth, capsys):
    mine = frame(TEST, PROBABILITIES[0, 48:])
    mine.iloc[2:].to_csv("mine.csv", index=False)
    error = fails(capsys, "mine.csv", "--truth", truth())
    assert error.startswith("mine.csv: no prediction for 2 clips (048.wav, 049.wav) of the truth file's 7")
    assert fails(capsys, "--truth", truth(fname=["x.wav", *TEST[1:]])).startswith(
        "run 'fake': no prediction for 1 clip"
    )
    mine.drop(columns=["hum", "rain"]).to_csv("mine.csv", index=False)
    error = fails(capsys, "mine.csv", "--truth", truth())
    assert error == "truth.csv: the predictions lack 2 classes (hum, rain) of it"
    error = fails(capsys, "--truth", truth(labels="Hum"))
    assert error == "truth.csv: the predictions lack 1 class (Hum) of it (the closest that is there: 'hum')"


@pytest.mark.parametrize(
    ("cell", "words"),
    [("", "clip 048.wav, class 'hum': '' is no finite number"), ("inf", "'inf' is no"), ("x", "'x' is no")],
)
def test_cells_that_are_no_numbers_are_named(store, truth, capsys, cell, words):
    mine = frame(TEST, PROBABILITIES[0, 48:]).astype(str)
    mine.loc[0, "hum"] = cell
    mine.to_csv("mine.csv", index=False)
    assert words in fails(capsys, "mine.csv", "--truth", truth())


def test_options_that_do_not_fit(store, truth, capsys):
    frame(TEST, PROBABILITIES[0, 48:]).to_csv("mine.csv", index=False)
    assert "give the labels with --truth FILE" in fails(capsys, "mine.csv")
    assert "but mine.csv is a file" in fails(capsys, "mine.csv", "--of", "older")
    assert "(the closest that is there: 'older')" in fails(capsys, "--of", "oldr")
    assert "give --public SCORE too" in fails(capsys, "--note", "x")
    assert "lies between 0 and 1" in fails(capsys, "--public", "nan")
    assert "notes the --public score of a SUBMISSION" in fails(capsys, "--run", "fake")
    assert "there is no such file" in fails(capsys, "none.csv", "--truth", truth())
    assert "no run 'none' in " in fails(capsys, "none")
    assert "No such file" in fails(capsys, "--truth", "none.csv")
    assert not store.storage.exists("public.csv")


# -- what leaderboards said --


def test_a_public_score_is_noted_for_the_newest_ensemble_or_what_is_named(store, capsys):
    for arguments in (
        ["--public", "0.5"],
        ["--public", "0.6", "--of", experiment(1).id, "--note", 'so, "so"\nit is'],
    ):
        report = score(capsys, store.name, *arguments)
    first, second = noted_scores(store.storage)
    assert (first["name"], first["score"], first["nested"], first["note"]) == ("newer", 0.5, 0.7, "")
    assert first["cv_lwlrap"] == lwlrap(TARGETS[:48], PROBABILITIES.min(axis=0)[:48])
    assert (second["name"], second["nested"], second["note"]) == (experiment(1).id, None, 'so, "so"\nit is')
    assert report["noted"] == [first, second]
    assert report["rank_correlation"] == {"n": 2, "spearman": None}
    assert main(["score"]) == 0
    assert "2 scores that have one: needs three" in capsys.readouterr().out


def test_the_rank_correlation_of_noted_scores_with_cv(store, capsys):
    """CV 0.7, 0.8 (nested) and three experiments; two of the five scores are tied."""
    cv = {"newer": 0.7, "older": 0.8} | {
        experiment(m).id: lwlrap(TARGETS[:48], PROBABILITIES[m, :48]) for m in range(3)
    }
    public = dict(zip(cv, [0.5, 0.6, 0.6, 0.4, 0.9], strict=True))
    for name, value in public.items():
        report = score(capsys, "--public", value, "--of", name)
    ranks = pd.DataFrame({"cv": cv, "public": public}).rank()
    expected = np.corrcoef(ranks["cv"], ranks["public"])[0, 1]
    assert report["rank_correlation"] == {"n": 5, "spearman": pytest.approx(expected)}
    assert main(["score", store.name]) == 0
    shown = capsys.readouterr().out
    assert f"5 scores that have one: {expected:+.2f}; so few say little" in shown
    assert "What leaderboards said" in shown


def test_equal_scores_have_no_rank_correlation(store, capsys):
    for m in range(3):
        score(capsys, "--public", 0.5, "--of", experiment(m).id)
    assert main(["score"]) == 0
    assert "3 scores that have one: undefined, for all are equal" in capsys.readouterr().out


def test_a_submission_is_noted_in_the_run_that_holds_it_or_is_named(store, truth, tmp_path, capsys):
    make_store(tmp_path, n_models=1, name="other")  # the newest run
    assert score(capsys, "runs/fake/ensembles/older/submission.csv", "--public", 0.4)["run"] == "fake"
    frame(TEST, PROBABILITIES[0, 48:]).to_csv("mine.csv", index=False)
    report = score(capsys, "mine.csv", "--public", 0.5, "--run", "fake", "--truth", truth())
    assert [(row["name"], row["nested"]) for row in report["noted"]] == [("older", 0.8), ("mine.csv", None)]
    assert report["rank_correlation"]["n"] == 1  # nobody knows the CV of mine.csv
    assert score(capsys, "mine.csv", "--public", 0.5)["run"] == "other"


def test_a_run_without_ensembles_says_what_to_name(tmp_path, capsys):
    folder = make_store(tmp_path, n_models=1).storage.root
    assert "say what was submitted with --of EXPERIMENT" in fails(capsys, folder, "--public", 0.5)


@pytest.mark.parametrize(
    "text", ["time,name,score\n1,2,3\n", "time,name,score,cv_lwlrap,nested,note\n,,x,,,\n", "a\n1\n"]
)
def test_a_file_of_notes_that_was_damaged_is_named(store, capsys, text):
    store.storage.write("public.csv", text.encode())
    assert "public.csv:2: " in fails(capsys)


def test_a_line_added_by_hand_is_kept(store, capsys):
    score(capsys, "--public", 0.5)
    by_hand = ",by hand,0.25,,,"
    store.storage.write("public.csv", store.storage.read("public.csv") + by_hand.encode())  # no line end
    score(capsys, "--public", 0.75)
    table = pd.read_csv(io.BytesIO(store.storage.read("public.csv")))
    assert table["score"].tolist() == [0.5, 0.25, 0.75]
    assert table["name"].tolist() == ["newer", "by hand", "newer"]
