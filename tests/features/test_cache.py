"""The feature cache: computed once, the same numbers, and only what changed again."""

from __future__ import annotations

import io
import json
import os
import pickle
import time
import uuid
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from rich.console import Console

from raytag import datasets
from raytag.experiment import Features
from raytag.features import cache, extract
from raytag.features.cache import CacheError, build_cache
from raytag.features.manifest import feature_hash
from raytag.features.shards import ITEMS, RESULTS, compute_batch
from raytag.store.digest import digest
from raytag.store.files import Storage
from tests.features.conftest import CLIPS
from tests.recordings import make_folder, sound, write_wav


def shards_of(cache_dir) -> list:
    return sorted(cache_dir.glob("*/shards/*.parquet"))


def items_of(clips: pd.DataFrame) -> pa.Table:
    """A batch of clips of which nothing is known."""
    return pa.Table.from_pylist(clips[["clip", "path"]].assign(known=[[]] * len(clips)).to_dict("records"), ITEMS)


def assert_holds(manifest, table) -> None:
    """Every clip of the bank equals its file's own features."""
    clips = table.clips["clip"].tolist()
    bank = manifest.bank(clips)
    assert bank.clips == tuple(clips)
    for i, path in enumerate(table.clips["path"]):
        assert np.abs(bank.logmel(i) - extract(path, manifest.features)).max() <= 0.5 / 256 + 1e-6


def test_builds_once(table, run, tmp_path, monkeypatch):
    manifest, text = run(table)
    assert manifest.computed == CLIPS
    assert manifest.rows["clip"].tolist() == table.clips["clip"].tolist()
    assert len(manifest.usable) == CLIPS
    assert manifest.workers
    assert not any(worker.endswith(f":{os.getpid()}") for worker in manifest.workers)
    assert "0 clips cached, 34 to compute" in text
    assert_holds(manifest, table)
    monkeypatch.setattr(cache, "_results", None)  # the second build has no work for Ray
    again, text = run(table)
    assert (again.computed, again.workers) == (0, frozenset())
    assert again.rows.equals(manifest.rows)
    assert again.key == manifest.key
    assert "34 clips cached, 0 to compute" in text


def test_the_folder_says_what_it_holds(table, run, tmp_path):
    manifest, _ = run(table)
    folder = tmp_path / "cache" / feature_hash(Features())
    written = json.loads((folder / "build.json").read_text())
    assert Features.parse(written["features"]) == Features()
    assert written["last_build"]["computed"] == CLIPS
    assert set(written["last_build"]["workers"]) == manifest.workers
    assert sorted(p.name for p in folder.iterdir()) == ["build.json", "index.parquet", "manifest.parquet", "shards"]


def test_bank_of_some_clips_in_another_order_from_another_process(table, run):
    manifest, _ = run(table)
    manifest = pickle.loads(pickle.dumps(manifest))
    clips = table.clips["clip"].tolist()[::-3]
    bank = manifest.bank(clips)
    assert bank.clips == tuple(clips)
    everything = manifest.bank()
    for i, row in enumerate(everything.index(clips)):
        assert np.array_equal(bank.logmel(i), everything.logmel(row))
    with pytest.raises(CacheError, match="'nobody' has no features"):
        manifest.bank(["nobody"])


def test_other_parameters_have_a_folder_of_their_own(table, run):
    first, _ = run(table)
    other, _ = run(table, features=Features(n_mels=64, hop_length=512))
    assert other.computed == CLIPS
    assert first.key != other.key
    assert other.bank().width == 64
    assert_holds(other, table)
    assert run(table)[0].computed == 0


def test_resumes_from_the_shards_that_are_there(table, run, tmp_path):
    """argus-freesound takes what a killed run left of its cache of noisy clips for all of them."""
    run(table)
    gone, *kept = shards_of(tmp_path / "cache")
    assert kept
    lost = Storage(str(gone.parents[1]))
    for path in (gone, gone.parents[1] / "manifest.parquet", gone.parents[1] / "index.parquet"):
        path.unlink()
    before = {path: path.stat().st_mtime_ns for path in kept}
    manifest, text = run(table)
    assert 0 < manifest.computed < CLIPS
    assert f"{CLIPS - manifest.computed} clips cached, {manifest.computed} to compute" in text
    assert {path: path.stat().st_mtime_ns for path in kept} == before
    assert lost.exists("manifest.parquet")
    assert_holds(manifest, table)
    assert run(table)[0].computed == 0


def test_a_changed_clip_is_computed_again_and_nothing_else(table, run):
    """argus-freesound's cache is named by the settings alone, whatever the recordings hold."""
    first, _ = run(table)
    path = Path(table.clips["path"][5])
    original = path.read_bytes()
    write_wav(path, sound("noise", np.random.default_rng(99)))
    second, text = run(table)
    assert second.computed == 1
    assert "33 clips cached, 1 to compute" in text
    assert (second.rows["content"] != first.rows["content"]).sum() == 1
    assert second.key != first.key
    assert_holds(second, table)
    path.write_bytes(original)
    third, _ = run(table)  # its old features are still there
    assert third.computed == 0
    assert third.rows.equals(first.rows)


