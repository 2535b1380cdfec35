"""Variants of recordings: their sound, that each has cells of its own, and what happens where one fails."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import numpy as np
import pytest
import soundfile
from rich.console import Console

from raytag import datasets
from raytag.experiment import Experiment, Features
from raytag.features import Bank, UnusableClip
from raytag.features.cache import CacheError
from raytag.features.manifest import feature_hash
from raytag.features.report import bytes_of
from raytag.features.sets.banks import build_banks
from raytag.features.sets.variants import varied
from tests.recordings import RATE, make_folder

VARIANTS = ("pitch:+2", "stretch:0.9", "speed:1.1")
#: Small and quick, of the recordings of `make_folder`.
SMALL = {"sample_rate": 16000, "n_fft": 512, "hop_length": 256, "n_mels": 16, "fmax": 8000.0}


def tone(hz: float = 440.0, seconds: float = 2.0, rate: int = 16000) -> bytes:
    """A WAV file of a sine that fades in and out."""
    t = np.arange(int(seconds * rate)) / rate
    file = io.BytesIO()
    soundfile.write(file, 0.3 * np.sin(2 * np.pi * hz * t) * np.hanning(t.size), rate, format="WAV")
    return file.getvalue()


def copies_of(data: bytes, variants: str, **fields: object) -> list[np.ndarray]:
    """int16 samples (n,) of a recording and of its variants, silence kept."""
    features = Features("Waveforms", variants=variants, **{"sample_rate": 16000, "trim_db": None} | fields)
    return [copy.compute(data, "x.wav")[0][:, 0] for copy in features.copies()]


def peak(samples: np.ndarray, rate: int = 16000) -> float:
    """The loudest frequency, Hz."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(samples.size)))
    return float(spectrum.argmax() * rate / samples.size)


def test_there_is_one_spelling_and_one_order():
    for given in (
        "speed:1.10, pitch:2,stretch:.9",
        '["speed:1.1", "stretch:0.90", "pitch:+2.0"]',
        ("stretch:9e-1", "pitch: 2", "speed:1.1"),
    ):
        changed = Experiment().replace({"features.variants": given})
        assert changed.features.variants == VARIANTS
        assert Experiment.from_json(changed.to_json()) == changed
    assert Features(variants="pitch:3,pitch:-1.5,pitch:12").variants == ("pitch:-1.5", "pitch:+3", "pitch:+12")
    for nothing in ("", "none", "[]", ()):
        assert Experiment().replace({"features.variants": nothing}) == Experiment()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("pitch", r"features.variants: there is no variant 'pitch': write pitch:\+2 \(semitones\), stretch:0.9"),
        ("tempo:0.9", "no variant 'tempo:0.9': write"),
        ("stretch:fast", "no variant 'stretch:fast'"),
        ("stretch:nan", "no variant 'stretch:nan'"),
        ("[2]", "no variant '2'"),
        ("pitch:2,,speed:2", "no variant ''"),
        ("pitch:0", "pitch:0 changes nothing: leave it out"),
        ("stretch:1.0", "stretch:1.0 changes nothing"),
        ("speed:1", "speed:1 changes nothing"),
        ("pitch:25", "pitch:25: semitones must lie between -24 and 24"),
        ("stretch:-1", "stretch:-1: the rate must lie between 0.25 and 4"),
        ("speed:inf", "the speed must lie between"),
        ("pitch:2,pitch:+2.0", r"pitch:\+2 is given twice: leave one out"),
        ("3", "features.variants: there is no variant '3'"),
    ],
)
def test_what_is_no_variant_is_refused_with_what_to_write(given, words):
    with pytest.raises(ValueError, match=words):
        Experiment().replace({"features.variants": given})


