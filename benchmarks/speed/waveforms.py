#!/usr/bin/env python3
"""What a batch of waveform crops costs on one core: the crops, their spectrogram, a training step on them.

python benchmarks/speed/waveforms.py
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from raytag.batch import Drawn
from raytag.experiment import Experiment
from raytag.features.bank import Bank
from raytag.models.tagger import Tagger, tagger

CLIPS, SECONDS, CLASSES = 64, 6, 80
WAVEFORMS = {"features.name": "Waveforms", "input.name": "WaveformCrops", "model.name": "PlainConv"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--base-size", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    for name in ("Mel", "STFT"):
        fields = {**WAVEFORMS, "front_end.name": name, "model.base_size": args.base_size}
        measure(Experiment().replace(fields), args.batch, args.rounds)


def measure(experiment: Experiment, batch: int, rounds: int) -> None:
    rng = np.random.default_rng(0)
    frames = SECONDS * experiment.features.sample_rate
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

    def step() -> None:
        model.network(images).clip.sum().backward()

    work: dict[str, Callable[[], object]] = {
        "crops": lambda: feed.training(drawn, rng),
        "front end": lambda: model.front_end(crops.x),
        "network, there and back": step,
    }
    for function in work.values():
        function()  # compiles, fills caches
    taken: dict[str, list[float]] = {what: [] for what in work}
    for _ in range(rounds):
        for what, function in work.items():
            before = time.process_time()
            function()
            taken[what].append(time.process_time() - before)
    parts = ", ".join(f"{what} {1e3 * statistics.median(seconds):.1f} ms" for what, seconds in taken.items())
    seen = f"{batch} samples, {experiment.front_end.name} {tuple(images.shape[1:])}"
    print(f"{seen}: {parts} (CPU time, median of {rounds})")


if __name__ == "__main__":
    main()