def test_a_touched_clip_is_read_once_more_and_not_computed(table, run):
    run(table)
    os.utime(table.clips["path"][0], ns=(1, 1))
    manifest, text = run(table)
    assert manifest.computed == 0
    assert "33 clips cached, 1 to compute" in text
    assert "34 clips cached, 0 to compute" in run(table)[1]


def test_verify_finds_a_change_that_time_and_size_hide(table, run):
    run(table)
    path = Path(table.clips["path"][3])
    status = os.stat(path)
    samples = np.frombuffer(path.read_bytes()[44:], "<i2")
    write_wav(path, samples[::-1].copy())
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert os.stat(path).st_size == status.st_size
    assert run(table)[0].computed == 0
    manifest, text = run(table, verify=True)
    assert manifest.computed == 1
    assert "34 to verify" in text
    assert_holds(manifest, table)
    assert run(table)[0].rows.equals(manifest.rows)


def test_contents_are_xxh3_128():
    """Two values of the reference implementation: caches outlive the version that wrote them."""
    assert digest(b"") == "xxh3-99aa06d3014798d86001c324468d497f"
    assert digest(b"abc") == "xxh3-06b05ab6733a618578af5f94892f3950"


def test_two_datasets_that_share_names_share_a_cache_in_peace(run, tmp_path):
    one = datasets.load(make_folder(tmp_path / "one"))
    two = datasets.load(make_folder(tmp_path / "two"))
    for i, path in enumerate(two.clips["path"]):
        write_wav(Path(path), sound("noise", np.random.default_rng(1000 + i)))
    assert run(one)[0].computed == CLIPS
    assert run(two)[0].computed == CLIPS
    for table in (one, two):
        manifest, _ = run(table)
        assert manifest.computed == 0
        assert_holds(manifest, table)


def test_overlapping_shards_of_two_builders_give_each_clip_once(table, run, tmp_path):
    storage = Storage(tmp_path / "cache" / feature_hash(Features()))
    clips = table.clips
    for part in (slice(0, 20), slice(10, 30), slice(10, 30)):
        compute_batch(items_of(clips[part]), storage, Features())
    assert len(shards_of(tmp_path / "cache")) == 2
    manifest, _ = run(table)
    assert manifest.computed == CLIPS - 30
    assert_holds(manifest, table)


def test_file_uri(table, run, tmp_path):
    manifest, _ = run(table, cache_dir=f"file://{tmp_path}/cache")
    assert manifest.computed == CLIPS
    assert run(table)[0].computed == 0
    assert_holds(manifest, table)


def test_relative_folders_are_the_callers(table, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    manifest, _ = run(table, cache_dir="beside")
    assert len(shards_of(tmp_path / "beside")) > 0
    assert_holds(manifest, table)


def test_a_terminal_gets_a_bar(table, ray_session, tmp_path):
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=120)
    assert build_cache(table, Features(), str(tmp_path / "cache"), console=console).computed == CLIPS
    assert "━" in output.getvalue()
    assert "clips/s" in output.getvalue()


def test_ray_datas_settings_are_left_as_they_were(table, run):
    from ray.data import DataContext

    before = vars(DataContext.get_current().copy())
    run(table)
    now = vars(DataContext.get_current())
    for name in ("enable_progress_bars", "op_resource_reservation_enabled"):
        assert now[name] == before[name]


def test_all_cpus_compute_from_the_start(table, run, tmp_path, monkeypatch):
    """Ray Data learns the size of the cluster a second after it has begun; the work does not wait for that."""
    meeting = tmp_path / "meeting"
    meeting.mkdir()

    def meet(items: pa.Table, **_: object) -> pa.Table:
        """Say whether another batch begins within half a second."""
        (meeting / uuid.uuid4().hex).touch()
        deadline = time.monotonic() + 0.5
        while len(list(meeting.iterdir())) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        reason = "unreadable: alone" if len(list(meeting.iterdir())) < 2 else "unreadable: met"
        file = {"size": 0, "mtime_ns": 0, "shard": "", "worker": "", "frames": 0, "error": ""}
        rows = [
            item | file | {"content": "", "reason": reason, "computed": False, "remarks": ""}
            for item in items.to_pylist()
        ]
        return pa.Table.from_pylist(rows, RESULTS)

    def first_batch_meets() -> bool:
        for file in meeting.iterdir():
            file.unlink()
        manifest, _ = run(table, max_bad_share=1)
        return manifest.rows["reason"][0] == "unreadable: met"

    monkeypatch.setattr(cache, "compute_batch", meet)
    assert any(first_batch_meets() for _ in range(3))  # the first starts workers, a busy machine is late
