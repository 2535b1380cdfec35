"""The networks of ex4sperans against reference arrays, their published sizes, and clips of every length."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from raytag import models
from raytag.experiment import Experiment, Features, FrontEnd, Model
from raytag.models.blocks.padded import Sound
from raytag.models.nets.hierarchical import Recurrent
from raytag.models.nets.magnitude import Magnitudes
from raytag.models.tagger import Tagger, tagger

TWO, ONE = "TwoDimensionalCNN", "HierarchicalCNN"
RNN = {"aggregation": "rnn"}
CLI = {"base_size": 64, "growth": 2.0, "first_read": 2}  # what its author wrote as defaults
#: What its author called our fields.
FIELDS = {
    "num_conv_blocks": "blocks",
    "conv_base_depth": "base_size",
    "growth_rate": "growth",
    "start_deep_supervision_on": "first_read",
    "aggregation_type": "aggregation",
    "output_dropout": "dropout",
    "backbone": "backbone",
}
#: The backbones' layer of 1000 classes, which nothing reads.
UNUSED = 513_000
#: Of the standard deviation of an output.
TOLERANCE = 1e-3
CASES = ["1d_max", "1d_rnn", "2d_max", "2d_rnn", "backbone_resnet18", "backbone_resnet34"]


def spectra(name: str) -> Magnitudes:
    """The front end of a network."""
    kind = "MagnitudeSTFT" if name == ONE else "MagnitudeMel"
    found = FrontEnd(kind, channels={ONE: 1, TWO: 2}.get(name, 3)).build(Features("Waveforms"))
    assert isinstance(found, Magnitudes)
    return found


def channels(name: str) -> int:
    """What a network is built for."""
    return {ONE: 129, TWO: 2}.get(name, 3)


def network(names: list[str], constructor: dict[str, Any]) -> tuple[str, nn.Module]:
    """The network of a published class, and its name here."""
    name = names[-1].removesuffix("ClassificationModel")
    fields = {FIELDS[field]: value for field, value in constructor.items() if field in FIELDS}
    unsaid = set(constructor) - set(FIELDS) - {"n_classes", "features"}
    assert unsaid <= {"input_dim"}
    return name, Model(name, **fields).build(constructor["n_classes"], channels(name))


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("case", CASES)
def test_networks_compute_what_the_published_ones_do(shared: Path, rules18: ModuleType, case: str) -> None:
    arrays, meta = rules18.load(shared / "golden" / f"18_fwd_ex4_{case}.npz")
    name, net = network(meta["names"], meta["constructor"])
    unused = UNUSED if name == "CNNBackbone" else 0
    assert sum(p.numel() for p in net.parameters()) == int(arrays["n_params"]) - unused
    front_end = spectra(name)
    for rule, batch in (("B", meta["batch"]), ("E", meta["batch"]), ("T", meta["batch_T"]), ("W", meta["batch"])):
        spec = meta["wave" if rule == "W" else "input"]
        x = rules18.make_input(spec, batch)
        x = front_end(x[..., 0]) if rule == "W" else front_end.with_channels(x)
        filled = rules18.rule_b(net, meta["gain_B"]) if rule == "B" else rules18.rule_e(net, meta["gain_E"])
        with torch.no_grad():
            clip = (rules18.train_mode(filled) if rule == "T" else filled)(x).clip
        expected = arrays[f"{rule}_class_logits"]
        error = float(np.abs(clip.numpy() - expected).max() / expected.std())
        print(f"{case}: {rule} largest error {error:.1e} of an output's standard deviation")
        assert error <= TOLERANCE, rule


def test_parameters_have_the_published_shapes(shared: Path) -> None:
    entries = json.loads((shared / "golden" / "models.json").read_text())
    ours = [
        e for e in entries if e["system"] == "ex4" and e["cls"].removesuffix("ClassificationModel") in models.MODELS
    ]
    assert len(ours) == len(CASES)
    for entry in ours:
        with torch.device("meta"):
            name, net = network([entry["cls"]], entry["params"])
        shapes = [list(p.shape) for p in net.parameters()]
        if name == ONE:  # convolutions in time stand here as those of images of one band
            shapes = [s[:2] + s[3:] if len(s) == 4 else s for s in shapes]
        if name == "CNNBackbone":
            shapes += [[1000, 512], [1000]]
        assert sorted(shapes) == entry["param_shapes_sorted"]


@pytest.mark.parametrize(
    ("name", "fields", "count"),
    [
        (TWO, {}, 2_337_426),
        (TWO, {"base_size": 100}, 9_248_771),
        (TWO, {"base_size": 100, "blocks": 6}, 21_545_583),
        (TWO, RNN, 3_919_634),
        (TWO, {"base_size": 100} | RNN, 10_134_359),
        (TWO, {"base_size": 100, "blocks": 6} | RNN, 21_237_002),
        (TWO, CLI, 25_031_252),
        (TWO, CLI | RNN, 24_001_108),
        (ONE, CLI, 12_496_786),
        (ONE, CLI | RNN, 11_466_642),
        (ONE, {"base_size": 100}, 4_798_963),
        (ONE, {"base_size": 100} | RNN, 5_684_551),
        ("CNNBackbone", {}, 11_995_774 - UNUSED),
        ("CNNBackbone", {"backbone": "resnet34"}, 22_103_934 - UNUSED),
    ],
)
def test_networks_have_as_many_parameters_as_was_published(name: str, fields: dict[str, Any], count: int) -> None:
    with torch.device("meta"):
        net = models.build(name, num_classes=80, channels=channels(name), **fields)
    assert sum(p.numel() for p in net.parameters()) == count


@pytest.mark.parametrize(("fields", "count"), [({}, 4_798_661), (RNN, 5_684_249)])
def test_mel_bands_are_channels_too(fields: dict[str, Any], count: int) -> None:
    waves = {"features.name": "Waveforms", "input.name": "WaveformCrops", "front_end.name": "MagnitudeMel"}
    chosen = {"model.name": ONE, "model.base_size": 100} | {f"model.{field}": v for field, v in fields.items()}
    experiment = Experiment().replace(waves | chosen)
    with torch.device("meta"):
        model = tagger(experiment, 80)
    assert sum(p.numel() for p in model.parameters()) == count


def small(name: str, **fields: Any) -> Tagger:
    """A network behind its front end, its running statistics those of a batch of noise."""
    torch.manual_seed(0)
    fields |= {"width": 1 / 16} if name == "CNNBackbone" else {"base_size": 4, "growth": 1.0}
    front_end = spectra(name)
    model = Tagger(front_end, Model(name, **fields).build(7, channels(name)), takes_lengths=True)
    with torch.no_grad():
        model.train()(*batch([0.3, 2.0, 1.2]))
    return model.eval()


def batch(seconds: list[float]) -> tuple[Tensor, Tensor]:
    """Padded noise of these lengths, each clip as loud as its place says."""
    lengths = torch.tensor([round(44_100 * s) for s in seconds])
    noise = torch.randn(len(seconds), int(lengths.max()), generator=torch.Generator().manual_seed(1))
    gain = 0.02 * torch.arange(1, len(seconds) + 1)[:, None]
    return gain * noise * (torch.arange(noise.shape[1]) < lengths[:, None]), lengths


DEEP = [
    *[(TWO, {"blocks": k, "first_read": 0}) for k in (1, 4, 7)],
    *[(ONE, {"blocks": k, "first_read": k - 1}) for k in (1, 4, 9)],
    (TWO, RNN | {"blocks": 6}),
    (ONE, RNN | {"blocks": 6}),
    ("CNNBackbone", {}),
    ("CNNBackbone", {"backbone": "resnet34"}),
]


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(("name", "fields"), DEEP)
def test_clips_of_every_length_have_the_logits_that_they_have_alone(name: str, fields: dict[str, Any]) -> None:
    """The published networks refuse short clips, and hear the silence behind others."""
    model = small(name, **fields)
    x, lengths = batch([0.01, 2.0, 0.02, 0.15, 0.3, 0.7, 1.5])
    with torch.no_grad():
        together = model(x, lengths).clip
        alone = torch.cat([model(clip[None, :n]).clip for clip, n in zip(x, lengths.tolist(), strict=True)])
    assert alone.isfinite().all()
    assert (together - alone).abs().max() <= 1e-5 * alone.abs().max()


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", [TWO, ONE, "CNNBackbone"])
def test_without_lengths_padding_is_heard(name: str) -> None:
    model = small(name)
    x, lengths = batch([2.0, 0.7])
    with torch.no_grad():
        masked, heard = model(x, lengths).clip, model(x).clip
        model.takes_lengths = False  # as with a network that knows of none
        assert torch.equal(model(x, lengths).clip, heard)
    torch.testing.assert_close(masked[0], heard[0])
    assert (masked[1] - heard[1]).abs().max() > 1e-2


def test_recurrent_readers_hear_the_order_of_sounds_and_no_pitch() -> None:
    torch.manual_seed(0)
    reader, x, sound = Recurrent(4), torch.randn(2, 4, 3, 10), Sound(None, 10)
    assert (reader(x, sound) - reader(x.flip(3), sound)).abs().min() > 1e-4
    torch.testing.assert_close(reader(x, sound), reader(x.flip(2), sound))


def test_an_experiment_joins_them() -> None:
    waves = {"features.name": "Waveforms", "input.name": "WaveformCrops", "input.crop_seconds": 0.5}
    chosen = {"front_end.name": "MagnitudeMel", "front_end.channels": 2, "model.name": TWO, "model.base_size": 4}
    model = tagger(Experiment().replace(waves | chosen), 3)
    assert isinstance(model, Tagger)
    assert model.takes_lengths
    model = tagger(Experiment().replace(waves | chosen | {"model.name": "PlainConv"}), 3)
    assert isinstance(model, Tagger)
    assert not model.takes_lengths


def test_what_does_not_fit_is_an_error_that_names_the_fields() -> None:
    with pytest.raises(ValueError, match="first_read 3 is no block: of 3 blocks the last is 2"):
        Model(TWO, blocks=3, first_read=3)
    with pytest.raises(ValueError, match="images have 1 x 128 bands, and this network is for 129"):
        models.build(ONE, num_classes=3, channels=129, base_size=4)(torch.zeros(2, 1, 128, 40))
    with pytest.raises(
        ValueError, match="16 bands x 40 frames; this network halves them 5 times and needs at least 32"
    ):
        models.build(TWO, num_classes=3, channels=1, base_size=4)(torch.zeros(2, 1, 16, 40))
    for name in (ONE, TWO, "CNNBackbone"):
        with pytest.raises(ValueError, match="takes images, and gets waveforms: set front_end"):
            models.build(name, num_classes=3, channels=1)(torch.zeros(2, 4000))
