"""raytag windows: tiles of out-of-fold clips from stored weights and cached features, or a reason why not."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from raytag.cli import main
from raytag.errors import DamagedError
from raytag.store.run import RunStore
from tests.ensemble.fakes import rewrite
from tests.small_runs import clean_and_noisy


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return clean_and_noisy(tmp_path_factory.mktemp("windows"))


@pytest.fixture
def store(work, tmp_path, monkeypatch):
    """A copy of a run of two experiments of two folds, and its cache."""
    shutil.copytree(work.folder / "runs", tmp_path / "runs")
    shutil.copytree(work.folder / "cache", tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    return RunStore("runs", "small")


def windows(*arguments):
    return main(["windows", "--device", "cpu", *arguments])


def refused(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        windows(*arguments)
    assert end.value.code == 2
    return capsys.readouterr().err


def test_each_fold_gets_the_tiles_whose_mean_its_predictions_are(work, store, capsys):
    assert windows() == 0
    assert "windows of 4 folds made, of 0 there before; 2 experiments have them" in capsys.readouterr().out
    seconds = 48 * 128 / 8000  # of a tile
    for e in work.ids.values():
        for k in range(2):
            found, oof = store.fold(e, k).windows(), store.fold(e, k).oof()
            assert list(found) == ["fname", "start_s", "end_s", *store.classes]
            assert [str(kind) for kind in found.dtypes.iloc[1:]] == ["float64"] * 2 + ["float32"] * 3
            assert list(dict.fromkeys(found["fname"])) == oof["fname"].tolist()
            assert found["fname"].value_counts().max() > 1
            pooled = found.groupby("fname", sort=False)[list(store.classes)].mean()
            np.testing.assert_allclose(pooled, oof[list(store.classes)], atol=1e-6)
            np.testing.assert_allclose(found["end_s"] - found["start_s"], seconds)
            for _, own in found.groupby("fname"):
                np.testing.assert_allclose(np.diff(own["start_s"]), seconds / 2)
                assert own["start_s"].iloc[0] <= 0
    assert main(["verify"]) == 0
    assert main(["status"]) == 0


def test_what_is_there_and_whole_is_not_computed_again(work, store, capsys):
    clean = work.ids["clean"]
    assert windows("--experiment", clean, "--json") == 0
    made = [f"{clean}/fold_0", f"{clean}/fold_1"]
    assert json.loads(capsys.readouterr().out) == {"run": "small", "made": made, "there": 0, "refused": {}}
    fold = store.fold(clean, 1)
    whole = fold.storage.read("windows.parquet")
    fold.storage.write("windows.parquet", whole[:-9] + bytes(9))
    assert main(["verify"]) == 1
    said = capsys.readouterr().out
    assert "fold_1/windows.parquet is damaged" in said
    assert "raytag windows makes it again" in said
    with pytest.raises(DamagedError):
        fold.windows()
    assert windows("--experiment", clean, "--json") == 0
    assert json.loads(capsys.readouterr().out)["made"] == made[1:]
    assert fold.storage.read("windows.parquet") == whole
    assert windows("--experiment", clean, "--json") == 0
    assert json.loads(capsys.readouterr().out)["there"] == 2
    assert windows("--experiment", clean, "--json", "--force") == 0
    assert json.loads(capsys.readouterr().out)["made"] == made


def test_other_weights_or_features_are_refused_by_the_name_of_the_fold(work, store, capsys):
    fold = store.fold(work.ids["noisy"], 1)
    oof = fold.oof()
    column = store.classes[1]
    rewrite(fold, "oof.parquet", oof.assign(**{column: np.float32(oof[column] * 0.5)}))
    said = refused(capsys, "--experiment", work.ids["noisy"])
    assert f"{work.ids['noisy']}/fold_1: its clips, predicted again, differ from its oof.parquet by up to" in said
    assert "--cache-dir" in said
    assert fold.windows() is None
    assert "lacks 24 clips" in refused(capsys, "--cache-dir", "elsewhere")
    assert "closest that is there" in refused(capsys, "--experiment", work.ids["noisy"] + "x")


def test_models_that_are_gone_are_left_out_or_refused_where_they_are_named(work, store, capsys):
    clean, noisy = work.ids["clean"], work.ids["noisy"]
    fold = store.fold(clean, 0)
    fold.storage.write_json("pruned.json", {"files": ["weights.safetensors"]})
    fold.storage.delete("weights.safetensors")
    assert "its weights were freed by raytag prune" in refused(capsys, "--experiment", clean)
    assert windows() == 0
    said = capsys.readouterr().out
    assert f"Left out: {clean}: its weights were freed by raytag prune" in said
    assert "windows of 2 folds made" in said
    store.fold(noisy, 1).storage.delete("result.json")
    assert "folds 1 are not finished" in refused(capsys, "--experiment", noisy)
    assert isinstance(store.fold(noisy, 0).windows(), pd.DataFrame)
