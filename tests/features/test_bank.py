"""The bank: the same numbers from memory, from Ray's object store and from a file."""

from __future__ import annotations

import errno
import os
import pickle

import numpy as np
import pytest

from raytag.compiled import cache_folder
from raytag.compiled.cache_folder import private_folder
from raytag.features import bank as bank_module
from raytag.features.bank import SCALE, Bank, mapped_bank, quantise

FRAMES = (40, 1, 300, 17)


@pytest.fixture
def logmels() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.uniform(-100, 40, (128, frames)).astype(np.float32) for frames in FRAMES]


@pytest.fixture
def bank(logmels) -> Bank:
    return Bank.from_logmels(["a", "b/c", "d", "é"], logmels)


def test_holds_every_clip_to_half_a_step(bank, logmels):
    assert len(bank) == 4
    assert bank.width == 128
    assert bank.frames.tolist() == list(FRAMES)
    assert bank.buffer.shape == (sum(FRAMES), 128)
    for i, logmel in enumerate(logmels):
        assert bank.logmel(i).dtype == np.float32
        assert bank.logmel(i).shape == logmel.shape
        assert np.abs(bank.logmel(i) - logmel).max() <= 0.5 / SCALE


def test_index_gives_rows_by_id_and_names_strangers(bank):
    assert bank.index(["d", "a", "d"]).tolist() == [2, 0, 2]
    assert bank.index([]).dtype == np.int64
    with pytest.raises(KeyError, match="'x' is not among the 4 clips"):
        bank.index(["a", "x"])


def test_is_read_only(bank):
    with pytest.raises(ValueError, match="read-only"):
        bank.buffer[0, 0] = 1


@pytest.mark.parametrize("shape", [(128, 320), (1, 1), (3, 40), (40, 3), (17, 33), (128, 16), (16, 5)])
def test_quantise_rounds_to_the_nearest_step(shape):
    x = np.random.default_rng(0).uniform(-128, 127, shape).astype(np.float32)
    assert np.array_equal(quantise(x), np.rint(x.T * np.float32(SCALE)).astype(np.int16))


@pytest.mark.parametrize("value", [128.0, -128.1, np.nan, np.inf])
def test_values_that_do_not_fit_are_refused(value):
    x = np.zeros((20, 20), np.float32)
    x[3, 4] = value
    with pytest.raises(ValueError, match="fit"):
        quantise(x)
    with pytest.raises(ValueError, match="clip 7"):
        Bank.from_logmels(["clip 7"], [x])


def test_the_ends_of_the_range_fit():
    x = np.array([[-128.0, 32767 / 256]], np.float32)
    assert quantise(x).ravel().tolist() == [-32768, 32767]


def test_inconsistent_parts_are_refused(logmels):
    with pytest.raises(ValueError, match="equally many bands"):
        Bank.from_logmels(["a", "b"], [logmels[0], logmels[1][:64]])
    with pytest.raises(ValueError, match="3 clip ids for 4"):
        Bank.from_logmels(["a", "b", "c"], logmels)
    with pytest.raises(ValueError, match="offsets"):
        Bank(np.zeros((5, 2), np.int16), np.array([0, 4]), ["a"])
    with pytest.raises(ValueError, match="int16"):
        Bank(np.zeros((5, 2), np.float32), np.array([0, 5]), ["a"])


def test_saved_and_mapped_it_is_the_same(bank, tmp_path):
    path = tmp_path / "folder" / "bank"
    bank.save(path)
    mapped = Bank.memmap(path)
    assert isinstance(mapped.buffer, np.memmap)
    assert mapped.clips == bank.clips
    assert np.array_equal(mapped.buffer, bank.buffer)
    assert np.array_equal(mapped.offsets, bank.offsets)
    assert np.array_equal(mapped.logmel(2), bank.logmel(2))
    assert [p.name for p in path.parent.iterdir()] == ["bank"]
    with pytest.raises(ValueError, match="read-only"):
        mapped.buffer[0, 0] = 1


def test_a_mapped_bank_travels_as_its_path(bank, tmp_path):
    bank.save(tmp_path / "bank")
    message = pickle.dumps(Bank.memmap(tmp_path / "bank"))
    assert len(message) < 1000
    assert np.array_equal(pickle.loads(message).buffer, bank.buffer)


def test_saving_again_replaces_a_bank_that_is_in_use(bank, logmels, tmp_path):
    bank.save(tmp_path / "bank")
    mapped = Bank.memmap(tmp_path / "bank")
    Bank.from_logmels(["z"], logmels[:1]).save(tmp_path / "bank")
    assert np.array_equal(mapped.buffer, bank.buffer)
    assert Bank.memmap(tmp_path / "bank").clips == ("z",)


def test_an_empty_bank_is_a_bank(tmp_path):
    Bank.from_logmels([], []).save(tmp_path / "bank")
    assert len(Bank.memmap(tmp_path / "bank")) == 0


