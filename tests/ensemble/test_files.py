"""What an ensemble search writes, without the search."""

from __future__ import annotations

import numpy as np

from raytag.ensemble.files import submission_frame
from raytag.ensemble.predictions.oof import load_oof
from tests.ensemble.fakes import CLASSES, make_store


def test_a_submission_has_the_samples_rows_and_the_mean_where_there_is_no_prediction(tmp_path):
    store = make_store(tmp_path, n_models=1)
    store.run["submission"] = ["050.wav", "lost.wav", "048.wav"]
    test = np.random.default_rng(0).random((7, len(CLASSES)))  # of the clips 048.wav to 054.wav
    frame, filled = submission_frame(store, load_oof(store), test)
    assert filled == ["lost.wav"]
    assert list(frame["fname"]) == ["050.wav", "lost.wav", "048.wav"]
    expected = np.stack([test[2], test.mean(axis=0), test[0]])
    np.testing.assert_allclose(frame[list(CLASSES)], expected, rtol=1e-6)