def test_without_variants_nothing_has_another_identity():
    assert feature_hash(Features(variants=())) == "3da2733d93b95441"  # the default's, of before there were variants
    assert Experiment().replace({"features.variants": ""}).hash == Experiment().hash
    assert Features().copies() == (Features(),)
    several = Features(variants=VARIANTS)
    assert several == Features(variants=VARIANTS[::-1])
    assert [copy.variant for copy in several.copies()] == ["", *VARIANTS]
    hashes = [feature_hash(copy) for copy in several.copies()]
    assert len({*hashes, feature_hash(several)}) == 5
    assert hashes[:2] == ["3da2733d93b95441", "449abff715b7f1f4"]
    assert [pickle.loads(pickle.dumps(copy)).variant for copy in several.copies()] == ["", *VARIANTS]


def test_a_variant_sounds_as_it_says():
    """A12-2: argus-freesound throws the pitch-shifted samples away, so that its copies are the recordings."""
    names = "pitch:12,pitch:-12,pitch:+0.5,stretch:0.5,stretch:2,speed:2,speed:0.5"
    plain, low, half, high, slow, fast, deep, quick = copies_of(tone(), names)
    n = plain.size
    assert peak(plain) == pytest.approx(440, abs=1)
    assert (high.size, low.size, half.size) == (n, n, n)
    assert peak(high) == pytest.approx(880, abs=2)
    assert peak(low) == pytest.approx(220, abs=2)
    assert peak(half) == pytest.approx(440 * 2 ** (0.5 / 12), abs=2)
    assert (slow.size, fast.size) == (2 * n, n / 2)
    assert peak(slow) == pytest.approx(440, abs=2)
    assert peak(fast) == pytest.approx(440, abs=2)
    assert (quick.size, deep.size) == (n / 2, 2 * n)
    assert peak(quick) == pytest.approx(880, abs=2)
    assert peak(deep) == pytest.approx(220, abs=2)


def test_log_mels_are_those_of_the_varied_samples():
    features = Features(**SMALL, variants="speed:2")
    original, copy = (one.compute(tone(), "x.wav")[0] for one in features.copies())
    assert np.array_equal(original, features.compute(tone(), "x.wav")[0])
    assert abs(len(copy) - len(original) / 2) <= 1
    assert copy.mean(axis=0).argmax() > original.mean(axis=0).argmax()


@pytest.mark.parametrize("variant", ["pitch:+2", "stretch:4", "speed:4"])
def test_a_copy_keeps_the_least_length(variant):
    original, copy = copies_of(tone(seconds=1.0), variant, min_seconds=0.9)
    assert (original.size, copy.size) == (16000, 16000 if variant == "pitch:+2" else 14400)
    if variant != "pitch:+2":  # zeros on both sides, none inside
        first, last = np.flatnonzero(np.abs(copy) > 300)[[0, -1]]
        assert 5000 < first < 6000
        assert first + last == pytest.approx(14400, abs=600)
    tiny = copies_of(tone(seconds=0.02), variant, min_seconds=0.01)
    assert 160 <= tiny[1].size <= 320


def test_a_variant_that_leaves_nothing_is_unusable():
    with pytest.raises(UnusableClip, match="silent: speed:4 leaves no sound") as error:
        copies_of(tone(6000.0), "speed:4")
    assert (error.value.code, error.value.path) == ("silent", "x.wav")
    with pytest.raises(UnusableClip, match="too_large: pitch:-1 of 40000000 samples"):
        varied(np.zeros(40_000_000, np.float32), 44100, "pitch:-1", "x.wav")
    with pytest.raises(UnusableClip, match=r"too_large: pitch:\+12 of 20000000 samples"):
        varied(np.zeros(20_000_000, np.float32), 44100, "pitch:+12", "x.wav")
    with pytest.raises(UnusableClip, match=r"too_large: stretch:0\.25 of 10000000 samples"):
        varied(np.zeros(10_000_000, np.float32), 44100, "stretch:0.25", "x.wav")


