"""Tables of predictions: what is written is what is read, clip by clip."""

from __future__ import annotations

import numpy as np
import pytest

from raytag.store.files import Storage
from raytag.store.predictions import PredictionsError, aligned, predictions_frame

FNAMES, CLASSES = ["b.wav", "a.wav", "c.wav"], ("hum", "NA")
VALUES = np.random.default_rng(0).random((3, 2)).astype(np.float32)


def test_values_come_back_to_the_bit_in_any_order_of_clips(tmp_path):
    storage = Storage(tmp_path)
    storage.write_parquet("oof.parquet", predictions_frame(FNAMES, VALUES.astype(np.float64), CLASSES))
    frame = storage.read_parquet("oof.parquet")
    assert list(frame.columns) == ["fname", *CLASSES]
    assert (frame.dtypes[1:] == np.float32).all()
    for order in ([0, 1, 2], [2, 0, 1]):
        found = aligned(frame, [FNAMES[i] for i in order], CLASSES, "oof")
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, VALUES[order])
        np.testing.assert_array_equal(aligned(frame.astype(str), FNAMES, CLASSES, "text"), VALUES)


def test_no_clips_are_no_predictions():
    assert aligned(predictions_frame([], np.empty((0, 2)), CLASSES), [], CLASSES, "empty").shape == (0, 2)


def test_what_is_wrong_is_named_by_place():
    frame = predictions_frame(FNAMES, VALUES, CLASSES)
    frame.loc[1, "NA"] = np.float32(1.5)
    with pytest.raises(PredictionsError, match=r"^here: clip a\.wav, class 'NA': .*1\.5.* is no probability"):
        aligned(frame, FNAMES, CLASSES, "here")
    with pytest.raises(PredictionsError, match=r"^here: 1 clips of mine have no prediction, first d\.wav"):
        aligned(frame, [*FNAMES, "d.wav"], CLASSES, "here", "clips of mine")
