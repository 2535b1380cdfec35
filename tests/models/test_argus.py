"""The networks of argus-freesound against reference arrays, their published sizes and their limits."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from raytag import models
from raytag.experiment import Model
from raytag.testing.models import logits_of

#: Reference arrays 18 -> our name of the network.
CASES = {
    "aux_skip_attention": "AuxSkipAttention",
    "aux_skip_attention_defaults": "AuxSkipAttention",
    "feature_extractor": "FeatureExtractor",
    "resnet18": "ResNet18",
    "resnet34": "ResNet34",
    "rnn_aux_skip_attention": "RnnAuxSkipAttention",
    "se_resnext50_32x4d": "SEResNeXt50_32x4d",
    "simple_attention": "SimpleAttention",
    "simple_kaggle": "SimpleKaggle",
    "skip_attention": "SkipAttention",
}
NAMES = sorted(set(CASES.values()))
#: Of the standard deviation of an output.
TOLERANCE = 1e-3


def network(name: str, constructor: dict[str, Any]) -> nn.Module:
    """The network of a published class; what its constructor is told of classes and channels is no field here."""
    known = Model.pick(name).model_fields
    fields = {field: value for field, value in constructor.items() if field in known}
    assert set(constructor) - set(fields) <= {"num_classes", "input_channels"}
    return Model(name, **fields).build(constructor["num_classes"], 3)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("case", CASES)
def test_networks_compute_what_the_published_ones_do(shared: Path, rules18: ModuleType, case: str) -> None:
    arrays, meta = rules18.load(shared / "golden" / f"18_fwd_argus_{case}.npz")
    assert [Model.pick(name).__name__ for name in meta["names"]] == [CASES[case]]
    net = network(meta["names"][0], meta["constructor"])
    assert sum(p.numel() for p in net.parameters()) == int(arrays["n_params"])
    for rule, batch in (("B", meta["batch"]), ("E", meta["batch"]), ("T", meta["batch_T"])):
        x = rules18.make_input(meta["input"], batch)
        filled = rules18.rule_b(net, meta["gain_B"]) if rule == "B" else rules18.rule_e(net, meta["gain_E"])
        with torch.no_grad():
            outputs = logits_of((rules18.train_mode(filled) if rule == "T" else filled)(x))
        expected = [arrays[key] for key in sorted(arrays) if key.startswith(f"{rule}_")]
        errors = [float(np.abs(o.numpy() - e).max() / e.std()) for o, e in zip(outputs, expected, strict=True)]
        print(f"{case}: {rule} largest error {max(errors):.1e} of an output's standard deviation")
        assert max(errors) <= TOLERANCE, rule


def test_parameters_have_the_published_shapes(shared: Path) -> None:
    entries = json.loads((shared / "golden" / "models.json").read_text())
    table = {name.replace("_", "").lower() for name in models.MODELS}
    ours = [e for e in entries if e["system"] == "argus" and e["cls"].replace("_", "").lower() in table]
    assert {Model.pick(entry["cls"]).__name__ for entry in ours} == set(NAMES)
    for entry in ours:
        # the published class's default, which entries leave out and competition and experiments do not use
        unsaid = {"last_fc": 2} if "last_fc" in Model.pick(entry["cls"]).model_fields else {}
        with torch.device("meta"):
            net = network(entry["cls"], unsaid | entry["params"]).eval()
        parameters, buffers = list(net.parameters()), list(net.buffers())
        assert sum(p.numel() for p in parameters) == entry["n_params"]
        shapes = entry.get("param_shapes_sorted") or entry["trainable_param_shapes_sorted"]
        assert sorted(list(p.shape) for p in parameters) == shapes
        assert len(buffers) == entry["n_buffers"]
        assert sum(b.numel() for b in buffers) == entry["n_buffer_elems"]
        outputs = logits_of(net(torch.empty(entry["input_shape"], device="meta")))
        assert [list(o.shape) for o in outputs] == list(entry["outputs"].values())


@pytest.mark.parametrize(
    ("name", "fields", "count"),
    [
        ("FeatureExtractor", {}, 306_288),
        ("ResNet18", {}, 11_217_552),
        ("ResNet34", {}, 21_325_712),
        ("ResNet50", {}, 23_671_952),
        ("RnnAuxSkipAttention", {}, 22_054_246),
        ("RnnAuxSkipAttention", {"last_fc": 2}, 21_749_606),
        ("SEResNeXt50_32x4d", {}, 25_674_816),
        ("SEResNet50", {}, 26_202_944),
        ("SimpleAttention", {}, 4_796_403),
        ("SimpleKaggle", {}, 4_765_457),
        ("SkipAttention", {"last_fc": 2}, 16_793_587),
        ("SkipAttention", {"last_fc": 2, "kernel_size": 3}, 16_793_507),
    ],
)
def test_networks_have_as_many_parameters_as_was_published(name: str, fields: dict[str, int], count: int) -> None:
    with torch.device("meta"):
        net = models.build(name, num_classes=80, **fields)
    assert sum(p.numel() for p in net.parameters()) == count


@pytest.mark.parametrize(
    ("published", "ours"),
    [("resnet18", "ResNet18"), ("se_resnext50_32x4d", "SEResNeXt50_32x4d"), ("se_resnet50", "SEResNet50")],
)
def test_networks_are_found_by_their_published_names(published: str, ours: str) -> None:
    assert Model.pick(published).__name__ == ours


@pytest.mark.parametrize(
    ("name", "fields", "smallest"),
    [
        ("FeatureExtractor", {"base_size": 2}, 64),
        ("ResNet18", {"width": 1 / 16}, 17),
        ("ResNet50", {"width": 1 / 16}, 17),
        ("RnnAuxSkipAttention", {"base_size": 2}, 16),
        ("SEResNet50", {"width": 1 / 16}, 9),
        ("SimpleAttention", {"base_size": 2}, 16),
        ("SimpleKaggle", {"base_size": 2}, 16),
    ],
)
def test_images_too_small_to_be_halved_are_refused(name: str, fields: dict[str, float], smallest: int) -> None:
    net = models.build(name, num_classes=3, **fields).eval()
    with torch.no_grad():
        assert net(torch.randn(1, 3, smallest, smallest)).clip.isfinite().all()
    with pytest.raises(
        ValueError, match=rf"{smallest - 1} bands x 70 frames; .* needs at least {smallest} of each"
    ):
        net(torch.randn(1, 3, smallest - 1, 70))
    with pytest.raises(ValueError, match="takes images, and gets waveforms: set front_end"):
        net(torch.randn(1, 4000))


@pytest.mark.parametrize("name", ["ResNet18", "ResNet34", "ResNet50", "SEResNet50", "SEResNeXt50_32x4d"])
def test_width_multiplies_the_channels_that_are_classified(name: str) -> None:
    with torch.device("meta"):
        whole, half = (models.build(name, num_classes=3, width=width) for width in (1.0, 0.5))
    assert whole.classes.in_features == 2 * half.classes.in_features  # type: ignore[operator, union-attr]


def test_the_recurrent_network_hears_the_order_of_sounds() -> None:
    torch.manual_seed(0)
    net = models.build("RnnAuxSkipAttention", num_classes=3, base_size=4).eval()
    steps = torch.randn(1, 32, 1, 6)
    net.features = lambda x: (x, [torch.randn(1, 32, 2, 2)] * 3)  # type: ignore[assignment]
    with torch.no_grad():
        forward, backward = net(steps), net(steps.flip(3))
    assert not torch.allclose(forward.embedding, backward.embedding)


def test_residual_convolutions_start_from_he_initialisation_by_fan_out() -> None:
    torch.manual_seed(0)
    net = models.build("ResNet18", num_classes=3)
    for conv, fan_out in ((net.stem.conv, 64 * 49), (net.stages[2][0].conv1, 256 * 9)):  # type: ignore[index, union-attr]
        assert conv.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.03)  # type: ignore[union-attr]


def test_biases_before_a_batch_norm_start_at_zero() -> None:
    torch.manual_seed(0)
    net = models.build("SimpleKaggle", num_classes=3, base_size=2)
    found = [m.bias for m in net.modules() if isinstance(m, nn.Conv2d)]
    assert len(found) == 8
    assert not any(bias.any() for bias in found if bias is not None)


def test_dropout_of_the_feature_extractor_takes_whole_channels() -> None:
    torch.manual_seed(0)
    net = models.build("FeatureExtractor", num_classes=3, base_size=4, dropout=0.5).train()
    kept = net.dropout(torch.ones(8, 4, 5, 5))  # type: ignore[operator]
    assert set(kept.mean((2, 3)).flatten().tolist()) == {0.0, 2.0}
