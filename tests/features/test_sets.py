"""Several feature sets of one table: a cache and a bank each, and the same clips in all."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile
from rich.console import Console

from raytag import datasets, plugins
from raytag.experiment import Features
from raytag.features.cache import build_cache
from raytag.features.manifest import feature_hash
from raytag.features.sets.banks import build_banks
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


OWN = """
from raytag.features.sets.waveforms import Waveforms

class {name}(Waveforms):
    def compute(self, data, path):
        samples, remarks = super().compute(data, path)
        return {frames}, remarks
"""


def own(folder, name, frames):
    (folder / "own.py").write_text(OWN.format(name=name, frames=frames))
    return Features(f"{name}@{plugins.load(folder / 'own.py').hash}", sample_rate=8000)


def test_a_users_own_set_is_computed_where_its_file_is_not(table, tmp_path, run):
    features = own(tmp_path, "Negative", "-(samples // 2)")
    (tmp_path / "own.py").unlink()
    mine, _ = run(table, features=features)
    plain, _ = run(table, features=Features("Waveforms", sample_rate=8000))
    assert mine.storage.root != plain.storage.root
    assert np.array_equal(mine.bank().buffer, -(plain.bank().buffer // 2))


@pytest.mark.parametrize(
    ("name", "frames", "words"),
    [
        ("Broken", "samples.nothing", r"own\.py:7: AttributeError: .*\(at the recording .*wav\)"),
        (
            "Floating",
            "samples / 2",
            r"features Floating@\w+ make float64 \(\d+, 1\) of .*wav, not int16",
        ),
    ],
)
def test_what_is_wrong_with_a_users_own_set_is_told_in_words(table, tmp_path, ray_session, name, frames, words):
    features = own(tmp_path, name, frames)
    with pytest.raises(plugins.PluginError, match=words) as error:
        build_cache(table, features, str(tmp_path / "cache"), console=Console(file=io.StringIO()))
    assert "Traceback" not in str(error.value)
