"""Several feature sets of one table: a cache and a bank each, and the same clips in all."""

from __future__ import annotations

import io

import numpy as np
import soundfile
from rich.console import Console

from raytag import datasets
from raytag.experiment import Features
from raytag.features.cache import build_banks
from raytag.features.manifest import feature_hash
from tests.features.conftest import CLIPS
from tests.recordings import RATE, make_folder

SETS = [Features(), Features(n_mels=40, n_fft=1024, hop_length=512), Features(channel="first")]


def build(folder, table, **options):
    output = io.StringIO()
    console = Console(file=output, width=300)
    return build_banks(table, SETS, str(folder / "cache"), console=console, **options), output.getvalue()


def test_each_has_a_cache_and_a_bank_of_the_clips_that_are_usable_in_all(tmp_path, ray_session):
    data = make_folder(tmp_path / "data")
    x = np.random.default_rng(0).normal(0, 0.1, RATE)
    soundfile.write(
        data / "train_curated" / "c005.wav", np.stack([np.zeros(RATE), x], 1), RATE
    )  # silent on the left
    table = datasets.load(data)
    found, printed = build(tmp_path, table, max_bad_share=0.1)
    assert len(list((tmp_path / "cache").iterdir())) == 3
    assert "set 2 of 3: n_fft=1024, hop_length=512, n_mels=40" in printed
    assert sum("c005.wav" in line and "silent" in line for line in printed.splitlines()) == 1
    for features, (manifest, bank) in zip(SETS, found, strict=True):
        assert manifest.storage.root.endswith(feature_hash(features))
        assert manifest.quarantined["clip"].tolist() == ["train_curated/c005.wav"]
        assert manifest.quarantined["reason"].str.startswith("silent").all()
        assert bank.clips == found[0][1].clips
        assert (len(bank), bank.width) == (CLIPS - 1, features.n_mels)
    assert len({manifest.key for manifest, _ in found}) == 3
    ((alone, _),) = build_banks(table, SETS[:1], str(tmp_path / "cache"), report=False)
    assert alone.quarantined.empty
    assert alone.key != found[0][0].key  # its bank has another clip


def test_damaged_cells_of_one_set_are_computed_again(table, tmp_path, ray_session):
    whole, _ = build(tmp_path, table)
    folder = tmp_path / "cache" / feature_hash(SETS[1]) / "shards"
    shard = sorted(folder.iterdir())[0]
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    again, printed = build(tmp_path, table)
    assert "damaged" in printed
    for (_, bank), (_, other) in zip(whole, again, strict=True):
        assert bank.clips == other.clips
        assert np.array_equal(bank.buffer, other.buffer)
