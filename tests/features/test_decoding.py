"""Headers that lie and channels that cancel: the sound that is there is read, and a remark says how."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import soundfile

from raytag.features import UnusableClip, read_waveform
from raytag.features.decoding import decode
from tests.features.test_waveform import FORMATS, RATE, tone, write

CONTAINERS = {kind: FORMATS[kind] for kind in ("wav16", "wav24", "wav8", "wav32f", "extensible", "rf64", "aiff")}


def with_size(data: bytes, size: int) -> bytes:
    """The same file with another size of its samples in the header."""
    if data[:4] == b"RF64":
        at, form = data.index(b"ds64") + 16, "<Q"
    elif data[:4] == b"FORM":
        at, form, size = data.index(b"SSND") + 4, ">I", size + 8 if 0 < size < 2**31 else size
    else:
        at, form = data.index(b"data") + 4, "<I"
    return data[:at] + struct.pack(form, size) + data[at + struct.calcsize(form) :]


def noise(seconds: float = 0.1, channels: int = 1) -> np.ndarray:
    return 0.1 * np.random.default_rng(0).standard_normal((int(seconds * RATE), channels)).astype(np.float32)


@pytest.mark.parametrize("kind", CONTAINERS)
@pytest.mark.parametrize("lie", ["zero", "placeholder", "header counted in"])
def test_a_header_that_lies_is_not_believed(tmp_path, kind, lie):
    data = write(tmp_path / "clip", noise(channels=2), kind).read_bytes()
    whole = decode(data)
    assert whole.remarks == []
    follow = 4410 * 2 * {"wav24": 3, "wav8": 1, "wav32f": 4}.get(kind, 2)
    placeholder = 2**64 - 1 if kind == "rf64" else 0xFFFFFFFF
    size = {"zero": 0, "placeholder": placeholder, "header counted in": follow + 44}[lie]
    samples, rate, _, remarks = decode(with_size(data, size))
    assert np.array_equal(samples, whole.samples)
    assert rate == RATE
    announced = size - 8 if (kind, lie) == ("aiff", "placeholder") else size
    assert remarks == [f"header: announces {announced} bytes of samples, {follow} follow"]


def test_the_other_placeholder_of_streams_is_none_of_a_large_file(tmp_path):
    data = write(tmp_path / "clip", noise()).read_bytes()
    assert decode(with_size(data, 0x7FFFF000 + 36)).remarks == [
        f"header: announces {0x7FFFF000 + 36} bytes of samples, 8820 follow"
    ]
    with pytest.raises(UnusableClip, match="truncated: the file ends after 8820 of 2147479551 bytes"):
        decode(with_size(data, 0x7FFFF000 - 1))


@pytest.mark.parametrize("kind", CONTAINERS)
@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
def test_a_header_with_nothing_behind_is_empty(tmp_path, kind, size):
    data = with_size(write(tmp_path / "clip", np.zeros(0, np.float32), kind).read_bytes(), size)
    if kind == "rf64" and size:
        pytest.skip("so many bytes are possible in an RF64 file")
    with pytest.raises(UnusableClip, match=r"empty: the header announces \d+ bytes of samples and none follow"):
        decode(data)


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
@pytest.mark.parametrize("kind", ["wav16", "wav32f"])
def test_channels_that_do_not_cancel_give_the_same_bits_as_ever(tmp_path, kind, channels):
    path = write(tmp_path / "clip", noise(channels=channels), kind)
    samples, _, _, remarks = decode(path.read_bytes())
    frames = soundfile.read(path, dtype="float32", always_2d=True)[0]
    assert np.array_equal(samples, frames.mean(axis=1, dtype=np.float32))
    assert remarks == []


@pytest.mark.parametrize("kind", ["wav16", "wav32f", "flac"])
@pytest.mark.parametrize(("gain", "kept", "loudest"), [(-0.99, "0.0", 0), (-0.89, "0.3", 0), (-1.1, "0.2", 1)])
@pytest.mark.parametrize("offset", [0.0, 0.2])
def test_where_the_mean_cancels_the_loudest_channel_is_heard(tmp_path, kind, gain, kept, loudest, offset):
    x = tone()
    frames = np.stack([x + offset, gain * x + offset], axis=1)
    path = write(tmp_path / "clip", frames, kind)
    samples, _, _, remarks = decode(path.read_bytes())
    assert np.array_equal(samples, soundfile.read(path, dtype="float32")[0][:, loudest])
    assert remarks == [
        f"channels: the mean of 2 channels keeps {kept} % of the energy of channel {loudest + 1}, which is used"
    ]


def test_a_mean_that_keeps_two_percent_is_the_sound(tmp_path):
    x = tone()
    samples, _, _, remarks = decode(
        write(tmp_path / "clip", np.stack([x, -0.7 * x], axis=1), "wav32f").read_bytes()
    )
    assert np.abs(samples - 0.15 * x).max() < 1e-6
    assert remarks == []


@pytest.mark.parametrize("kind", ["wav16", "wav32f"])
def test_a_channel_may_be_chosen(tmp_path, kind):
    x = tone(channels=3) * [0.2, 1, 0.5]
    path = write(tmp_path / "clip", x, kind)
    for channel, index in (("first", 0), ("loudest", 1)):
        waveform = read_waveform(path, channel=channel)
        assert np.abs(waveform - x[:, index]).max() <= FORMATS[kind][2]


@pytest.mark.parametrize("kind", ["wav16", "wav32f"])
def test_the_reason_names_the_channel_that_is_silent(tmp_path, kind):
    path = write(tmp_path / "clip", np.stack([np.zeros(RATE), tone()], axis=1), kind)
    assert len(read_waveform(path)) == RATE
    with pytest.raises(
        UnusableClip, match="silent: all 44100 samples of channel 1 lie within one 16-bit step of 0"
    ):
        read_waveform(path, channel="first")
    path = write(tmp_path / "clip", np.zeros((RATE, 2)), kind)
    with pytest.raises(UnusableClip, match="silent: all 44100 samples of the mean of 2 channels lie"):
        read_waveform(path)
    with pytest.raises(UnusableClip, match="silent: all 44100 samples of channel 1 lie"):
        read_waveform(path, channel="loudest")


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
@pytest.mark.parametrize("channel", ["mix", "loudest"])
def test_cancelling_channels_hide_no_broken_sample(tmp_path, value, channel):
    frames = np.stack([tone(), -tone()], axis=1)
    frames[77] = value, -value
    with pytest.raises(UnusableClip, match="non_finite: 1 of 44100 samples are NaN, infinite or overflow"):
        read_waveform(write(tmp_path / "clip", frames, "wav32f"), channel=channel)