def build(folder: Path, table: datasets.ClipTable, *variants: str, **options: object):
    """(Manifest, Bank) of small log-mels for each tuple of variants, and what was printed."""
    console = Console(file=io.StringIO(), width=300)
    sets = [Features(**SMALL, variants=own) for own in variants]
    found = build_banks(table, sets, str(folder / "cache"), console=console, **options)
    return found, console.file.getvalue()


def row(bank: Bank, i: int) -> np.ndarray:
    return bank.buffer[bank.offsets[i] : bank.offsets[i + 1]]


def test_each_variant_is_computed_once_and_adds_rows_to_the_bank(table, tmp_path, ray_session):
    ((_, plain),), _ = build(tmp_path, table, "")
    ((manifest, bank),), printed = build(tmp_path, table, "speed:1.1,stretch:0.9")
    n = len(table)
    trained = (table.clips["subset"] != "test").to_numpy()
    assert [line for line in printed.splitlines() if "to compute" in line] == [
        f"features: {n} clips cached, 0 to compute",
        f"features: 0 clips cached, {trained.sum()} to compute",
        f"features: 0 clips cached, {trained.sum()} to compute",
    ]
    assert "set 2 of 3: sample_rate=16000" in printed
    assert "variants=['stretch:0.9']" in printed
    assert (bank.copies, len(bank), len(bank.frames)) == (3, n, 3 * n)
    assert bank.clips == plain.clips
    assert np.array_equal(bank.originals.buffer, plain.buffer)
    assert np.array_equal(bank.originals.offsets, plain.offsets)
    sets = manifest.features.copies()
    for i, path in enumerate(table.clips["path"]):
        for v, features in enumerate(sets):
            frames = row(bank, v * n + i)
            if v and not trained[i]:
                assert len(frames) == 0  # test clips are only predicted
            else:
                assert np.array_equal(frames, features.compute(Path(path).read_bytes(), path)[0])
    assert manifest.nbytes == bank.nbytes
    _, printed = build(tmp_path, table, "speed:1.1,pitch:1,stretch:0.9", "", "speed:1.1")
    assert [int(line.split(", ")[1].split()[0]) for line in printed.splitlines() if "to compute" in line] == [
        *(0, trained.sum(), 0, 0)
    ]


def test_a_bank_travels_and_is_mapped_with_its_copies(table, tmp_path, ray_session):
    ((manifest, bank),), _ = build(tmp_path, table, "speed:1.1")
    assert pickle.loads(pickle.dumps(manifest)).bank().buffer.tobytes() == bank.buffer.tobytes()
    bank.save(tmp_path / "bank")
    for other in (Bank.memmap(tmp_path / "bank"), pickle.loads(pickle.dumps(bank))):
        assert (other.copies, other.clips) == (2, bank.clips)
        assert np.array_equal(other.offsets, bank.offsets)
        assert np.array_equal(other.buffer, bank.buffer)
        assert np.array_equal(other.originals.buffer, bank.originals.buffer)
    some = manifest.bank(list(bank.clips[3:5]))
    assert np.array_equal(row(some, 2), row(bank, len(bank) + 3))
    other, _ = build(tmp_path, table, "", "speed:1.1", "speed:1.2")
    assert len({manifest.key for manifest, _ in other}) == 3


def test_a_changed_recording_gives_other_copies(table, tmp_path, ray_session):
    ((_, before),), _ = build(tmp_path, table, "speed:1.1")
    Path(table.clips["path"][3]).write_bytes(tone(seconds=0.7))
    ((_, after),), printed = build(tmp_path, table, "speed:1.1", verify=True)
    assert printed.count(f"{len(table)} to verify") == 1
    assert printed.count("to verify") == 2
    changed = [
        i
        for i in range(len(before.frames))
        if len(row(before, i)) != len(row(after, i)) or not np.array_equal(row(before, i), row(after, i))
    ]
    assert changed == [3, len(table) + 3]