def test_foreign_and_truncated_files_are_named(bank, tmp_path):
    bank.save(tmp_path / "bank")
    data = (tmp_path / "bank").read_bytes()
    (tmp_path / "bank").write_bytes(data[:-2])
    with pytest.raises(ValueError, match=r"bank has \d+ bytes instead of"):
        Bank.memmap(tmp_path / "bank")
    (tmp_path / "bank").write_bytes(b"something else")
    with pytest.raises(ValueError, match="not a bank file"):
        Bank.memmap(tmp_path / "bank")


def test_the_object_store_gives_it_back_without_a_copy(bank, ray_session):
    import ray

    reference = ray.put(bank)
    first, second = ray.get(reference), ray.get(reference)
    assert np.array_equal(first.buffer, bank.buffer)
    assert first.clips == bank.clips
    assert not first.buffer.flags.writeable
    assert first.buffer.ctypes.data == second.buffer.ctypes.data


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :]


class TestMappedBank:
    """The file of a node, in a folder of this user's own."""

    @pytest.fixture(autouse=True)
    def temporary(self, tmp_path, monkeypatch):
        monkeypatch.setattr(cache_folder.tempfile, "gettempdir", lambda: str(tmp_path))
        monkeypatch.setattr(bank_module, "_checked", set())

    def test_is_assembled_once_in_a_private_folder(self, bank, tmp_path):
        said, made = [], []
        for _ in range(2):
            mapped = mapped_bank("key", lambda: made.append(1) or bank, said.append)
            assert np.array_equal(mapped.buffer, bank.buffer)
        assert (said, made) == ([], [1])
        assert private_folder("raytag-banks").stat().st_mode & 0o777 == 0o700
        assert (private_folder("raytag-banks") / "key").is_file()

    @pytest.mark.parametrize("at", [3, 16, 30, 60, 100, 300, -5, -70_000])
    def test_a_flipped_bit_is_never_mapped(self, bank, at):
        mapped_bank("key", lambda: bank, print)
        path = private_folder("raytag-banks") / "key"
        data = path.read_bytes()
        path.write_bytes(flipped(data, at % len(data)))
        said = []
        mapped = mapped_bank("key", lambda: bank, said.append)
        assert np.array_equal(mapped.buffer, bank.buffer)
        assert len(said) == 1
        assert said[0].endswith("it is assembled anew")
        assert path.read_bytes() == data

    @pytest.mark.parametrize("foreign", ["link", "open to others", "a pipe", "cut", "of another user"])
    def test_a_file_that_others_may_have_written_is_not_used(self, bank, tmp_path, monkeypatch, foreign):
        path = private_folder("raytag-banks") / "key"
        bank.save(path)
        if foreign == "link":
            path.rename(tmp_path / "elsewhere")
            path.symlink_to(tmp_path / "elsewhere")
        elif foreign == "open to others":
            path.chmod(0o666)
        elif foreign == "a pipe":
            path.unlink()
            os.mkfifo(path)
        elif foreign == "cut":
            path.write_bytes(path.read_bytes()[:-2])
        else:
            if os.getuid() != 0:
                pytest.skip("only root gives files away")
            os.chown(path, 12345, 12345)
        said = []
        assert np.array_equal(mapped_bank("key", lambda: bank, said.append).buffer, bank.buffer)
        assert len(said) == 1
        assert path.lstat().st_uid == os.getuid()
        assert path.lstat().st_mode & 0o777 in (0o600, 0o644)

    @pytest.mark.parametrize("taken", ["a link", "a file", "open"])
    def test_a_folder_that_is_not_private_is_not_used(self, bank, tmp_path, taken):
        first = tmp_path / f"raytag-banks-{os.getuid()}"
        if taken == "a link":
            (tmp_path / "theirs").mkdir()
            first.symlink_to(tmp_path / "theirs")
        elif taken == "a file":
            first.write_text("")
        else:
            first.mkdir()
            first.chmod(0o777)
        mapped_bank("key", lambda: bank, print)
        assert (tmp_path / f"{first.name}-1" / "key").is_file()

    def test_where_all_names_belong_to_others_it_is_refused(self, bank, tmp_path, monkeypatch):
        monkeypatch.setattr(bank_module.os, "getuid", lambda: os.geteuid() + 1)
        with pytest.raises(RuntimeError, match=r"raytag-banks-\d+ is no folder that this user alone can enter"):
            mapped_bank("key", lambda: bank, print)

    def test_a_full_disk_names_folder_and_room(self, bank, tmp_path, monkeypatch):
        def full(self, path):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(bank_module.Bank, "save", full)
        with pytest.raises(
            RuntimeError, match=r"No space left on device; [\d.]+ GB are free\): make room there"
        ) as e:
            mapped_bank("key", lambda: bank, print)
        assert str(tmp_path) in str(e.value)
