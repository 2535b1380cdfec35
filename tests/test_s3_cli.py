"""The whole way with runs and cache in an object store."""

from __future__ import annotations

import pytest

from raytag.cli import main
from raytag.ensemble.command import reserved
from raytag.store import lease as leases
from raytag.store.files import Storage
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
def test_runs_and_cache_may_be_in_a_bucket_and_its_keys_stay_secret(tmp_path, bucket):
    make_folder(tmp_path / "recordings", clips=12)
    arguments = ["--data", "recordings", "--num-samples", "2", "--epochs", "1", *SMALL]
    with_keys = bucket.replace("s3://", "s3://AKIAME:wJalrXUt@")
    where = ["--runs-dir", f"{with_keys}/runs", "--cache-dir", f"{with_keys}/cache"]
    code, output = call("launch.py", *arguments, *where, cwd=tmp_path)
    assert code == 0, output
    store = RunStore(f"{bucket}/runs", "specaug_mixup-recordings")
    assert len(store.complete()) == 2
    code, again = call("launch.py", *arguments, *where, cwd=tmp_path)
    assert code == 0, again
    assert "0 to compute" in again
    code, blended = call(
        "ensemble_search.py", "--runs-dir", f"{with_keys}/runs", "--stackers", "0", "--size", "1-2", cwd=tmp_path
    )
    assert code == 0, blended
    (name,) = store.storage.folders("ensembles")
    code, wrong = call("ensemble_search.py", "--runs-dir", f"{with_keys}/runs", "--run", "other", cwd=tmp_path)
    assert code == 2
    assert "s3://***@bucket/runs" in wrong
    assert sorted(p.name for p in tmp_path.iterdir()) == ["recordings"]
    texts = [store.storage.read(f"events/{name}").decode() for name in store.storage.files("events")]
    texts += [store.storage.read(file).decode() for file in ("run.json", f"ensembles/{name}/ensemble.json")]
    cache = Storage(f"{bucket}/cache")
    texts += [cache.read(f"{folder}/build.json").decode() for folder in cache.folders()]
    for text in [output, again, blended, wrong, *texts]:
        assert "AKIAME" not in text
        assert "wJalrXUt" not in text
