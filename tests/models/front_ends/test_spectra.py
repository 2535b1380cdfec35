"""Front ends of waveforms against the log-mels of the cache, and what a network gets of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from raytag.batch import Outputs
from raytag.experiment import Experiment, Features, FrontEnd
from raytag.features import LogMel
from raytag.models.tagger import Tagger, tagger
from raytag.testing.models import logits_of

WAVES = {"features.name": "Waveforms", "input.name": "WaveformCrops", "input.crop_seconds": 0.5}
SMALL = {"model.name": "PlainConv", "model.base_size": 4, "model.blocks": 3, "model.hidden": 8}


def sounds(n: int = 3, samples: int = 22050) -> torch.Tensor:
    rng = np.random.default_rng(0)
    t = np.arange(samples) / 44100
    tones = np.stack([np.sin(2 * np.pi * (300 + 900 * i) * t) for i in range(n)])
    return torch.from_numpy((0.3 * tones + rng.normal(0, 1e-3, tones.shape)).astype(np.float32))


@pytest.mark.parametrize(("n_fft", "hop_length"), [(1024, 512), (2560, 690)])
def test_mel_has_the_numbers_of_the_cache(n_fft: int, hop_length: int) -> None:
    fields = {"n_fft": n_fft, "hop_length": hop_length, "n_mels": 64, "fmin": 50.0, "fmax": 16000.0}
    images = FrontEnd("Mel", **fields).build(Features("Waveforms"))(sounds())
    logmel = LogMel(44100, top_db=80.0, **fields)
    assert images.shape == (3, *FrontEnd("Mel", **fields).shape(Features("Waveforms"), (22050,)))
    for image, sound in zip(images, sounds(), strict=True):
        np.testing.assert_allclose(100 * image[0], logmel(sound.numpy()), atol=0.02)


def test_stft_is_the_power_of_windowed_frames() -> None:
    part = FrontEnd("STFT", n_fft=256, hop_length=100, top_db=200.0)
    image = part.build(Features("Waveforms"))(sounds())[1, 0].numpy()
    x = np.pad(sounds()[1].numpy().astype(np.float64), 128)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(256) / 256)
    for frame in (0, 7, 220):
        power = np.abs(np.fft.rfft(window * x[100 * frame : 100 * frame + 256])) ** 2
        np.testing.assert_allclose(100 * image[:, frame], 10 * np.log10(np.maximum(power, 1e-10)), atol=0.05)


@pytest.mark.parametrize("name", ["Mel", "STFT"])
def test_autocast_does_not_reach_a_front_end(name: str) -> None:
    front_end = FrontEnd(name).build(Features("Waveforms"))
    model = Tagger(front_end, nn.Identity())
    with torch.autocast("cpu", torch.bfloat16):
        found = model(sounds())
    assert found.dtype == torch.float32
    assert torch.equal(found, front_end(sounds()))


@pytest.mark.parametrize("name", ["Mel", "STFT"])
def test_silence_and_single_samples_are_finite(name: str) -> None:
    front_end = FrontEnd(name).build(Features("Waveforms"))
    assert (front_end(torch.zeros(2, 5000)) == -1).all()
    assert front_end(torch.ones(1, 1)).isfinite().all()


@pytest.mark.parametrize("name", ["Mel", "STFT"])
def test_a_tagger_has_the_weights_of_its_network_alone(name: str) -> None:
    experiment = Experiment().replace({**WAVES, **SMALL, "front_end.name": name})
    torch.manual_seed(0)
    model = tagger(experiment, 4).eval()
    assert isinstance(model, Tagger)
    assert all(key.startswith("network.") for key in model.state_dict())
    assert [name for name, _ in model.named_parameters()] == [
        f"network.{name}" for name, _ in model.network.named_parameters()
    ]
    with torch.no_grad():
        together = model(sounds())
        alone = torch.cat([model(sound[None]).clip for sound in sounds()])
    assert isinstance(together, Outputs)
    assert [logits.shape for logits in logits_of(together)] == [(3, 4)]
    torch.testing.assert_close(together.clip, alone, rtol=1e-4, atol=1e-5)


def test_without_a_front_end_the_network_stands_alone() -> None:
    model = tagger(Experiment().replace({"model.base_size": 4}), 3)
    assert type(model).__name__ == "AuxSkipAttention"


def test_any_network_of_images_takes_what_a_front_end_makes() -> None:
    changes = {"front_end.name": "Mel", "model.name": "AuxSkipAttention", "model.base_size": 4}
    experiment = Experiment().replace(WAVES | changes)
    assert experiment.sample_shape == (1, 64, 44)
    outputs = tagger(experiment, 3)(sounds())
    assert len(outputs.aux) == 3


def test_what_does_not_fit_is_an_error_that_names_the_fields() -> None:
    with pytest.raises(
        ValueError, match=r"front_end\.name=Mel takes waveforms, and the input gives 3 x 128 x 256: set"
    ):
        Experiment().replace({"front_end.name": "Mel"})
    with pytest.raises(
        ValueError, match=r"WaveformCrops reads Waveforms and features\.name is LogMels: set features"
    ):
        Experiment().replace({"input.name": "WaveformCrops"})
    with pytest.raises(ValueError, match=r"front_end\.fmax 6000 Hz, and that at most half .*\(4000 Hz\)"):
        Experiment().replace(
            {**WAVES, "features.sample_rate": 8000, "front_end.name": "Mel", "front_end.fmax": 6000}
        )
    with pytest.raises(ValueError, match=r"n_fft must be even, not 1023"):
        FrontEnd("STFT", n_fft=1023)
