"""How long a search would take: a few real training steps of each kind of trial, scaled up."""

from __future__ import annotations

import time
from collections.abc import Iterable

import numpy as np
import torch

from raytag.datasets.table import ClipTable
from raytag.experiment import Experiment
from raytag.features.bank import Bank
from raytag.train.fold import FoldTraining
from raytag.train.memory import tune_malloc
from raytag.train.sources import split, steps_per_epoch
from raytag.train.stages.lineage import Cell

STEPS = 3  # timed; one more warms up
SAMPLED_CLIPS = 16  # of each subset and fold
OVERHEAD = 1.2  # a rough allowance for validation after each epoch and prediction at the end


def predicted_seconds(models: Iterable[tuple[Experiment, Cell]], table: ClipTable) -> float:
    """Seconds on one core to train models (`raytag.train.stages.lineage.models`) to the end of their epochs."""
    tune_malloc()
    torch.set_num_threads(1)
    per_step: dict[str, float] = {}
    total = 0.0
    for experiment, cell in models:
        shape = experiment.training.batch_size, experiment.input.shape(experiment.features)
        kind = f"{experiment.model!r} {experiment.front_end!r} {experiment.input.name} {shape}"
        if kind not in per_step:
            per_step[kind] = _seconds_per_step(experiment, table, cell.fold)
        sources = split(table, experiment.sampling, cell.fold, cell.blind).sources
        steps = steps_per_epoch(experiment.sampling, experiment.training.batch_size, sources)
        total += per_step[kind] * steps * experiment.training.epochs * OVERHEAD
    return total


def _seconds_per_step(experiment: Experiment, table: ClipTable, fold: int) -> float:
    """Seconds of one training step, on noise: how long a step takes does not depend on the sound."""
    # a pass over few clips, or a part of them, has no whole batch
    drawn = experiment.sampling.model_copy(update={"epoch": "draws", "noisy_share": "all"})
    experiment = experiment.model_copy(update={"sampling": drawn})
    clips = table.clips[table.clips["subset"] != "test"]
    few = clips.groupby(["subset", "fold"]).head(SAMPLED_CLIPS)
    small = table.drop(table.clips["clip"][~table.clips["clip"].isin(few["clip"])].tolist())
    frames, names = 2 * experiment.input.span(experiment.features), small.clips["clip"].tolist()
    lengths = np.full(len(names), frames)
    if experiment.input.pads:  # then it depends on how long clips are
        lengths = np.clip(np.rint(small.clips["duration"] * experiment.features.rate).astype(int), 1, frames)
    noise = experiment.features.noise(frames, np.random.default_rng(0))
    bank = Bank(np.concatenate([noise[:n] for n in lengths]), np.cumsum([0, *lengths]), names)
    training = FoldTraining(experiment, fold, small, bank, torch.device("cpu"))
    started = 0.0
    for step in range(STEPS + 1):
        if step == 1:  # the first step compiles and fills caches
            started = time.perf_counter()
        training.train_step(training.make_batch(step))
    return (time.perf_counter() - started) / STEPS
