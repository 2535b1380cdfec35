"""What every feature set keeps: int16 frames that depend on the sound alone, reasons where there is none."""

from __future__ import annotations

import io
import json
import pickle

import numpy as np
import soundfile
from numpy.typing import NDArray

from raytag.experiment import Features
from raytag.features.bank import Bank
from raytag.features.decoding import UnusableClip
from raytag.features.remarks import MEANING
from raytag.parts import Features as FeatureSet

SECONDS = (0.05, 1.0, 3.0)  # of the recordings that are tried


def check_features(member: FeatureSet) -> None:
    """Hold a feature set to all that the cache, the bank and the search rely on.

    Raises
    ------
    AssertionError
        The first promise that is broken.
    """
    member.check()
    assert member.width >= 1, f"the width of a frame is {member.width}"
    assert member.rate > 0, f"there are {member.rate} frames a second"
    assert 0 < member.highest <= member.sample_rate / 2, f"sound is heard up to {member.highest} Hz"
    assert isinstance(member.level_of, str), "level_of does not say what level measures"
    _check_identity(member)
    clips = [_check_recording(member, seconds) for seconds in SECONDS]
    assert len(clips[-1]) >= len(clips[0]), "a longer recording has fewer frames"
    _check_unusable(member)
    _check_bank(member, clips)
    if "variants" in type(member).model_fields:
        _check_variant(member, clips[-1])
    other = {**member.fields(), **member.at_rate(8000)}
    assert type(member)(**other).sample_rate == 8000, "at_rate(8000) does not give its sample_rate"


def recording(seconds: float, rate: int, channels: int = 1) -> bytes:
    """A WAV file of noise whose level rises, 16 bits."""
    rng = np.random.default_rng(round(10 * seconds))
    x = rng.normal(0, 0.1, (max(1, round(seconds * rate)), channels))
    file = io.BytesIO()
    soundfile.write(file, x * np.linspace(0.5, 1, len(x))[:, None], rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


def _check_identity(member: FeatureSet) -> None:
    """It goes to the workers and into files, and comes back as what it is."""
    assert Features.parse(json.loads(member.model_dump_json())) == member, "as JSON it is another one"
    again = pickle.loads(pickle.dumps(member))
    assert type(again) is type(member), "pickled it is of another class"
    assert again == member, "pickled it is another one"


def _check_recording(member: FeatureSet, seconds: float) -> NDArray[np.int16]:
    for rate, channels in ((member.sample_rate, 1), (16000, 2)):
        what, data = f"a recording of {seconds:g} s, {rate} Hz", recording(seconds, rate, channels)
        frames, remarks = member.compute(data, "x.wav")
        assert frames.dtype == np.int16, f"{what}: frames are {frames.dtype}, not int16"
        assert frames.ndim == 2, f"{what}: frames are {frames.shape}, not (frames, {member.width})"
        assert frames.shape[1] == member.width, f"{what}: frames are {frames.shape}, not (frames, {member.width})"
        assert len(frames), f"{what}: there is no frame"
        unknown = [remark for remark in remarks if remark.partition(": ")[0] not in MEANING]
        assert not unknown, f"{what}: remarks are code: sentence with a code of raytag.features.remarks: {unknown}"
        again, _ = member.compute(data, "elsewhere/y.wav")
        assert np.array_equal(frames, again), f"{what}: the same content gives other frames the second time"
        if rate == member.sample_rate:
            first = frames
    return first


def _check_variant(member: FeatureSet, frames: NDArray[np.int16]) -> None:
    """What `raytag.features.sets.base.OfRecordings.waveform` gives is what is computed from."""
    _, copy = type(member)(**{**member.fields(), "variants": ("speed:2",)}).copies()
    made, _ = copy.compute(recording(SECONDS[-1], member.sample_rate), "x.wav")
    assert not np.array_equal(made, frames), "at twice the speed it is the same: compute does not use self.waveform"


def _check_unusable(member: FeatureSet) -> None:
    silence = io.BytesIO()
    soundfile.write(silence, np.zeros(member.sample_rate), member.sample_rate, format="WAV", subtype="PCM_16")
    for data, what in ((silence.getvalue(), "silence"), (b"", "an empty file"), (b"no sound", "no audio")):
        try:
            member.compute(data, "x.wav")
        except UnusableClip:
            continue
        raise AssertionError(f"{what}: gives frames, and should raise UnusableClip")


def _check_bank(member: FeatureSet, clips: list[NDArray[np.int16]]) -> None:
    noise = member.noise(7, np.random.default_rng(0))
    assert noise.dtype == np.int16, f"noise is {noise.dtype}, not int16"
    assert noise.shape == (7, member.width), f"noise is {noise.shape}, not {(7, member.width)}"
    assert np.array_equal(noise, member.noise(7, np.random.default_rng(0))), "noise is not its generator's alone"
    bank = Bank(np.concatenate(clips), np.cumsum([0, *map(len, clips)]), [str(i) for i in range(len(clips))])
    rows = np.arange(len(clips))[::-1].copy()
    vectors = member.summary(bank, rows)
    assert vectors.ndim == 2, f"a summary is {vectors.shape}, not (clips, values)"
    assert len(vectors) == len(clips), f"a summary is {vectors.shape}, not (clips, values)"
    assert np.isfinite(vectors).all(), "a summary is not finite"
    for row, vector in zip(rows, vectors, strict=True):
        alone = member.summary(bank, np.array([row]))[0]
        assert np.allclose(alone, vector, rtol=1e-4, atol=1e-6), "the summary of a clip depends on others"
        assert np.isfinite(member.level(clips[row])), "the level of a clip is not finite"
