"""The whole way with runs and cache in an object store."""

from __future__ import annotations

import pytest

from raytag.cli import main
from raytag.ensemble.command import reserved
from raytag.store import lease as leases
from raytag.store.public import noted_scores
from raytag.store.run import RunStore
from tests.cli import SMALL, call
from tests.ensemble.fakes import make_store
from tests.recordings import make_folder


def test_a_run_in_a_bucket_is_scored_and_notes_what_leaderboards_said(tmp_path, bucket, capsys):
    store = make_store(tmp_path, n_models=1, n_clips=8, runs_dir=f"{bucket}/runs")
    for score in ("0.5", "0.75"):
        assert main(["score", f"{bucket}/runs/fake", "--of", store.complete()[0], "--public", score]) == 0
    assert "by class, the worst first" in capsys.readouterr().out
    assert [row["score"] for row in noted_scores(store.storage)] == [0.5, 0.75]
    assert main(["explain", f"{bucket}/runs/fake/"]) == 0


def test_names_of_ensembles_are_reserved_in_a_bucket(tmp_path, bucket, monkeypatch):
    monkeypatch.setattr(leases, "REMOTE_SETTLE_SECONDS", 0.5)
    store = make_store(tmp_path, n_models=1, n_clips=8, runs_dir=f"{bucket}/runs")
    with reserved(store, None) as (first, _), reserved(store, None) as (second, _):
        assert (first, second) == ("ensemble-001", "ensemble-002")
        with pytest.raises(leases.LeaseError), reserved(store, first):
            pass
    with reserved(store, None) as (again, _):
        assert again == first


@pytest.mark.long
def test_runs_and_cache_may_be_in_a_bucket(tmp_path, bucket):
    make_folder(tmp_path / "recordings", clips=12)
    arguments = ["--data", "recordings", "--num-samples", "2", "--epochs", "1", *SMALL]
    where = ["--runs-dir", f"{bucket}/runs", "--cache-dir", f"{bucket}/cache"]
    code, output = call("launch.py", *arguments, *where, cwd=tmp_path)
    assert code == 0, output
    store = RunStore(f"{bucket}/runs", "specaug_mixup-recordings")
    assert len(store.complete()) == 2
    code, output = call("launch.py", *arguments, *where, cwd=tmp_path)
    assert code == 0, output
    assert "0 to compute" in output
    code, output = call(
        "ensemble_search.py", "--runs-dir", f"{bucket}/runs", "--stackers", "0", "--size", "1-2", cwd=tmp_path
    )
    assert code == 0, output
    assert store.storage.folders("ensembles")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["recordings"]
