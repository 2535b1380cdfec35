"""Damaged recordings, caches and folds, by the hundred: ``python -m tests.features.fuzzing KIND COUNT FOLDER``.

A process of its own, which prints what became of them as JSON. An input that takes five seconds ends it by SIGALRM,
one that asks for more memory than the bound by a MemoryError; the last line on stderr names the input.
"""

from __future__ import annotations

import io
import json
import resource
import signal
import struct
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import soundfile
from rich.console import Console

from raytag.datasets import recordings
from raytag.datasets.loader import _header
from raytag.experiment import Features
from raytag.features import UnusableClip, waveform
from raytag.features.bank import Bank
from raytag.features.manifest import DamagedCells, Known, Manifest
from raytag.features.shards import read_features
from raytag.store.files import Storage

SECONDS = 5
#: Bounds of this process, so that what goes beyond them is noticed without gigabytes.
SAMPLES, ROOM = 2**24, 768 << 20
KINDS = {
    "wav16": ("WAV", "PCM_16", 1),
    "wav24": ("WAV", "PCM_24", 2),
    "wavfloat": ("WAV", "FLOAT", 1),
    "aiff": ("AIFF", "PCM_16", 2),
    "flac": ("FLAC", "PCM_16", 2),
    "ogg": ("OGG", "VORBIS", 1),
    "opus": ("OGG", "OPUS", 1),
}
EXTREMES = (0, 1, 2, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF, 10**9)


def recording(kind: str, rng: np.random.Generator) -> bytes:
    """A third of a second of noise."""
    container, subtype, channels = KINDS[kind]
    file = io.BytesIO()
    x = 0.1 * rng.standard_normal((16_000, channels))
    soundfile.write(file, x, 48_000, format=container, subtype=subtype)
    return file.getvalue()


def mutated(data: bytes, rng: np.random.Generator, head: int = 96) -> bytes:
    """Flipped bits, cuts, holes, insertions, or fields of the header (and of what stands anywhere) at extremes."""
    out = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        if not out:
            break
        fault = rng.integers(6)
        at = int(rng.integers(len(out)))
        if fault == 0:
            out[at] ^= 1 << int(rng.integers(8))
        elif fault == 1:
            del out[at:]
        elif fault == 2:
            del out[at : at + int(rng.integers(1, 64))]
        elif fault == 3:
            out[at:at] = rng.bytes(int(rng.integers(1, 64)))
        else:
            at = int(rng.integers(min(head, len(out)))) if fault == 4 else at
            size = int(rng.choice([1, 2, 4, 8]))
            value = int(rng.choice(EXTREMES)) % 256**size
            field = value.to_bytes(size, str(rng.choice(["little", "big"])))  # type: ignore[arg-type]
            out[at : at + size] = field[: len(out) - at]
    return bytes(out)


def ogg_crc(page: bytes) -> int:
    """CRC of an Ogg page whose field of it is zero (RFC 3533)."""
    crc = 0
    for byte in page:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1) ^ (0x04C11DB7 if crc & 0x80000000 else 0)
        crc &= 0xFFFFFFFF
    return crc


def with_crcs(data: bytes) -> bytes:
    """Ogg pages with right sums: what is damaged in them reaches the decoder."""
    out, at = bytearray(data), data.find(b"OggS")
    while at >= 0 and at + 27 <= len(out):
        end = at + 27 + out[at + 26]
        end += sum(out[at + 27 : end])
        out[at + 22 : at + 26] = bytes(4)
        out[at + 22 : at + 26] = struct.pack("<I", ogg_crc(bytes(out[at:end])))
        at = out.find(b"OggS", min(end, at + 27))
    return bytes(out)


def audio(count: int, folder: Path) -> Counter[str]:
    """Features of damaged recordings, or the reason why there are none."""
    features, found = Features(sample_rate=16_000, fmax=8000), Counter[str]()
    sources = {kind: recording(kind, np.random.default_rng(0)) for kind in KINDS}
    for data in sources.values():
        features.spectrogram(data, "")
    limit()
    for seed in range(count):
        rng = np.random.default_rng(seed)
        kind = list(KINDS)[seed % len(KINDS)]
        data = mutated(sources[kind], rng)
        if sources[kind].startswith(b"OggS") and rng.random() < 0.7:
            data = with_crcs(data)
        print(kind, seed, file=sys.stderr, flush=True)
        signal.alarm(SECONDS)
        (folder / "clip").write_bytes(data)
        _header(str(folder / "clip"))
        try:
            logmel, _ = features.spectrogram(data, "")
        except UnusableClip as error:
            found[error.code] += 1
        else:
            assert np.isfinite(logmel).all(), (kind, seed)
            found["used"] += 1
        signal.alarm(0)
    return found


