#!/usr/bin/env python3
"""What a batch of waveforms costs on one core: the crops, their spectrogram, a training step on them; effects.

    python benchmarks/speed/waveforms.py                 # crops, front ends, networks
    python benchmarks/speed/waveforms.py --magnitudes    # ex4sperans's front ends beside its networks
    python benchmarks/speed/waveforms.py --effects       # whole clips: samples a second, by effect and all together

With --magnitudes crops have 4 and 15 s, and frames are transformed by raytag's own kernels, as on every CPU, and by
torch, as on other devices; and there is a step on padded crops, a quarter to all of each sound.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from _timing import compare, print_table

from raytag.batch import Drawn
from raytag.experiment import Experiment, Features, Input
from raytag.features.bank import Bank
from raytag.inputs.waveforms.effects.settings import WithEffects
from raytag.models.nets.magnitude import Magnitudes
from raytag.models.tagger import Tagger, tagger

CLIPS, CLASSES = 16, 80
WAVEFORMS = {"features.name": "Waveforms", "input.name": "WaveformCrops", "model.name": "PlainConv"}
IMAGES = {"front_end.name": "MagnitudeMel", "front_end.channels": 2, "model.name": "TwoDimensionalCNN"}
LINES = {"front_end.name": "MagnitudeSTFT", "model.name": "HierarchicalCNN"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--magnitudes", action="store_true")
    parser.add_argument("--batch", type=int, help="default: 32, or 60 s of crops")
    parser.add_argument("--base-size", type=int, help="default: 16, or 50")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--effects", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.effects:
        measure_effects(args.batch or 32, args.rounds)
        return
    if args.magnitudes:
        for seconds in (4.0, 15.0):
            for fields in (IMAGES, LINES):
                sizes = {"input.crop_seconds": seconds, "model.base_size": args.base_size or 50}
                measure(
                    Experiment().replace(WAVEFORMS | fields | sizes), args.batch or round(60 / seconds), args.rounds
                )
        return
    for name in ("Mel", "STFT"):
        fields = {**WAVEFORMS, "front_end.name": name, "model.base_size": args.base_size or 16}
        measure(Experiment().replace(fields), args.batch or 32, args.rounds)


def measure(experiment: Experiment, batch: int, rounds: int) -> None:
    rng = np.random.default_rng(0)
    (samples,) = experiment.input.shape(experiment.features)
    frames = 3 * samples
    bank = Bank(
        experiment.features.noise(CLIPS * frames, rng),
        np.arange(CLIPS + 1) * frames,
        [str(i) for i in range(CLIPS)],
    )
    feed = experiment.input.open(bank, experiment.features)
    labels = np.zeros((batch, CLASSES), np.float32)
    rows = rng.integers(0, CLIPS, (2, batch))
    drawn = Drawn(rows[0], rows[1], labels, labels, np.zeros(batch, bool))
    model = tagger(experiment, CLASSES).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    assert isinstance(model, Tagger)
    crops = feed.training(drawn, rng)
    images = model.front_end(crops.x)

    def step(*seen: torch.Tensor) -> None:
        model.network(*seen).clip.sum().backward()

    work: dict[str, Callable[[], object]] = {
        "crops": lambda: feed.training(drawn, rng),
        "front end": lambda: model.front_end(crops.x),
        "network, there and back": lambda: step(images),
    }
    if isinstance(model.front_end, Magnitudes):
        front_end: Any = model.front_end
        lengths = torch.linspace(samples // 4, samples - 1, batch).long()
        work["front end by torch"] = lambda: front_end.with_channels(front_end.by_torch(crops.x, None))
        padded = front_end(crops.x * (torch.arange(samples) < lengths[:, None]), lengths)
        work["network, there and back, padded"] = lambda: step(*padded)
    for function in work.values():
        function()  # compiles, fills caches
    taken: dict[str, list[float]] = {what: [] for what in work}
    for _ in range(rounds):
        for what, function in work.items():
            before = time.process_time()
            function()
            taken[what].append(time.process_time() - before)
    parts = ", ".join(f"{what} {1e3 * statistics.median(seconds):.1f} ms" for what, seconds in taken.items())
    seen = f"{batch} samples, {experiment.front_end.name} {tuple(images.shape[1:])}, {experiment.model.name}"
    print(f"{seen}: {parts} (CPU time, median of {rounds})")


def measure_effects(batch: int, rounds: int) -> None:
    """Batches of clips of 4 to 15 s, one kind of effect on all of them; then as ex4sperans made them."""
    features, rng = Features("Waveforms"), np.random.default_rng(0)
    lengths = rng.integers(4 * features.sample_rate, 15 * features.sample_rate + 1, CLIPS)
    noise = features.noise(int(lengths.sum()), rng)
    bank = Bank(noise, np.cumsum([0, *lengths]), [str(i) for i in range(CLIPS)])
    labels = np.zeros((batch, CLASSES), np.float32)
    rows = rng.integers(0, CLIPS, (2, batch))
    drawn = Drawn(rows[0], rows[1], labels, labels, np.zeros(batch, bool))
    none = {"reverb_most": None, "pitch_cents": 0, "overdrive_db": None, "speed_share": 0}
    four = {name: {key: value for key, value in none.items() if key != name} for name in none}
    kinds: dict[str, dict[str, Any]] = {
        "none": {},
        **{name: {"effects_prob": 1.0, **others} for name, others in four.items()},
        "speed_by=tempo": {"effects_prob": 1.0, **four["speed_share"], "speed_by": "tempo"},
        **{name: {name: 1.0} for name in WithEffects.model_fields if name.endswith("_prob")},
        "published: mix_prob 0.5, effects_prob 0.75": {"mix_prob": 0.5, "effects_prob": 0.75},
    }
    feeds = {kind: Input("WholeWaveforms", **fields).open(bank, features) for kind, fields in kinds.items()}
    millions = float(bank.frames[drawn.rows].sum()) / 1e6
    candidates = {kind: partial(feed.training, drawn, rng) for kind, feed in feeds.items()}
    print_table(f"{batch} clips, one core", compare(candidates, rounds=rounds, per=millions, unit="million"))


if __name__ == "__main__":
    main()
