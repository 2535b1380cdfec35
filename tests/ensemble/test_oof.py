"""Reading a run's predictions: complete experiments only, aligned by clip, wrong files named."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from raytag.ensemble.blend import geometric_mean
from raytag.ensemble.oof import EnsembleError, load_oof
from tests.ensemble.fakes import CLASSES, experiment, make_store, simulate


def rewrite(store, model, fold, change, file="oof.parquet"):
    storage = store.fold(experiment(model).id, fold).storage
    storage.write_parquet(file, change(storage.read_parquet(file)))


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
        (lambda f: f.assign(hum=np.float32(np.nan)), "outside"),
        (lambda f: f.assign(hum=np.float32(3.0)), "outside"),
        (lambda f: f.rename(columns={"hum": "drone"}), "drone"),
        (lambda f: f[["fname", *reversed(CLASSES)]], "columns"),
    ],
)
def test_wrong_files_are_named(tmp_path, change, words):
    store = make_store(tmp_path)
    rewrite(store, 2, 1, change)
    with pytest.raises(EnsembleError, match=words) as raised:
        load_oof(store)
    assert f"{experiment(2).id} fold 1" in str(raised.value)


def test_a_run_without_complete_experiments_says_what_is_missing(tmp_path):
    store = make_store(tmp_path, complete=False, n_models=2)
    with pytest.raises(EnsembleError) as raised:
        load_oof(store)
    for words in (f"{experiment(0).id} lacks 1 of 4 folds (3)", experiment(1).id, "launch.py --run fake"):
        assert words in str(raised.value)
