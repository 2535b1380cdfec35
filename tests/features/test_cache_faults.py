"""The feature cache when things go wrong: bad clips, damage, kills, two builders, no room, object stores."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from raytag import datasets
from raytag.datasets.table import ClipTable
from raytag.errors import DamagedError
from raytag.experiment import Features
from raytag.features.cache import CacheError, build_cache
from raytag.features.manifest import feature_hash
from raytag.features.shards import compute_batch, shard_name
from raytag.store.digest import digest
from raytag.store.files import Storage
from tests.cli import environment
from tests.features.conftest import CLIPS
from tests.features.test_cache import assert_holds, items_of, shards_of

NAMES = ["missing", "unreadable", "truncated", "empty", "silent", "non_finite", "out_of_range"]


def spoil(path: Path, code: str) -> None:
    """Make a recording unusable in one way."""
    if code == "missing":
        path.unlink()
    elif code == "unreadable":
        path.write_bytes(b"no audio" * 99)
    elif code == "truncated":
        path.write_bytes(path.read_bytes()[:20_000])
    else:
        x = np.zeros(30_000, np.float32)
        if code == "empty":
            x = x[:0]
        elif code == "non_finite":
            x[5] = np.nan
        elif code == "out_of_range":
            x[::2] = 1e6  # decibels beyond the fixed point
        soundfile.write(path, x, 44100, subtype="FLOAT")


@pytest.mark.parametrize("code", NAMES)
def test_an_unusable_clip_is_quarantined_and_remembered(table, run, code):
    """argus-freesound trains on half a second of silence in its place."""
    path, clip = Path(table.clips["path"][7]), table.clips["clip"][7]
    spoil(path, code)
    manifest, text = run(table)
    assert manifest.quarantined["clip"].tolist() == [clip]
    row = manifest.quarantined.iloc[0]
    assert row["reason"].startswith(f"{code}: ")
    assert (row["frames"], row["shard"]) == (0, "")
    assert len(manifest.usable) == CLIPS - 1
    assert f"1 of {CLIPS} clips are unusable and left out: 1 {code}" in text
    assert f"  {clip}: {code}: " in text
    with pytest.raises(CacheError, match=f"'{clip}' has no features: {code}"):
        manifest.bank([clip])
    again, text = run(table)
    assert again.computed == 0
    assert f"{CLIPS} clips cached, 0 to compute" in text or code == "missing"
    assert again.rows.equals(manifest.rows)
    assert_holds(again, table.drop([clip]))


@pytest.mark.parametrize("raised", [KeyboardInterrupt, SystemExit, ZeroDivisionError])
def test_what_is_no_fault_of_a_recording_ends_the_work(table, tmp_path, monkeypatch, raised):
    """argus-freesound swallows Ctrl-C while it reads, and takes the recording for silence."""

    def decode(*_):
        raise raised

    monkeypatch.setattr("raytag.features.waveform.decode", decode)
    monkeypatch.setattr("raytag.features.shards.warm_up", lambda: None)  # decodes a recording of its own
    with pytest.raises(raised):
        compute_batch(items_of(table.clips[:2]), Storage(str(tmp_path / "set")), Features())
    assert not list(tmp_path.rglob("*.parquet"))


def test_a_mended_clip_is_usable(table, run):
    paths = [Path(path) for path in table.clips["path"]]
    whole = paths[3].read_bytes()
    for path, code in ((paths[3], "truncated"), (paths[4], "missing")):
        spoil(path, code)
    assert len(run(table, max_bad_share=0.1)[0].quarantined) == 2
    for path in paths[3:5]:
        path.write_bytes(whole)
    manifest, _ = run(table)
    assert manifest.computed == 2
    assert manifest.quarantined.empty
    assert_holds(manifest, table)


def test_too_many_unusable_clips_are_an_error_that_names_them(table, run):
    for path, code in zip(table.clips["path"], NAMES, strict=False):
        spoil(Path(path), code)
    with pytest.raises(
        CacheError, match=r"7 of 24 curated clips are unusable \(29.2%, more than the tolerated 5.0%\)"
    ) as e:
        run(table)
    assert f"{table.clips['clip'][1]}: unreadable" in str(e.value)
    assert str(e.value).count(" …") == 1
    assert "--max-bad-share 0.3" in str(e.value)
    manifest, _ = run(table, max_bad_share=0.3)
    assert manifest.computed == 0
    assert sorted(manifest.quarantined["reason"].str.split(":").str[0]) == sorted(NAMES)


def clips_of(table: ClipTable, subset: str) -> list[Path]:
    return [Path(path) for path in table.clips["path"][table.clips["subset"] == subset]]


def test_noisy_clips_have_a_share_of_their_own(table, run):
    spoil(clips_of(table, "noisy")[0], "silent")
    with pytest.raises(CacheError, match=r"1 of 6 noisy clips are unusable \(16.7%, .*--max-bad-share 0.17"):
        run(table)
    assert len(run(table, max_bad_share=0.17)[0].quarantined) == 1


def test_unusable_test_clips_stop_nothing_and_are_told_what_they_get(table, run):
    paths = clips_of(table, "test")
    for path in paths[:3]:
        spoil(path, "missing")
    manifest, text = run(table)
    assert len(manifest.quarantined) == 3
    assert (
        "features: 3 of 4 test clips are unusable: they get no prediction of their own; in a submission their rows "
        "are the mean over the others"
    ) in text
    assert "3 of 4 test clips are unusable: they get no prediction\n" in run(replace(table, submission=None))[1]
    spoil(paths[3], "silent")
    assert (
        "4 of 4 test clips are unusable: nothing can be predicted for them, and there will be no" in run(table)[1]
    )


def test_remarks_are_kept_and_said_each_time(table, run):
    paths = [Path(path) for path in table.clips["path"]]
    for path in paths[:5]:
        x = soundfile.read(path)[0]
        soundfile.write(path, np.stack([x, -x], axis=1), 44100)
    soundfile.write(paths[7], 9e3 * soundfile.read(paths[7])[0], 44100, subtype="FLOAT")
    spoil(paths[9], "out_of_range")
    first, text = run(table)
    names = table.clips["clip"].tolist()
    one = "the mean of 2 channels keeps 0.0 % of the energy of channel 1, which is used"
    named = "; ".join(f"{name}: {one}" for name in names[:3])
    channels = f"features: 5 of 34 clips: channels cancel, the loudest one is used ({named}; …)"
    assert channels in text
    assert f"features: 2 of 34 clips: far beyond full scale ({names[7]}: the peak is " in text
    assert first.remarks["clip"].tolist() == [*names[:5], names[7], names[9]]
    assert first.remarks["code"].value_counts().to_dict() == {"channels": 5, "level": 2}
    assert set(first.remarks["text"][:5]) == {one}
    for lost in ("nothing", "manifest.parquet"):  # the shards know too
        (Path(str(first.storage.root)) / lost).unlink(missing_ok=True)
        again, text = run(table)
        assert again.computed == 0
        assert channels in text
        assert again.rows.equals(first.rows)


CASES = {
    "stereo-inverted": ("channels", 8),
    "ultrasound-192k": ("lost", 12),
    "wav-size-zero": ("header", 4),
    "float-beyond-full-scale": ("level", 8),
}


@pytest.mark.parametrize("case", CASES)
def test_recordings_as_people_have_them_are_used_and_remarked_on(shared, run, case):
    table = datasets.load(shared / "data" / "cases" / case)
    assert (table.clips["duration"] > 0).all()
    code, count = CASES[case]
    manifest, text = run(table)
    assert manifest.quarantined.empty
    assert manifest.remarks["code"].tolist() == [code] * count
    assert f"features: {count} of {len(table)} clips: " in text


def test_a_competition_that_hides_its_test_clips_goes_on(shared, run):
    table = datasets.load(shared / "data" / "cases" / "hidden-test-clips")
    manifest, text = run(table)
    assert manifest.quarantined["clip"].str.startswith("test/").all()
    assert "features: 7 of 10 test clips are unusable: they get no prediction of their own" in text


def test_a_damaged_shard_is_named_and_then_computed_again(table, run, tmp_path):
    """argus-freesound takes whatever part of its cache there is for all of it."""
    manifest, _ = run(table)
    shard = shards_of(tmp_path / "cache")[0]
    data = shard.read_bytes()
    shard.write_bytes(data[: len(data) // 2])
    with pytest.raises(DamagedError, match=f"of shard .*{shard.name} of the feature cache"):
        manifest.bank()
    (shard.parents[1] / "manifest.parquet").unlink()
    manifest, text = run(table)
    assert "is damaged" in text
    assert 0 < manifest.computed < CLIPS
    assert_holds(manifest, table)


@pytest.mark.parametrize("name", ["manifest.parquet", "index.parquet"])
def test_a_damaged_list_costs_time_only(table, run, tmp_path, name):
    run(table)
    (tmp_path / "cache" / feature_hash(Features()) / name).write_bytes(b"PAR1 nothing PAR1")
    manifest, _ = run(table)
    assert manifest.computed == 0
    assert_holds(manifest, table)


def test_a_folder_that_cannot_be_written_is_named(table, run, tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(CacheError, match=str(tmp_path / "cache")):
        run(table)


def test_a_worker_that_cannot_write_says_so_and_what_to_do(table, run, tmp_path):
    few = table.drop(table.clips["clip"][6:].tolist())
    contents = [digest(Path(path).read_bytes()) for path in few.clips["path"]]
    name = shard_name(list(zip(few.clips["clip"], contents, strict=True)))
    (tmp_path / "cache" / feature_hash(Features()) / "shards" / name).mkdir(parents=True)
    with pytest.raises(CacheError, match="could not write to the feature cache") as caught:
        run(few)
    assert "Is a directory" in str(caught.value)
    assert "--cache-dir" in str(caught.value)
    assert "Traceback" not in str(caught.value)


BUILDER = """
import sys
import pandas as pd, ray
from pathlib import Path
from raytag import datasets
from raytag.datasets.table import ClipTable
from raytag.experiment import Features
from raytag.features.cache import build_cache
ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False)
table = ClipTable(pd.read_parquet(sys.argv[1]), ("a",), Path("."), "test")
build_cache(table, Features(), sys.argv[2])
"""


@pytest.fixture
def many(table, tmp_path):
    """120 clips: seconds of work for one core."""
    rng = np.random.default_rng(0)
    path = tmp_path / "long.ogg"
    soundfile.write(path, 0.1 * rng.standard_normal(10 * 44100), 44100)
    row = table.clips.iloc[0].to_dict() | {"path": str(path), "duration": 10.0}
    clips = pd.DataFrame([row | {"clip": f"{i}.ogg"} for i in range(120)])
    return ClipTable(clips, table.classes, table.directory, table.layout)


def wait_for_shards(tmp_path: Path, count: int) -> list[Path]:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        shards = shards_of(tmp_path / "cache")
        if len(shards) >= count:
            return shards
        time.sleep(0.02)
    pytest.fail(f"no {count} shards within 60 s")


@pytest.mark.long
def test_a_killed_build_resumes_where_it_stopped(many, run, tmp_path):
    many.clips.to_parquet(tmp_path / "many.parquet")
    builder = subprocess.Popen(
        [sys.executable, "-c", BUILDER, str(tmp_path / "many.parquet"), str(tmp_path / "cache")],
        env=environment() | {"RAY_AUTH_MODE": "disabled"},
    )
    before = wait_for_shards(tmp_path, 2)
    os.kill(builder.pid, signal.SIGKILL)
    builder.wait()
    assert not (before[0].parents[1] / "manifest.parquet").exists()
    times = {path: path.stat().st_mtime_ns for path in before}
    manifest, text = run(many)
    assert 0 < manifest.computed < len(many.clips)
    assert f"{len(many.clips) - manifest.computed} clips cached, {manifest.computed} to compute" in text
    assert {path: path.stat().st_mtime_ns for path in before} == times
    assert len(manifest.bank()) == len(many.clips)
    assert run(many)[0].computed == 0


def test_two_builders_at_once_do_no_harm(many, run, tmp_path):
    import ray

    other = ray.remote(num_cpus=0)(build_cache).remote(many, Features(), str(tmp_path / "cache"))
    manifest, _ = run(many)
    other = ray.get(other)
    assert manifest.computed > 0
    assert manifest.computed + other.computed >= 120
    for built in (manifest, other, run(many)[0]):
        bank = built.bank()
        assert len(bank) == 120
        assert all(np.array_equal(bank.logmel(i), bank.logmel(0)) for i in range(1, 120))
    assert run(many)[0].computed == 0


def test_the_cache_may_lie_in_an_object_store(table, run, bucket):
    manifest, _ = run(table, cache_dir=f"{bucket}/some/cache")
    assert manifest.computed == CLIPS
    assert_holds(manifest, table)
    assert run(table, cache_dir=f"{bucket}/some/cache")[0].computed == 0
    with pytest.raises(CacheError, match="s3://nowhere/cache"):
        run(table, cache_dir="s3://nowhere/cache")
