"""Recordings that would hang or kill who reads them: found out before they are opened, or memory is asked for."""

from __future__ import annotations

import io
import os
import signal
import socket
import struct
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from raytag import datasets
from raytag.datasets import DatasetError, recordings
from raytag.datasets.loader import _header, channels
from raytag.features import UnusableClip, read_waveform, waveform
from raytag.features.decoding import decode, read_bytes
from raytag.features.waveform import waveform_of
from tests.features.conftest import CLIPS
from tests.features.fuzzing import with_crcs
from tests.features.test_cache import assert_holds
from tests.recordings import make_plain_folder


@pytest.fixture(autouse=True)
def patience():
    """Nothing here may wait for somebody who writes to a pipe."""

    def end(number: int, frame: object) -> None:
        raise TimeoutError("it hangs")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(100)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


KINDS = {"a folder": Path.mkdir, "a named pipe": os.mkfifo}


def make(path: Path, kind: str) -> None:
    if kind == "a socket":
        with socket.socket(socket.AF_UNIX) as server:
            here = os.getcwd()
            os.chdir(path.parent)  # such names are short
            server.bind(path.name)
            os.chdir(here)
    elif kind == "a device":
        path.symlink_to("/dev/zero")
    else:
        KINDS[kind](path)


@pytest.mark.parametrize("kind", ["a folder", "a named pipe", "a socket", "a device"])
def test_what_is_no_file_is_never_opened(table, run, kind):
    path, clip = Path(table.clips["path"][7]), table.clips["clip"][7]
    path.unlink()
    make(path, kind)
    with pytest.raises(UnusableClip, match=f"unreadable: it is {kind}, not a file"):
        read_bytes(path)
    assert channels(str(path)) == 0
    again = datasets.load(table.directory)
    assert np.isnan(again.clips["duration"][7])
    manifest, text = run(again)
    assert manifest.quarantined["clip"].tolist() == [clip]
    assert f"  {clip}: unreadable: it is {kind}, not a file" in text


def test_links_to_files_are_files(table, run):
    path = Path(table.clips["path"][7])
    elsewhere = path.parents[1] / "elsewhere.wav"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    assert run(datasets.load(table.directory))[0].quarantined.empty


def test_a_table_that_is_a_pipe_is_refused(tmp_path):
    folder = make_plain_folder(tmp_path / "data")
    (folder / "labels.csv").unlink()
    os.mkfifo(folder / "labels.csv")
    with pytest.raises(DatasetError):
        datasets.load(folder)


def wav(rate: int = 44100, channels: int = 1, samples: int = 500, tag: int = 1, bits: int = 16) -> bytes:
    frame = channels * bits // 8
    data = np.random.default_rng(0).integers(-9999, 9999, samples, np.int16).tobytes()
    form = struct.pack("<HHIIHH", tag, channels % 65536, rate, rate * frame % 2**32, frame % 65536, bits)
    chunks = b"fmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def flac(frames: int, rate: int = 44100) -> bytes:
    """A few frames, and a header that promises others."""
    file = io.BytesIO()
    soundfile.write(file, np.random.default_rng(0).normal(0, 0.1, 500), 44100, format="FLAC")
    data = bytearray(file.getvalue())
    at = 4 + 4 + 10  # rate, channels, bits and frames share 64 bits of STREAMINFO
    packed = int.from_bytes(data[at : at + 8], "big")
    packed = packed & ~(2**36 - 1) & (2**44 - 1) | frames | rate << 44
    data[at : at + 8] = packed.to_bytes(8, "big")
    return bytes(data)


def ogg(rate: int) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.random.default_rng(0).normal(0, 0.1, 500), 44100, format="OGG", subtype="VORBIS")
    data = bytearray(file.getvalue())
    at = data.index(b"\x01vorbis") + 12
    data[at : at + 4] = struct.pack("<I", rate)
    return with_crcs(bytes(data))