def test_damaged_cells_of_recordings_and_copies_are_computed_again(table, tmp_path, ray_session):
    ((manifest, before),), _ = build(tmp_path, table, "speed:1.1")
    for features in manifest.features.copies():
        shard = sorted((tmp_path / "cache" / feature_hash(features) / "shards").iterdir())[0]
        data = bytearray(shard.read_bytes())
        data[len(data) // 2] ^= 1
        shard.write_bytes(data)
    ((_, after),), printed = build(tmp_path, table, "speed:1.1")
    assert printed.count("damaged or gone") == 2
    assert np.array_equal(before.buffer, after.buffer)


def test_a_clip_goes_without_the_copy_that_fails(tmp_path, ray_session):
    data = make_folder(tmp_path / "data")
    (data / "train_curated" / "c005.wav").write_bytes(tone(7000.0))  # at speed 4 it lies beyond half the rate
    silent = io.BytesIO()
    soundfile.write(silent, np.zeros(RATE), RATE, format="WAV")
    (data / "train_noisy" / "n2.wav").write_bytes(silent.getvalue())
    table = datasets.load(data)
    ((manifest, bank),), printed = build(tmp_path, table, "speed:4,speed:2", max_bad_share=0.2)
    assert manifest.quarantined["clip"].tolist() == ["train_noisy/n2.wav"]
    assert "1 of 34 clips are unusable and left out: 1 silent\n" in printed
    wanted = "1 of 29 clips are unusable and trained on without that copy: 1 silent as speed:4\n"
    assert wanted in printed
    assert "train_curated/c005.wav: silent: speed:4 leaves no sound" in printed
    _, copy = manifest.copies
    assert copy.quarantined["clip"].tolist() == ["train_curated/c005.wav"]
    assert [f.text for f in manifest.findings if f.code == "unusable"] == [
        "1 recording is silent (train_noisy/n2.wav)",
        "1 recording is silent as speed:4 (train_curated/c005.wav)",
    ]
    n, own = len(bank), int(bank.index(["train_curated/c005.wav"])[0])
    frames = bank.frames.reshape(3, n)
    missing = [clip for clip, length in zip(bank.clips, frames[2], strict=True) if length == 0]
    assert missing == [clip for clip in bank.clips if clip.startswith("test/") or clip.endswith("c005.wav")]
    drawn = bank.copy_of(np.full(1000, own), np.arange(1000) / 1000)
    assert np.array_equal(np.bincount(drawn, minlength=3 * n)[[own, n + own]], [500, 500])
    (data / "train_noisy" / "n2.wav").write_bytes(tone())
    with pytest.raises(CacheError, match=r"1 of 24 curated clips are unusable .*silent: speed:4 leaves no sound"):
        build(tmp_path, table, "speed:4", max_bad_share=0.04)


def test_copies_are_drawn_alike():
    bank = Bank(np.zeros((10, 1), np.int16), np.array([0, 1, 2, 3, 4, 4, 5, 6, 8, 10]), ["a", "b", "c"], 3)
    rng = np.random.default_rng(0)
    for clip, there in ((0, [0, 3, 6]), (1, [1, 7]), (2, [2, 5, 8])):
        drawn = bank.copy_of(np.full(30000, clip), rng.random(30000))
        counts = np.bincount(drawn, minlength=9)
        assert np.flatnonzero(counts).tolist() == there
        assert np.abs(counts[there] / 30000 - 1 / len(there)).max() < 0.02
    with pytest.raises(ValueError, match="among 2 x 3 clips"):
        Bank(np.zeros((10, 1), np.int16), bank.offsets, ["a", "b", "c"], 2)


def test_room_is_asked_for_longer_copies(table):
    plain, high, slow = (bytes_of(table.clips, one) for one in Features(variants="stretch:0.5,pitch:1").copies())
    assert (high, slow) == (plain, pytest.approx(2 * plain, abs=1))
