"""raytag plugin: what a file brings, tried as its defaults build it."""

from __future__ import annotations

import json
import subprocess
import sys

from raytag.cli import main

GOOD = """
from pydantic import Field
from torch import nn
from raytag import parts
from raytag.batch import Outputs
from raytag.features.sets.waveforms import Waveforms
from raytag.inputs.waveforms.settings import WaveformCrops
from raytag.losses.bce import BCE
from raytag.train.optimizers import Adam


class Means(parts.Network):
    width: int = Field(4, ge=1)

    def build(self, num_classes, channels):
        return MeansNet(channels, self.width, num_classes)


class MeansNet(nn.Module):
    def __init__(self, channels, width, num_classes):
        super().__init__()
        layers = [nn.Linear(channels, width), nn.ReLU(), nn.Dropout(0.2), nn.Linear(width, num_classes)]
        self.layers = nn.Sequential(*layers)

    def forward(self, x):
        return Outputs(self.layers(x.mean((2, 3))))


class Softer(BCE):
    pass


class Halves(Waveforms):
    sample_rate: int = 8000


class Crops(WaveformCrops):
    reads = "Halves"
    crop_seconds: float = 0.5


class Slow(Adam):
    lr: float = 1e-5
"""
BAD = """
import torch
from torch import nn
from raytag import parts
from raytag.losses.base import LossOfLabels


class Bare(parts.Network):
    def build(self, num_classes, channels):
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, num_classes))


class Failing(parts.Network):
    def build(self, num_classes, channels):
        return {}["x"]


class Unset(parts.Network):
    width: int

    def build(self, num_classes, channels):
        return None


class Upside(LossOfLabels):
    def of_labels(self, logits, labels, weights, noisy):
        return (labels * logits).mean()
"""


def test_every_class_is_listed_and_tried(tmp_path, capsys):
    path = tmp_path / "mine.py"
    path.write_text(GOOD)
    assert main(["plugin", str(path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["file"] == str(path)
    members = {m["name"].partition("@")[0]: m for m in told["members"]}
    assert {name: m["family"] for name, m in members.items()} == {
        "Means": "model",
        "Softer": "loss",
        "Halves": "features",
        "Crops": "input",
        "Slow": "optimizer",
    }
    assert all(m["name"].endswith(f"@{told['hash']}") and m["broken"] is None for m in members.values())
    assert members["Means"]["fields"] == {"width": 4}
    assert members["Means"]["tried"] == "on images of 32 x 48, 64 x 31, 128 x 256"
    assert members["Crops"]["tried"] == f"with features Halves@{told['hash']}"
    assert main(["plugin", str(path)]) == 0
    printed = capsys.readouterr().out
    assert f"model     Means@{told['hash']}  width=4\n" in printed
    assert printed.count("\n            ok") == 5


def test_what_is_broken_is_said(tmp_path, capsys):
    path = tmp_path / "mine.py"
    path.write_text(BAD)
    assert main(["plugin", str(path), "--json"]) == 1
    broken = {m["name"].partition("@")[0]: m["broken"] for m in json.loads(capsys.readouterr().out)["members"]}
    assert broken["Bare"] == "the network returns Tensor, not raytag.batch.Outputs"
    assert broken["Failing"] == f"KeyError: 'x' ({path}:15)"
    assert "model.width: Field required" in broken["Unset"]
    assert "the loss grows with the logit of a positive label" in broken["Upside"]
    assert main(["plugin", str(path)]) == 1
    assert "broken: the network returns Tensor" in capsys.readouterr().out


def test_what_cannot_be_imported_is_an_error(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("import no_such_thing\n")
    code = f"import sys; from raytag.cli import main; sys.exit(main(['plugin', {str(path)!r}]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == f"error: {path}:1: ModuleNotFoundError: No module named 'no_such_thing'\n"
