"""The whole way with runs and cache in an object store."""

from __future__ import annotations

import pytest

from raytag.store.run import RunStore
from tests.cli import SMALL, call
from tests.recordings import make_folder


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
