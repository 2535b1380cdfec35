"""The contract of `raytag.testing.inputs` over all inputs, and that each of its promises can be broken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from raytag.batch import ALL
from raytag.experiment import Features, Input
from raytag.inputs import INPUTS
from raytag.inputs.waveforms.effects.settings import WithEffects
from raytag.testing.inputs import check_input

FIELDS: dict[str, dict[str, Any]] = {
    "LogMelImages": {"crop_frames": 32},
    "WaveformCrops": {"crop_seconds": 0.05, "mix_prob": 0.7},
    "WholeWaveforms": {"max_seconds": 0.05, "whole_seconds": 0.06, "plain_share": 0.1, "mix_prob": 0.7}
    | {name: 0.7 for name in WithEffects.model_fields if name.endswith("_prob")},
}


def make(name: str, **fields: Any):
    member = Input(name, **FIELDS[name] | fields)
    return member, Features(member.reads, sample_rate=8000, **({"fmax": 4000.0} if name == "LogMelImages" else {}))


@pytest.mark.parametrize("name", INPUTS)
def test_every_input_keeps_the_contract(name: str) -> None:
    check_input(*make(name))
    if "test_shifts" in Input.pick(name).model_fields:
        check_input(*make(name, test_shifts=3))


def of_feed(change: Callable[[Any], dict[str, Any]]):
    """The waveform input with some of its feed's functions changed."""

    def opened(bank, features):
        feed = make("WaveformCrops")[0].open(bank, features)
        names = ("training", "middles", "count_tiles", "first_frames", "tiles", "pooling", "bank")
        return SimpleNamespace(**{name: getattr(feed, name) for name in names} | change(feed))

    return opened


def x_of(feed, function):
    return {"training": lambda drawn, rng: (b := feed.training(drawn, rng)) and replace(b, x=function(b.x))}


def targets_of(feed, function):
    def training(drawn, rng):
        batch = feed.training(drawn, rng)
        return replace(batch, targets=function(batch.targets))

    return {"training": training}


def writing(feed):
    def middles(rows):
        feed.bank.buffer.flags.writeable = True
        feed.bank.buffer[0] = 12345
        return feed.middles(rows)

    return {"middles": middles}


def remembering(feed):
    seen = []

    def training(drawn, rng):
        seen.append(1)
        batch = feed.training(drawn, rng)
        return replace(batch, x=batch.x + len(seen))

    return {"training": training}


def everyone(feed):
    def tiles(rows, which=ALL):
        batch, owner = feed.tiles(rows, which)
        return replace(batch, x=batch.x - batch.x.mean()), owner

    return {"tiles": tiles}


def of_whole(change: Callable[[Any], dict[str, Any]]):
    """The padding input with some of its feed's functions changed."""

    def opened(bank, features):
        feed = make("WholeWaveforms")[0].open(bank, features)
        names = ("training", "middles", "count_tiles", "first_frames", "tiles", "pooling", "bank")
        names += ("sample_frames", "batch_frames")
        return SimpleNamespace(**{name: getattr(feed, name) for name in names} | change(feed))

    return opened


def every_tile(feed):
    return {"tiles": lambda rows, which=ALL: feed.tiles(rows)}


BAD: dict[str, tuple[Callable[[Any], dict[str, Any]], str]] = {
    "wide": (lambda f: x_of(f, lambda x: x[:, 1:]), r"x is \(25, 399\), not \(25, 400\)"),
    "double": (lambda f: x_of(f, torch.Tensor.double), "x is torch.float64"),
    "infinite": (lambda f: x_of(f, torch.log), "x is not finite"),
    "no batch": (lambda f: {"middles": lambda rows: f.middles(rows).x}, "Tensor, not raytag.batch.Batch"),
    "no targets": (lambda f: targets_of(f, lambda t: None), "no targets"),
    "too sure": (
        lambda f: targets_of(f, lambda t: replace(t, present=2 * t.present)),
        r"labels lie outside \[0, 1\]",
    ),
    "flags": (lambda f: targets_of(f, lambda t: replace(t, noisy=~t.noisy)), "other clips are noisy"),
    "closed world": (
        lambda f: targets_of(f, lambda t: replace(t, absent=None)),
        "against classes is lost",
    ),
    "new class": (
        lambda f: targets_of(f, lambda t: replace(t, present=t.present.clamp_min(0.1))),
        "neither clip has",
    ),
    "guesses": (
        lambda f: targets_of(f, lambda t: t if t.absent is None else replace(t, absent=t.absent.clamp_min(0.1))),
        "what neither clip knows is known",
    ),
    "deterministic": (
        lambda f: {"training": lambda drawn, rng: f.training(drawn, np.random.default_rng(0))},
        "another generator draws the same batch",
    ),
    "random": (lambda f: x_of(f, lambda x: x + torch.rand(1)), "another batch the second time"),
    "remembers": (remembering, "another batch the second time"),
    "writes": (writing, "writes into the bank"),
    "loses a tile": (lambda f: {"count_tiles": lambda rows: f.count_tiles(rows) + 1}, "not as many as counted"),
    "other times": (
        lambda f: {"first_frames": lambda rows: (f.first_frames(rows)[0], np.sort(rows))},
        "of other clips than the tiles",
    ),
    "begins late": (
        lambda f: {"first_frames": lambda rows: (f.first_frames(rows)[0] + 100, f.first_frames(rows)[1])},
        "some frames are in none",
    ),
    "every tile": (every_tile, "are made where 3 are asked for"),
    "company": (everyone, "the tiles of a clip depend on others"),
    "lengths": (
        lambda f: {"middles": lambda rows: replace(f.middles(rows), lengths=torch.zeros(len(rows)))},
        "lengths must lie in",
    ),
}


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_input_is_told_what_it_breaks(bad: str) -> None:
    change, message = BAD[bad]
    with pytest.raises(AssertionError, match=message):
        check_input(*make("WaveformCrops"), of_feed(change))


BAD_PADDED: dict[str, tuple[Callable[[Any], dict[str, Any]], str]] = {
    "no lengths": (lambda f: {"middles": lambda rows: replace(f.middles(rows), lengths=None)}, "no lengths"),
    "hiss": (lambda f: x_of(f, lambda x: x + 0.1), "something behind a sample's length"),
    "large": (lambda f: {"batch_frames": 100}, "of 100 frames a batch holds no tile of 480"),
    "half told": (
        lambda f: {"middles": lambda rows: replace(b := f.middles(rows), lengths=b.lengths // 2 + 1)},
        "something behind|x is",
    ),
}


@pytest.mark.parametrize("bad", BAD_PADDED)
def test_a_bad_padding_input_is_told_what_it_breaks(bad: str) -> None:
    change, message = BAD_PADDED[bad]
    with pytest.raises(AssertionError, match=message):
        check_input(*make("WholeWaveforms"), of_whole(change))