def cache(count: int, folder: Path) -> Counter[str]:
    """What is believed of a damaged cache in ``folder``: nothing but what was written."""
    (storage,) = (Storage(path) for path in folder.iterdir())
    files = [path for path in Path(storage.root).rglob("*") if path.is_file()]
    whole = {path: path.read_bytes() for path in files}
    quiet = Console(file=io.StringIO())
    true = Known(storage, quiet)
    rows = manifest_rows(true)
    manifest = Manifest(rows, Features(), storage)
    bank = manifest.bank()
    features = {
        shard: {row[:2]: row[2].tobytes() for row in read_features(storage, shard)} for shard in true.shards
    }
    features_of = {key: value for own in features.values() for key, value in own.items()}
    limit()
    found = Counter[str]()
    for seed in range(count):
        rng = np.random.default_rng(seed)
        path = files[seed % len(files)]
        data = mutated(whole[path], rng, len(whole[path]))
        print(path.name, seed, file=sys.stderr, flush=True)
        signal.alarm(SECONDS)
        path.write_bytes(data)
        damaged = [path.name]
        try:
            assert_same(manifest.bank(), bank, seed)
            found["bank whole"] += 1
        except DamagedCells as error:
            damaged = list(error.cells)
            found["bank damaged"] += 1
        assert damaged == [path.name], seed
        if rng.random() < 0.5 and path.parent.name == "shards":  # so that they are looked into
            Path(storage.root, "manifest.parquet").unlink()
        words = io.StringIO()
        known = Known(storage, Console(file=words))
        for key, cell in known.cells.items():
            assert true.cells[key][0::2] == cell[0::2], (seed, key, cell)
            assert true.cells[key][3] == cell[3], (seed, key, cell)
        assert known.index.items() <= true.index.items(), seed
        for shard in known.shards:
            try:
                for clip, content, values in read_features(storage, shard):
                    assert features_of[clip, content] == values.tobytes(), seed
            except ValueError:
                assert shard == path.name, seed
        noticed = bool(words.getvalue()) or data == whole[path]
        found["noticed" if noticed else "left for the bank"] += 1
        assert noticed or path.parent.name == "shards", (seed, path)
        signal.alarm(0)
        for shard in Path(storage.root, "shards").iterdir():
            shard.unlink()
        for file, content in whole.items():
            file.write_bytes(content)
    return found


def fold(count: int, folder: Path) -> Counter[str]:
    """What is read of a damaged fold: what was written, or, where nothing is known of its files, some table."""
    import pandas as pd
    import torch

    from raytag.errors import DamagedError
    from raytag.store.fold import CURVE_COLUMNS, FoldStore

    rng, storage = np.random.default_rng(0), Storage(folder / "fold_0")
    there = FoldStore(storage)
    tensors = {f"layer{i}.weight": torch.from_numpy(rng.standard_normal((8, 3 + i))) for i in range(6)}
    table = pd.DataFrame(rng.random((40, 5), np.float32), columns=list("abcde"))
    table.insert(0, "fname", [f"{i}.wav" for i in range(40)])
    curve = pd.DataFrame(rng.random((9, len(CURVE_COLUMNS))), columns=CURVE_COLUMNS)
    there.write_checkpoint(tensors, {"epoch": 1, "step": 0}, curve)
    kept = storage.read("checkpoint-0.safetensors"), storage.read("checkpoint-0.json")
    there.finish(weights=tensors, oof=table, test=table, curve=curve, result={"lwlrap": 0.5})
    for name, data in zip(("checkpoint-0.safetensors", "checkpoint-0.json"), kept, strict=True):
        storage.write(name, data)
    whole = {name: storage.read(name) for name in storage.files()}
    readers = {"weights": there.weights, "oof": there.oof, "test": there.test, "curve": there.curve}
    readers |= {"result": there.result, "checkpoint-0": there.checkpoint}
    good = {name: plain(read()) for name, read in readers.items()}
    limit()
    found = Counter[str]()
    for seed in range(count):
        rng = np.random.default_rng(seed)
        name = list(whole)[seed % len(whole)]
        data = mutated(whole[name], rng, int(rng.choice([16, 96, len(whole[name])])))
        known = bool(rng.random() < 0.3) or name.endswith(".json")
        print(name, seed, known, file=sys.stderr, flush=True)
        signal.alarm(SECONDS)
        if not known:  # as before there were digests
            storage.write_json("result.json", {"lwlrap": 0.5})
            storage.write_json("checkpoint-0.json", {**storage.read_json("checkpoint-0.json"), "file": None})
        storage.write(name, data)
        what, _, _ = name.partition(".")
        try:
            value = readers[what]()
        except (DamagedError, FileNotFoundError):
            found["refused"] += 1
        else:
            same = plain(value) == good[what]
            passed = what.startswith("checkpoint") and not value[0] and value[2]  # over, with a reason
            lost = what == "curve" and not there.finished  # that of an unfinished fold is for looking at alone
            assert same or passed or lost or not known, (seed, name, value)
            found["as it was" if same else "passed over" if passed else "of before, believed"] += 1
        signal.alarm(0)
        for file, content in whole.items():
            storage.write(file, content)
    return found


def plain(value):
    """Tensors and tables as what equals."""
    if isinstance(value, dict):
        return {key: plain(own) for key, own in value.items()}
    if isinstance(value, tuple):
        return [plain(own) for own in value]
    return value.numpy().tobytes() if hasattr(value, "numpy") else getattr(value, "to_csv", lambda: value)()


def manifest_rows(known: Known):
    """Rows of a manifest of all cells."""
    import pandas as pd

    from raytag.features.manifest import ROWS

    rows = [(clip, content, *cell) for (clip, content), cell in known.cells.items()]
    return pd.DataFrame(rows, columns=ROWS).astype({"frames": "int64"})


def assert_same(one: Bank, other: Bank, seed: int) -> None:
    assert one.clips == other.clips, seed
    assert np.array_equal(one.buffer, other.buffer), seed


def limit() -> None:
    """No more memory than this process has, and the bound."""
    recordings.MAX_SAMPLES = waveform.MAX_SAMPLES = SAMPLES
    has = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (has + ROOM, has + ROOM))


if __name__ == "__main__":
    kind, number, place = sys.argv[1:]
    print(json.dumps({"audio": audio, "cache": cache, "fold": fold}[kind](int(number), Path(place))))
