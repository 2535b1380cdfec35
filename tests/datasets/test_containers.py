"""Headers of WAV, AIFF and Ogg files: what they announce, what is there, and the duration that the table gets."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import soundfile

from raytag.datasets.containers import find_samples, mended
from raytag.datasets.loader import _header

FORMATS = {
    "wav16": ("WAV", "PCM_16"),
    "wav24": ("WAV", "PCM_24"),
    "extensible": ("WAVEX", "PCM_16"),
    "rf64": ("RF64", "PCM_16"),
    "aiff": ("AIFF", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
}


def recording(kind: str, frames: int = 2000) -> bytes:
    file = io.BytesIO()
    container, subtype = FORMATS[kind]
    noise = 0.1 * np.random.default_rng(0).standard_normal(frames)
    soundfile.write(file, noise, 8000, format=container, subtype=subtype)
    return file.getvalue()


def lying(data: bytes, size: int, riff: int | None = None) -> bytes:
    """A WAV file whose header announces so many bytes of samples, and of everything."""
    at = data.index(b"data") + 4
    data = data[:at] + struct.pack("<I", size) + data[at + 4 :]
    return data if riff is None else data[:4] + struct.pack("<I", riff) + data[8:]


@pytest.mark.parametrize("kind", ["wav16", "extensible", "rf64", "aiff", "ogg"])
def test_damaged_headers_raise_nothing_else(kind):
    whole = bytearray(recording(kind))
    rng = np.random.default_rng(0)
    cut_short = 0
    for _ in range(2000):
        data = whole.copy()
        for place in rng.integers(0, min(120, len(whole)), rng.integers(1, 4)):
            data[place] = rng.integers(0, 256)
        part = bytes(data[: rng.integers(1, len(data) + 1)])
        try:
            assert len(mended(part, find_samples(part))) == len(part)
        except EOFError:
            cut_short += 1
    assert cut_short > 200


@pytest.mark.parametrize("kind", ["wav16", "wav24", "extensible", "rf64", "aiff"])
def test_a_header_that_tells_the_truth_is_left_alone(kind):
    data = recording(kind)
    samples = find_samples(data)
    assert samples.announced == samples.length == 2000 * (3 if kind == "wav24" else 2)
    assert mended(data, samples) is data


@pytest.mark.parametrize("kind", ["wav16", "wav24", "extensible"])
@pytest.mark.parametrize("riff", [0, 36, None])
def test_an_unclosed_recording_has_its_true_duration(tmp_path, kind, riff):
    path = tmp_path / "clip.wav"
    path.write_bytes(lying(recording(kind), 0, riff))
    assert _header(str(path)) == (0.25, 8000)


def test_durations_of_empty_and_broken_files_are_as_before(tmp_path):
    path = tmp_path / "clip.wav"
    path.write_bytes(recording("wav16", 0))
    assert _header(str(path)) == (0.0, 8000)
    path.write_bytes(b"no audio")
    assert np.isnan(_header(str(path))[0])
    assert np.isnan(_header(str(tmp_path / "nowhere.wav"))[0])


def test_a_title_behind_an_empty_chunk_of_samples_is_no_sound(tmp_path):
    title = b"LIST" + struct.pack("<I", 26) + b"INFOINAM" + struct.pack("<I", 14) + b"nothing at all"
    data = recording("wav16", 0) + title
    samples = find_samples(data)
    assert (samples.announced, samples.length) == (0, 0)
    (tmp_path / "clip.wav").write_bytes(data)
    assert _header(str(tmp_path / "clip.wav")) == (0.0, 8000)


def test_what_is_missing_may_be_as_long_as_the_header_and_no_longer():
    data = recording("wav16")
    assert find_samples(lying(data, 4000 + 44)).length == 4000
    with pytest.raises(EOFError, match="the file ends after 4000 of 4045 bytes of samples"):
        find_samples(lying(data, 4000 + 45))
    with pytest.raises(EOFError, match="the file ends after 0 of 44 bytes of samples"):
        find_samples(lying(data, 44)[:44])