BOMBS = {
    "30,000 channels": (wav(channels=30_000, samples=60_000), "30000 channels; there may be 1024"),
    "1 GHz": (wav(rate=10**9), "1000000000 Hz; there may be 10000000"),
    "float at 1 GHz": (wav(rate=10**9, tag=3, bits=32), "1000000000 Hz; there may be 10000000"),
    "flac of 10 h": (flac(36_000 * 655_350, 655_350), r"23592600000 frames of 1 channels; there may be 1073741824"),
    "ogg at 1 GHz": (ogg(10**9), "1000000000 Hz; there may be 10000000"),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_header_that_promises_too_much_gets_nothing(tmp_path, kind):
    data, words = BOMBS[kind]
    tracemalloc.start()
    with pytest.raises(UnusableClip, match=f"too_large: the header announces {words}"):
        decode(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * len(data) + 1_000_000
    (tmp_path / "clip").write_bytes(data)
    assert np.isnan(_header(str(tmp_path / "clip"))[0])


def test_65_535_channels_are_more_than_libsndfile_knows():
    with pytest.raises(UnusableClip, match="unreadable: not audio that libsndfile knows"):
        decode(wav(channels=65_535, rate=10**9))


def test_a_rate_that_resampling_would_blow_up_gets_nothing(tmp_path):
    options = {"trim_db": 60.0, "min_seconds": 0.5, "short_clip": "sound", "pad_mode": "constant", "channel": "mix"}
    with pytest.raises(UnusableClip, match="too_large: 50000 samples at 1 Hz are more than 1073741824 at 44100 Hz"):
        waveform_of(wav(rate=1, samples=50_000), "", sample_rate=44100, **options)


def test_a_file_of_too_many_bytes_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(recordings, "MAX_BYTES", 1000)
    (tmp_path / "clip.wav").write_bytes(wav())
    with pytest.raises(UnusableClip, match="too_large: it has 1044 bytes, a file may have 1000"):
        read_waveform(tmp_path / "clip.wav")


def test_what_fits_the_bounds_is_read_as_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(recordings, "MAX_SAMPLES", 500)
    monkeypatch.setattr(waveform, "MAX_SAMPLES", 500)
    path = tmp_path / "clip.wav"
    path.write_bytes(wav(rate=16_000))
    assert len(read_waveform(path, sample_rate=16_000, min_seconds=0)) == 500
    path.write_bytes(wav(rate=16_000, samples=501))
    with pytest.raises(UnusableClip, match="too_large"):
        read_waveform(path, sample_rate=16_000)


def test_clips_beyond_max_clip_seconds_are_left_out_cached_or_not(table, run):
    first, _ = run(table)
    clips = table.clips.copy()
    clips.loc[3, "duration"] = 36_000.0
    long = replace(table, clips=clips)
    manifest, text = run(long)
    clip = clips["clip"][3]
    assert manifest.quarantined["clip"].tolist() == [clip]
    assert f"{clip}: too_large: the header announces 36000 s, more than the 7200 s of --max-clip-seconds" in text
    manifest, _ = run(long, max_clip_seconds=40_000)
    assert manifest.computed == 0
    assert manifest.rows.equals(first.rows)
    Path(clips["path"][3]).write_bytes(wav(samples=44100))
    manifest, _ = run(long)
    assert manifest.computed == 0
    assert_holds(run(long, max_clip_seconds=40_000)[0], table)


def test_all_bombs_at_once_are_named_and_the_build_goes_on(table, run):
    for i, (data, _) in enumerate(BOMBS.values()):
        Path(table.clips["path"][i]).write_bytes(data)
    manifest, text = run(datasets.load(table.directory), max_bad_share=0.5)
    assert len(manifest.usable) == CLIPS - len(BOMBS)
    assert f"{len(BOMBS)} of {CLIPS} clips are unusable and left out: {len(BOMBS)} too_large" in text
