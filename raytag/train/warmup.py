"""Compile the kernels of training and prediction (see `raytag.compiled.once`)."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import torch

from raytag import parts
from raytag.compiled.once import once
from raytag.datasets.table import ClipTable
from raytag.experiment import Experiment, Model
from raytag.features.bank import SCALE, Bank
from raytag.train.fold import FoldTraining

FRAMES = 48  # of a clip


def warm_up() -> None:
    """Make this process ready to train; of a node's processes only one compiles."""
    once("train", _compile)


def _compile() -> None:
    _train_on_noise()


def _train_on_noise(model: parts.Network | None = None, size: int = 32) -> None:
    """A step, a validation and the predictions of a small network on images of size x size, in every precision."""
    subsets = ["curated"] * 8 + ["noisy"] * 4 + ["test"] * 2
    clips = pd.DataFrame({"clip": [f"{i}" for i in range(len(subsets))], "subset": subsets})
    clips = clips.assign(fname=clips["clip"], path=clips["clip"], group="", duration=1.0, rate=44100)
    clips["labels"] = ["ab"[i % 2] if subset != "test" else "" for i, subset in enumerate(subsets)]
    clips["fold"] = [i // 2 % 2 if subset == "curated" else -1 for i, subset in enumerate(subsets)]
    table = ClipTable(clips, ("a", "b"), Path("noise"), "noise")
    noise = np.random.default_rng(0).normal(-40 * SCALE, 10 * SCALE, (len(clips) * FRAMES, size)).astype(np.int16)
    bank = Bank(noise, np.arange(len(clips) + 1) * FRAMES, clips["clip"].tolist())
    small: dict[str, Any] = {"features.n_mels": size, "input.crop_frames": size}
    small |= {"training.batch_size": 4, "training.epochs": 1, "sampling.noisy_prob": 0.25}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # with many threads a network uses torch's own operations
    try:
        for precision in ("fp32", "bf16"):
            experiment = Experiment(model=model or Model(base_size=4)).replace(
                small | {"training.precision": precision}
            )
            training = FoldTraining(experiment, 0, table, bank, torch.device("cpu"))
            for _ in training.run_epoch():
                pass
            training.end_epoch()
            nowhere: Any = SimpleNamespace(finish=lambda **kept: None)
            training.finish(nowhere, 0.0, 0)
    finally:
        torch.set_num_threads(threads)
