"""Magnitude spectrograms against reference arrays, and of padded batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from raytag.experiment import Experiment, Features, FrontEnd
from raytag.models.nets.magnitude import Magnitudes

NAMES = ["MagnitudeMel", "MagnitudeSTFT"]
WAVES = {"features.name": "Waveforms", "input.name": "WaveformCrops", "input.crop_seconds": 0.5}


def front_end(name: str, **fields: float) -> Magnitudes:
    found = FrontEnd(name, **fields).build(Features("Waveforms"))
    assert isinstance(found, Magnitudes)
    return found


@pytest.mark.parametrize(
    ("name", "key", "samples"),
    [("MagnitudeMel", "logmel_2048_1024_128", 50_000), ("MagnitudeSTFT", "stft_256_128_log", 16_384)],
)
def test_spectrograms_are_the_published_ones(shared: Path, name: str, key: str, samples: int) -> None:
    arrays = np.load(shared / "golden" / "15_features_ex4.npz")
    sound = torch.from_numpy(arrays["in_audio"][:samples])[None]
    module = front_end(name)
    np.testing.assert_allclose(module.by_torch(sound, None)[0], arrays[key], atol=1e-4)
    ours = module(sound)[0, 0].numpy()
    np.testing.assert_allclose(np.exp(ours), np.exp(arrays[key]), rtol=1e-4, atol=4e-6)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("fields", [{}, {"n_fft": 300, "hop_length": 130}, {"n_fft": 64, "hop_length": 100}])
def test_both_ways_to_compute_agree_on_padded_batches(name: str, fields: dict[str, int]) -> None:
    """Torch's is that of a GPU."""
    torch.manual_seed(0)
    module = front_end(name, **fields, **({"n_mels": 4} if name == "MagnitudeMel" and fields else {}))
    lengths = torch.tensor([9000, 8999, 4000, 1025, 1024, 129, 128, 3, 2, 1])
    x = torch.randn(len(lengths), 9000) * (torch.arange(9000) < lengths[:, None])
    images, frames = module(x, lengths)
    assert frames.tolist() == [1 + n // module.hop_length for n in lengths.tolist()]
    kernel, torchs = images[:, 0].exp(), module.by_torch(x, lengths).exp()
    torch.testing.assert_close(kernel, torchs, rtol=1e-4, atol=1e-4)
    for i, n in enumerate(lengths.tolist()):
        for compute, together in ((module.by_kernel, kernel), (module.by_torch, torchs)):
            alone = compute(x[i : i + 1, :n], None)[0].exp()
            torch.testing.assert_close(together[i, :, : frames[i]], alone, rtol=1e-5, atol=1e-6)


def test_a_clip_is_mirrored_at_its_own_end() -> None:
    """Against numpy, in float64."""
    rng = np.random.default_rng(0)
    x = rng.normal(0, 0.1, 1000).astype(np.float32)
    images, frames = front_end("MagnitudeSTFT")(torch.from_numpy(np.pad(x, (0, 500)))[None], torch.tensor([1000]))
    padded = np.pad(x.astype(np.float64), 128, mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(256) / 256)
    for t in range(int(frames[0])):
        magnitude = np.abs(np.fft.rfft(window * padded[128 * t : 128 * t + 256]))
        np.testing.assert_allclose(images[0, 0, :, t], np.log(magnitude + 1e-4), atol=1e-3)
    assert frames[0] == t + 1 == 8
    np.testing.assert_allclose(images[0, 0, :, 8:], np.log(1e-4), rtol=1e-6)


def test_channels_are_the_spectrogram_its_bands_positions_or_copies(shared: Path) -> None:
    tail = np.load(shared / "golden" / "15_features_ex4.npz")["freq_encoded_tail"]
    sound = torch.randn(2, 5000)
    one, two, three = (front_end("MagnitudeMel", channels=n)(sound) for n in (1, 2, 3))
    np.testing.assert_allclose(two[1, 1, :, :4], tail[1], atol=1e-6)
    assert torch.equal(two[:, :1], one)
    assert torch.equal(three, one.expand(-1, 3, -1, -1))


@pytest.mark.parametrize("name", NAMES)
def test_silence_is_the_logarithm_of_the_offset(name: str) -> None:
    for module in (front_end(name, offset=1e-3), front_end(name, offset=1e-6)):
        np.testing.assert_allclose(module(torch.zeros(1, 5000)), np.log(module.offset), rtol=1e-6)
    images, frames = front_end(name)(torch.zeros(2, 5000), torch.tensor([0, 5000]))
    assert frames[0] == 1
    assert images.isfinite().all()


def test_experiments_know_the_shape_and_what_does_not_fit() -> None:
    experiment = Experiment().replace(WAVES | {"front_end.name": "MagnitudeMel", "front_end.channels": 2})
    assert experiment.sample_shape == (2, 128, 22)
    with pytest.raises(ValueError, match=r"front_end\.fmin 5 Hz must be below front_end\.fmax 4 Hz"):
        experiment.replace({"front_end.fmax": 4.0})
    with pytest.raises(ValueError, match=r"n_fft must be even, not 255"):
        FrontEnd("MagnitudeSTFT", n_fft=255)
    with pytest.raises(ValueError, match=r"front_end\.name=MagnitudeSTFT takes waveforms"):
        Experiment().replace({"front_end.name": "MagnitudeSTFT"})
