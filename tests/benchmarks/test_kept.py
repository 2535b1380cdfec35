"""Kept predictions become the runs that they came from."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import pytest

from raytag.datasets.table import ClipTable
from tests.ensemble.fakes import make_store

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks/honesty"))

import _kept


def test_runs_are_made_again_of_a_file(tmp_path, monkeypatch):
    stores = [make_store(tmp_path / name, name=name, n_models=3, seed=seed) for seed, name in enumerate("ab")]
    for store in stores:
        store.set_quarantine(pd.DataFrame({"clip": ["train/000.wav"], "reason": ["silent"]}))
    tables = {
        s.run["data"]: ClipTable(s.clips().assign(path=""), s.classes, Path(s.run["data"]), "fake", None)
        for s in stores
    }
    monkeypatch.setattr(_kept, "load", tables.__getitem__)
    path = tmp_path / "kept.parquet"
    _kept.keep(stores, path)
    data = [store.run["data"] for store in stores]
    for before, after in zip(stores, _kept.opened(str(path), ["a", "b"], data), strict=True):
        assert after.complete() == before.complete()
        assert after.quarantine().equals(before.quarantine())
        for name in before.complete():
            for fold in range(before.n_folds):
                one, other = before.fold(name, fold), after.fold(name, fold)
                assert one.oof().equals(other.oof())
                assert one.test().equals(other.test())
                assert one.result()["lwlrap"] == other.result()["lwlrap"]
    assert [store.name for store in _kept.opened(str(tmp_path / "a" / "runs"), ["a"], [])] == ["a"]
    with pytest.raises(ValueError, match="the predictions of a are of other clips"):
        _kept.opened(str(path), ["a", "b"], data[::-1])
