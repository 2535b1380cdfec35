"""Damaged, full and read-only caches: cells and tables are made again, or one sentence says what to do."""

from __future__ import annotations

import errno
import io
import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from raytag.errors import DamagedError
from raytag.experiment import Features
from raytag.features import LogMels, cache, shards
from raytag.features.cache import CacheError
from raytag.features.manifest import feature_hash, find_damage
from raytag.features.sets.banks import build_banks
from raytag.features.shards import compute_batch, read_cells, salvage
from raytag.store.files import Storage
from tests.features.conftest import CLIPS
from tests.features.test_cache import assert_holds, items_of, shards_of


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :]


def damage(path: Path, fault: str, manifest) -> None:
    """Damage a shard in one way."""
    data = path.read_bytes()
    clip = manifest.rows["clip"][manifest.rows["shard"] == path.name].iloc[0]
    if fault == "gone":
        path.unlink()
    elif fault == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif fault == "empty":
        path.write_bytes(b"")
    elif fault == "footer":
        path.write_bytes(flipped(data, len(data) - 40))
    elif fault == "clip":
        path.write_bytes(flipped(data, data.index(clip.encode())))
    else:
        features = manifest.bank([clip]).buffer.tobytes()
        path.write_bytes(flipped(data, data.index(features) + len(features) // 2))


@pytest.fixture
def banked(table, run, tmp_path):
    """Builds a cache and its bank; what was printed."""

    def build() -> tuple[object, object, str]:
        output = io.StringIO()
        console = Console(file=output, width=400)
        ((manifest, bank),) = build_banks(table, [Features()], str(tmp_path / "cache"), console=console)
        return manifest, bank, output.getvalue()

    return build


FAULTS = ["features", "clip", "footer", "cut", "empty", "gone"]


@pytest.mark.parametrize(
    ("fault", "manifest_too"),
    [*((fault, False) for fault in FAULTS), ("features", True), ("clip", True), ("cut", True)],
)
def test_damaged_cells_are_computed_again_and_nothing_else(table, banked, tmp_path, fault, manifest_too):
    manifest, before, _ = banked()
    path = shards_of(tmp_path / "cache")[0]
    inside = int((manifest.rows["shard"] == path.name).sum())
    assert inside > 1
    damage(path, fault, manifest)
    if manifest_too:
        (path.parents[1] / "manifest.parquet").unlink()
    again, bank, text = banked()
    assert again.computed == (1 if fault in ("features", "clip") else inside)
    assert path.name in text
    assert bank.clips == before.clips
    assert np.array_equal(bank.buffer, before.buffer)
    assert path.exists() == (again.computed > 1)  # under its old name if all of it was computed again
    again, _, text = banked()  # and that was the end of it
    assert again.computed == 0
    assert path.name not in text
    assert "damaged" not in text


def test_who_assembles_a_damaged_bank_names_clip_and_shard(banked, tmp_path):
    manifest, _, _ = banked()
    path = shards_of(tmp_path / "cache")[0]
    damage(path, "features", manifest)
    clip = manifest.rows["clip"][manifest.rows["shard"] == path.name].iloc[0]
    with pytest.raises(DamagedError, match=rf"1 cell of shard \({clip}\)|1 cell \({clip}\) of shard .*{path.name}"):
        manifest.bank()


def test_everything_can_be_asked_for_damage(banked, tmp_path):
    manifest, _, _ = banked()
    assert list(find_damage(manifest.storage)) == []
    one, two, *_ = shards_of(tmp_path / "cache")
    damage(one, "features", manifest)
    damage(two, "cut", manifest)
    index = one.parents[1] / "index.parquet"
    index.write_bytes(flipped(index.read_bytes(), 50))
    assert [words.split(str(tmp_path))[0] for words in find_damage(manifest.storage)] == [
        "",
        "1 cells of shard ",
        "shard ",
    ]


def test_a_footer_that_promises_more_than_the_file_is_not_believed(banked, tmp_path):
    manifest, before, _ = banked()
    path = shards_of(tmp_path / "cache")[0]
    table = pq.read_table(path)
    bomb = pa.table(
        {**{name: table[name] for name in table.column_names}, "features": [bytes(1 << 22)] * len(table)}
    )
    pq.write_table(bomb.cast(table.schema), path, compression="zstd")
    assert path.stat().st_size < 1 << 20
    with pytest.raises(DamagedError, match="footer says that it is compressed"):
        read_cells(manifest.storage, path.name)
    assert np.array_equal(banked()[1].buffer, before.buffer)


@pytest.mark.parametrize("name", ["manifest.parquet", "index.parquet", "build.json"])
@pytest.mark.parametrize("at", [0.03, 0.4, 0.6, 0.99])
def test_a_flipped_bit_of_a_table_is_noticed_and_the_table_made_again(table, run, tmp_path, name, at):
    first, _ = run(table)
    path = tmp_path / "cache" / feature_hash(Features()) / name
    data = path.read_bytes()
    path.write_bytes(flipped(data, int(at * len(data))))
    manifest, text = run(table)
    assert manifest.computed == 0
    assert manifest.rows.equals(first.rows)
    assert f"{name} in {path.parent}: no digest, or a wrong one; made again" in text
    assert "no digest" not in run(table)[1]
    if name == "build.json":
        assert json.loads(path.read_text())["features"] == Features().model_dump(mode="json")


def as_before(path: Path) -> None:
    """A shard as versions wrote it whose rows had no digests."""
    table = pq.read_table(path).drop_columns(["features_digest", "digest"])
    name = path.name.replace(shards.CHECKED, ".parquet")
    pq.write_table(table, path.with_name(name), compression="none", use_dictionary=False, write_statistics=False)
    path.unlink()


def test_a_cache_from_before_cells_had_digests_is_used_with_a_word(banked, tmp_path):
    _, before, _ = banked()
    for path in shards_of(tmp_path / "cache"):
        as_before(path)
    for name in ("manifest.parquet", "index.parquet"):
        path = tmp_path / "cache" / feature_hash(Features()) / name
        pq.write_table(pq.read_table(path), path)
    again, bank, text = banked()
    assert again.computed == 0
    assert np.array_equal(bank.buffer, before.buffer)
    assert f"{CLIPS} clips were cached before cells had digests, and cannot be checked" in text
    shard = shards_of(tmp_path / "cache")[0]
    shard.write_bytes(shard.read_bytes()[:-1])
    again, bank, _ = banked()
    assert 0 < again.computed < CLIPS
    assert np.array_equal(bank.buffer, before.buffer)


def test_what_is_lost_in_between_is_no_reason_to_throw_away_a_whole_shard(table, run, tmp_path):
    manifest, _ = run(table)
    path = shards_of(tmp_path / "cache")[0]
    data = path.read_bytes()
    salvage(manifest.storage, path.name)
    assert path.read_bytes() == data


def refuse(number: int):
    """A method that fails as this disk would."""

    def fail(self, name, data=b""):
        raise OSError(number, os.strerror(number), f"{self.root}/{name}")

    return fail


@pytest.fixture
def read_only(monkeypatch):
    """From now on nothing can be written in this process."""

    def begin() -> None:
        for name in ("write", "delete"):
            monkeypatch.setattr(Storage, name, refuse(errno.EROFS))

    return begin


@pytest.mark.parametrize("lost", ["nothing", "manifest.parquet", "index.parquet"])
def test_a_read_only_cache_that_holds_everything_is_used(table, banked, read_only, tmp_path, lost):
    first, before, _ = banked()
    (tmp_path / "cache" / feature_hash(Features()) / lost).unlink(missing_ok=True)
    read_only()
    manifest, bank, text = banked()
    assert manifest.rows.equals(first.rows)
    assert np.array_equal(bank.buffer, before.buffer)
    said = "cannot be written" in text
    assert said == (lost != "nothing")


@pytest.mark.parametrize("fault", ["a new clip", "features", "cut"])
def test_a_read_only_cache_that_lacks_something_is_named_with_the_way_out(
    table, banked, read_only, tmp_path, fault
):
    manifest, _, _ = banked()
    if fault == "a new clip":
        path = Path(table.clips["path"][0])
        path.write_bytes(Path(table.clips["path"][1]).read_bytes())
    else:
        damage(shards_of(tmp_path / "cache")[0], fault, manifest)
    read_only()
    with pytest.raises(
        CacheError, match=r"Read-only file system\): make it writable, or choose another --cache-dir"
    ) as e:
        banked()
    assert str(tmp_path / "cache" / feature_hash(Features())) in str(e.value)


def test_a_full_disk_is_told_with_its_room_and_the_same_command_continues(table, run, tmp_path, monkeypatch):
    def on_a_full_disk(items, storage, features):
        """The second shard finds no room."""

        class Full(Storage):
            def write(self, name, data):
                if self.files("shards"):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)
                super().write(name, data)

        return compute_batch(items, Full(storage.uri), features)

    whole = cache.compute_batch
    monkeypatch.setattr(cache, "compute_batch", on_a_full_disk)
    with pytest.raises(
        CacheError, match=r"No space left on device \([\d.]+ \w?B are free, the build takes up to 382\.3 kB\)"
    ) as e:
        run(table)
    assert str(tmp_path / "cache") in str(e.value)
    monkeypatch.setattr(cache, "compute_batch", whole)
    manifest, _ = run(table)
    assert 0 < manifest.computed < CLIPS
    assert_holds(manifest, table)


def test_a_disk_that_will_be_too_small_is_told_before(table, run, monkeypatch):
    from raytag.features import report

    monkeypatch.setattr(report, "_free", lambda storage: 100_000)
    assert "may need 382.3 kB, and 100.0 kB are free there" in run(table)[1]


def test_a_clip_without_memory_is_left_out_and_not_remembered(table, tmp_path, monkeypatch):
    def large(self, data, path):
        raise MemoryError

    monkeypatch.setattr(LogMels, "compute", large)
    storage = Storage(tmp_path / "cache")
    rows = compute_batch(items_of(table.clips[:2]), storage, Features()).to_pandas()
    assert rows["reason"].tolist() == ["crashed: the decoder found no memory for it"] * 2
    assert rows["content"].tolist() == ["", ""]
    assert storage.files("shards") == []


@pytest.mark.long
def test_a_recording_that_kills_its_worker_is_left_out_alone(table, run, monkeypatch):
    victim = table.clips["clip"][9]

    def deadly(items, **options):
        import os
        import signal

        if victim in items.column("clip").to_pylist():
            os.kill(os.getpid(), signal.SIGSEGV)
        return compute_batch(items, **options)

    monkeypatch.setattr(cache, "compute_batch", deadly)
    manifest, text = run(table)
    assert manifest.quarantined["clip"].tolist() == [victim]
    assert manifest.quarantined["reason"].tolist() == ["crashed: the decoder crashed, twice"]
    assert "a worker was lost" in text
    assert "Traceback" not in text
    assert_holds(manifest, table.drop([victim]))


def test_an_error_of_raytag_itself_is_raised_and_lays_no_blame_on_recordings(table, run, monkeypatch):
    def broken(items, **options):
        raise ZeroDivisionError("a mistake of the programmer")

    monkeypatch.setattr(cache, "compute_batch", broken)
    with pytest.raises(ZeroDivisionError, match="a mistake of the programmer"):
        run(table.drop(table.clips["clip"][6:].tolist()))
