"""Tiles of out-of-fold clips, as a run keeps them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from raytag.ensemble.predictions.oof import EnsembleError, load_oof
from raytag.ensemble.predictions.windows import UNMADE, ClipTiles, load_windows, windowed
from tests.ensemble.fakes import CLASSES, add_windows, experiment, make_store


def test_tiles_come_by_clip_in_the_order_of_the_matrix(tmp_path):
    store = make_store(tmp_path, n_models=2, n_clips=16)
    add_windows(store, experiment(1).id)
    oof = load_oof(store)
    model = oof.experiments.index(experiment(1).id)
    found = load_windows(oof, model)
    assert isinstance(found, ClipTiles)
    assert found.values.dtype == np.float32
    assert sorted(set(np.diff(found.first))) == [1, 2, 3]
    frames = pd.concat([store.fold(experiment(1).id, k).windows() for k in range(4)])
    for i, fname in enumerate(oof.fnames):
        expected = frames[frames["fname"] == fname][list(CLASSES)]
        np.testing.assert_array_equal(found.values[found.first[i] : found.first[i + 1]], expected)
    assert windowed(oof) == [experiment(1).id]
    assert load_windows(oof, 1 - model) == UNMADE
    assert load_windows(replace(oof, origin=(None, None)), model) == "not trained by raytag"


def test_windows_that_lack_clips_or_were_pooled_otherwise(tmp_path):
    store = make_store(tmp_path, n_models=1, n_clips=16)
    add_windows(store, experiment(0).id)
    oof, fold = load_oof(store), store.fold(experiment(0).id, 2)
    whole = fold.windows()
    # a clip that the run cannot use any more does not matter, one without tiles does
    odd = whole.assign(fname=whole["fname"].replace(whole["fname"][0], "gone.wav"))
    fold.keep_windows(odd)
    with pytest.raises(EnsembleError, match=r"fold 2 .* 1 clips have none, first .* raytag windows --run fake"):
        load_windows(oof, 0)
    fold.keep_windows(pd.concat([whole, odd[odd["fname"] == "gone.wav"]]))
    assert isinstance(load_windows(oof, 0), ClipTiles)
    fold.keep_windows(whole.assign(bark=np.float32(2)))
    with pytest.raises(EnsembleError, match="class 'bark'"):
        load_windows(oof, 0)
    fold.keep_windows(whole.assign(bark=np.float32(0.9)))
    assert load_windows(oof, 0) == "not the mean of its windows"
