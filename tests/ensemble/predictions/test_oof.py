"""Reading a run's predictions: complete experiments only, aligned by clip, wrong files named."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from raytag.blends.means.base import geometric_mean
from raytag.ensemble.predictions.oof import EnsembleError, load_oof
from raytag.ensemble.scores import of_run
from tests.ensemble import fakes
from tests.ensemble.fakes import CLASSES, experiment, make_store, simulate


def rewrite(store, model, fold, change, file="oof.parquet"):
    whole = store.fold(experiment(model).id, fold)
    fakes.rewrite(whole, file, change(whole.oof() if file == "oof.parquet" else whole.test()))


def test_predictions_are_aligned_by_clip(tmp_path):
    store = make_store(tmp_path)
    store.add(experiment(99))  # not complete: left out
    oof = load_oof(store)
    probabilities, targets = simulate(5, 55, len(CLASSES))
    assert oof.experiments == tuple(sorted(experiment(m).id for m in range(5)))
    for m in range(5):
        row = oof.experiments.index(experiment(m).id)
        np.testing.assert_array_equal(oof.probabilities[row], probabilities[m, :48])
        # four fold models predicted the same here, so their geometric mean is that prediction
        np.testing.assert_allclose(oof.test[row], probabilities[m, 48:], rtol=1e-6)
    np.testing.assert_array_equal(oof.targets, targets[:48])
    np.testing.assert_array_equal(oof.fold, np.arange(48) % 4)
    assert oof.probabilities.dtype == oof.test.dtype == np.float32
    assert oof.test_fnames == tuple(f"{i:03d}.wav" for i in range(48, 55))


def test_test_predictions_are_the_geometric_mean_over_folds(tmp_path):
    store = make_store(tmp_path, n_models=1)
    for k in range(4):
        rewrite(store, 0, k, lambda f, k=k: f.assign(bark=np.float32(0.1 * 2**k)), "test.parquet")
    expected = geometric_mean([0.1, 0.2, 0.4, 0.8])
    np.testing.assert_allclose(load_oof(store).test[0, :, 0], expected, rtol=1e-6)


def test_no_test_clips(tmp_path):
    oof = load_oof(make_store(tmp_path, n_test=0))
    assert oof.test is None
    assert oof.test_fnames == ()


def test_quarantined_clips_have_no_predictions(tmp_path):
    store = make_store(tmp_path)
    lost = pd.DataFrame({"clip": ["train/003.wav", "test/050.wav"], "reason": "silent"})
    store.set_quarantine(lost)
    with pytest.raises(EnsembleError, match=r"fold 3 .*do not belong there, first 003\.wav"):
        load_oof(store)
    for m in range(5):
        rewrite(store, m, 3, lambda f: f[f["fname"] != "003.wav"])
        for k in range(4):
            rewrite(store, m, k, lambda f: f[f["fname"] != "050.wav"], "test.parquet")
    oof = load_oof(store)
    assert "003.wav" not in oof.fnames
    assert "050.wav" not in oof.test_fnames
    assert len(oof.fnames) == oof.probabilities.shape[1] == 47


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: f[f["fname"] != "005.wav"], "1 clips have no prediction, first 005.wav"),
        (lambda f: pd.concat([f, f.iloc[:1]]), "stands twice"),
        (lambda f: f.assign(hum=np.float32(np.nan)), "class 'hum': .*nan.* is no probability"),
        (lambda f: f.assign(hum=np.float32(3.0)), "is no probability between 0 and 1"),
        (lambda f: f.rename(columns={"hum": "drone"}), "drone"),
        (lambda f: f[["fname", *reversed(CLASSES)]], "columns"),
    ],
)
def test_wrong_files_are_named(tmp_path, change, words):
    store = make_store(tmp_path, n_models=3)
    rewrite(store, 2, 1, change)
    with pytest.raises(EnsembleError, match=words) as raised:
        load_oof(store)
    assert f"{experiment(2).id} fold 1" in str(raised.value)


def two_runs(folder, **changes):
    return [make_store(folder, name="a", n_models=1), make_store(folder, name="b", **{"n_models": 1, **changes})]


def test_several_runs_make_one_matrix(tmp_path):
    """One experiment is in both runs."""
    a = make_store(tmp_path, name="a", n_models=4, models=(0, 3))
    b = make_store(tmp_path, name="b", n_models=4, models=(1, 2, 3))
    oof = load_oof([a, b])
    expected = [("a", 0), ("a", 3), ("b", 1), ("b", 2)]
    assert oof.experiments == tuple(sorted(f"{run}/{experiment(m).id}" for run, m in expected))
    assert oof.origin == tuple(({"a": a, "b": b}[name[0]], name[2:]) for name in oof.experiments)
    probabilities, _ = simulate(4, 55, len(CLASSES))
    for m in range(4):
        row = [name[2:] for name in oof.experiments].index(experiment(m).id)
        np.testing.assert_array_equal(oof.probabilities[row], probabilities[m, :48])
        np.testing.assert_allclose(oof.test[row], probabilities[m, 48:], rtol=1e-6)
    (note,) = oof.notes
    assert note.startswith("1 experiments of run 'b' are complete in a run named before it too")
    assert experiment(3).id in note
    single = load_oof([a])
    assert single.experiments == tuple(sorted(experiment(m).id for m in (0, 3)))
    assert single.origin == tuple((a, name) for name in single.experiments)
    assert single.notes == ()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"folds": 3}, "4 folds in run 'a', 3 in run 'b'"),
        ({"n_test": 6}, "1 clips are missing in run 'b' (first test/054.wav)"),
        ({"n_test": 8}, "1 clips are only in run 'b' (first test/055.wav)"),
        ({"seed": 1}, "labels of "),
    ],
)
def test_runs_on_other_data_cannot_join(tmp_path, changes, words):
    with pytest.raises(EnsembleError) as raised:
        load_oof(two_runs(tmp_path, **changes))
    assert "runs 'a' and 'b' cannot join" in str(raised.value)
    assert words in str(raised.value)


def test_runs_with_other_usable_clips_cannot_join(tmp_path):
    runs = two_runs(tmp_path)
    runs[1].set_quarantine(pd.DataFrame({"clip": ["train/003.wav"], "reason": "silent"}))
    for order in (runs, runs[::-1]):
        with pytest.raises(EnsembleError, match=r"1 clips are unusable only in run 'b' \(first train/003\.wav\)"):
            load_oof(order)


def test_every_run_that_joins_has_something_to_give(tmp_path):
    runs = two_runs(tmp_path, complete=False)
    with pytest.raises(EnsembleError, match="no experiment of run 'b' is complete"):
        load_oof(runs)
    with pytest.raises(EnsembleError, match="run 'a' is given twice"):
        load_oof([runs[0], runs[0]])


def outside(folder, n=55, name="mine", value=0.25):
    frame = pd.DataFrame({"fname": [f"{i:03d}.wav" for i in range(n)], **{c: np.float32(value) for c in CLASSES}})
    path = folder / f"{name}.csv"
    frame.to_csv(path, index=False)
    return path


def test_outside_predictions_join(tmp_path):
    store = make_store(tmp_path, n_models=2)
    oof = load_oof(store, [outside(tmp_path, name="zoo"), outside(tmp_path, name="mine", value=0.5)])
    inside = tuple(sorted(experiment(m).id for m in range(2)))
    assert oof.experiments == (*inside, "mine", "zoo")
    assert oof.origin == (*((store, name) for name in inside), None, None)
    assert (oof.probabilities[2] == 0.5).all()
    assert (oof.probabilities[3] == 0.25).all()
    assert (oof.test[2] == 0.5).all()
    assert oof.probabilities.shape[:2] == (4, 48)
    (note,) = oof.notes
    assert "mine, zoo" in note
    assert "must be out-of-fold on the run's folds; raytag cannot check that" in note


def test_without_test_predictions_there_is_no_submission(tmp_path):
    store = make_store(tmp_path, n_models=1)
    oof = load_oof(store, [outside(tmp_path), outside(tmp_path, n=48, name="half")])
    assert oof.test is None
    assert len(oof.test_fnames) == 7
    assert oof.notes[1] == "no submission will be written: half lacks predictions for the run's test clips"


def test_a_run_without_test_clips_needs_no_test_predictions(tmp_path):
    store = make_store(tmp_path, n_models=1, n_test=0)
    oof = load_oof(store, [outside(tmp_path, n=48)])
    assert oof.test is None
    assert len(oof.notes) == 1


def test_wrong_outside_predictions_are_named(tmp_path):
    store = make_store(tmp_path, n_models=1)
    with pytest.raises(EnsembleError, match=r"mine\.csv: 8 of the run's 48 curated clips have no prediction"):
        load_oof(store, [outside(tmp_path, n=40)])
    for name in ("mine", experiment(0).id):
        paths = [outside(tmp_path), outside(tmp_path, name=name)]
        with pytest.raises(EnsembleError, match=rf"{name}\.csv: another model is called '{name}' too; rename"):
            load_oof(store, paths)


def test_outside_rows_of_unusable_clips_do_not_count(tmp_path):
    store = make_store(tmp_path, n_models=1)
    store.set_quarantine(pd.DataFrame({"clip": ["train/003.wav"], "reason": "silent"}))
    rewrite(store, 0, 3, lambda f: f[f["fname"] != "003.wav"])
    oof = load_oof(store, [outside(tmp_path)])
    assert "003.wav" not in oof.fnames
    assert oof.probabilities.shape[1] == 47


def test_a_run_without_complete_experiments_says_what_is_missing(tmp_path):
    store = make_store(tmp_path, complete=False, n_models=2)
    with pytest.raises(EnsembleError) as raised:
        load_oof(store)
    for words in (f"{experiment(0).id} lacks 1 of 4 folds (3)", experiment(1).id, "launch.py --run fake"):
        assert words in str(raised.value)


def make_leaky(store, *models):
    for model in models:
        for k in range(4):
            storage = store.fold(experiment(model).id, k).storage
            result = {**storage.read_json("result.json"), "lineage": {"stage": 2, "leaky": True}}
            storage.write_json("result.json", result)


def test_leaky_experiments_are_left_out_unless_they_are_asked_for(tmp_path):
    store = make_store(tmp_path)
    make_leaky(store, 1, 3)
    oof = load_oof(store)
    assert oof.experiments == tuple(sorted(experiment(m).id for m in (0, 2, 4)))
    assert any("2 leaky experiments" in note and "--leaky counts them" in note for note in oof.notes)
    assert set(oof.left_out) == {experiment(m).id for m in (1, 3)}
    scores = of_run(store, None)
    assert {one.name for one in scores.candidates} == set(oof.experiments)
    assert not any("not finished" in note for note in scores.notes)
    both = load_oof(store, leaky=True)
    assert both.left_out == ()
    assert len(both.experiments) == 5
    assert any("all the same" in note for note in both.notes)
    make_leaky(store, 0, 2, 4)
    with pytest.raises(EnsembleError, match=r"nothing is left: 5 leaky experiments"):
        load_oof(store)


def test_leaky_experiments_have_no_rank_in_the_leaderboard(tmp_path):
    import io

    from rich.console import Console

    from raytag.search.leaderboard import leaderboard
    from raytag.search.screen import show_leaderboard

    store = make_store(tmp_path)
    for name in store.experiments():
        for k in range(4):
            storage = store.fold(name, k).storage
            storage.write_json("result.json", {**storage.read_json("result.json"), "epochs": 4, "seconds": 1.0})
    board = leaderboard(store)
    best = board["experiment"][0]
    make_leaky(store, next(m for m in range(5) if experiment(m).id == best))
    board = leaderboard(store)
    assert board["experiment"].iloc[-1] == best
    assert board["leaky"].tolist() == [False] * 4 + [True]
    assert leaderboard(store, leaky=True)["experiment"][0] == best
    shown = [io.StringIO(), io.StringIO()]
    for leaky, file in zip((False, True), shown, strict=True):
        show_leaderboard(Console(file=file, width=200), leaderboard(store, leaky), {}, leaky=leaky)
    rows = [next(line for line in file.getvalue().splitlines() if best in line) for file in shown]
    assert rows[0].split()[0] == best
    assert rows[0].endswith("complete, leaky")
    assert rows[1].split()[0] == "1"
