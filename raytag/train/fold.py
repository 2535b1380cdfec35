"""Train one experiment on one fold: plain torch, no Ray.

Every random draw is a function of (seed, fold, epoch, step), and a checkpoint may be taken at any step, so
a training that was interrupted and continued gives, on the same CPU, the bits of one that was not.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from raytag.batch import Batch
from raytag.datasets.table import ClipTable
from raytag.errors import DamagedError
from raytag.experiment import Experiment
from raytag.features.bank import Bank
from raytag.metrics import lwlrap, tied_pairs, top1_accuracy
from raytag.models.tagger import tagger
from raytag.predict import predict, predict_middles
from raytag.seeding import generator, torch_seed
from raytag.store.fold import CURVE_COLUMNS, FoldStore
from raytag.store.predictions import predictions_frame
from raytag.train.ahead import made_ahead
from raytag.train.memory import tune_malloc
from raytag.train.optimizer_state import load_optimizer_tensors, optimizer_tensors
from raytag.train.precision import resolve_precision
from raytag.train.sources import Split, batch_of, draw_copies, split, steps_per_epoch
from raytag.train.stages.lineage import Cell
from raytag.train.stages.reading import Reading, describe, network_of
from raytag.train.twins import take_over


@dataclass(frozen=True)
class EpochReport:
    """What a training reports after each epoch."""

    epoch: int  # epochs done, from 1
    epochs: int  # the budget
    lwlrap: float  # of this epoch, centre crops of the validation clips
    best: float  # highest so far
    seconds: float  # spent on this fold, earlier launches included
    resumed_from: int  # epochs that this launch found done
    passed_over: str = ""  # what is wrong with checkpoints that would have been newer


@dataclass(frozen=True)
class Outcome:
    """How a training ended: ``finished`` (the fold store holds its result) or ``interrupted``."""

    state: str
    result: dict[str, Any] | None
    first_step: float | None = None  # when this launch's first step was done, seconds since 1970


def train_fold(
    experiment: Experiment,
    fold: int,
    table: ClipTable,
    bank: Bank,
    store: FoldStore,
    *,
    device: str = "cpu",
    threads: int = 1,
    checkpoint_seconds: float = 60.0,
    twin: FoldStore | None = None,
    reading: Reading | None = None,
    report: Callable[[EpochReport], None] = lambda progress: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Train, predict the fold's own clips and the test clips, and finish the fold in its store.

    Parameters
    ----------
    experiment : Experiment
    fold : int
        The fold left out of training.
    table : ClipTable
        Usable clips only.
    bank : Bank
        Features of ``table``'s clips, in its row order, and of the experiment's variants of them.
    store : FoldStore
        A finished fold is returned as it is; a checkpoint found there is continued.
    device : str
        ``cpu`` or ``cuda``.
    threads : int
        CPU threads of torch.
    checkpoint_seconds : float
        Least time between checkpoints; the first comes with the first epoch.
    twin : FoldStore, optional
        The same fold of a shorter training (`raytag.train.twins`): without a checkpoint of its own the training
        goes on from that one's last. Where that one stopped early more epochs change nothing: it is taken over.
    reading : Reading, optional
        What may be read of earlier stages, and whether further folds are left out; an experiment with parents, or
        with a file of weights, needs it.
    report : callable
        Called after each epoch.
    should_stop : callable
        Asked before every step; when true, a checkpoint is written and the training ends.
    """
    result, _ = store.look()
    if result is not None:
        return Outcome("finished", result)
    if twin is not None and twin.result().get("stopped_early"):
        with suppress(DamagedError):  # also where its weights were pruned: then it is trained
            return Outcome("finished", take_over(twin, experiment, store))
    tune_malloc()
    torch.set_num_threads(threads)
    training = FoldTraining(experiment, fold, table, bank, torch.device(device), reading)
    resumed = training.restore(store)
    if not resumed and twin is not None:
        resumed = training.restore(twin)
        training.continued_from = str(twin.result()["experiment"]) if resumed else None
    training.begin()
    started = saved = time.monotonic()
    before = training.seconds
    first_checkpoint = resumed == 0
    while not training.done:
        for _ in training.run_epoch():
            if should_stop():
                training.seconds = before + time.monotonic() - started
                training.save(store)
                return Outcome("interrupted", None, training.first_step)
        training.seconds = before + time.monotonic() - started
        training.end_epoch()
        training.seconds = before + time.monotonic() - started
        if first_checkpoint or time.monotonic() - saved >= checkpoint_seconds:
            training.save(store)
            saved, first_checkpoint = time.monotonic(), False
        store.storage.write_csv("curve.csv", training.curve())
        report(
            EpochReport(
                epoch=training.epoch,
                epochs=experiment.training.epochs,
                lwlrap=training.rows[-1][3],
                best=training.best,
                seconds=training.seconds,
                resumed_from=resumed,
                passed_over="; ".join(training.passed_over),
            )
        )
    if training.may_go_on:
        training.save(store)
    training.finish(store, before + time.monotonic() - started, resumed)
    return Outcome("finished", store.result(), training.first_step)


class FoldTraining:
    """The state of a training between two steps."""

    def __init__(
        self,
        experiment: Experiment,
        fold: int,
        table: ClipTable,
        bank: Bank,
        device: torch.device,
        reading: Reading | None = None,
    ) -> None:
        self.experiment, self.table, self.device, self.reading = experiment, table, device, reading
        self.cell = Cell(fold) if reading is None else reading.cell
        self.split: Split = split(table, experiment.sampling, fold, self.cell.blind, experiment.training.seed)
        self.learned: dict[str, Any] = {}  # from earlier stages, for the result
        if reading is not None:
            self.split, done = experiment.pseudo.learn(self.split, reading)
            self.note("pseudo", done)
        settings = experiment.training
        self.precision = resolve_precision(settings.precision, device)
        self.memory_format = torch.channels_last if settings.channels_last else torch.contiguous_format
        torch.manual_seed(torch_seed(settings.seed, self.cell.key))
        model = tagger(experiment, len(table.classes))
        self.model = model.to(device).to(memory_format=self.memory_format)  # type: ignore[call-overload]
        self.loss = experiment.loss.build(len(table.classes))
        self.trained = self.model  # what has weights
        if isinstance(self.loss, torch.nn.Module):
            self.trained = torch.nn.ModuleDict({"model": self.model, "loss": self.loss.to(device)})
        self.optimizer = experiment.optimizer.build(self.trained.parameters())
        self.steps = steps_per_epoch(experiment.sampling, settings.batch_size, self.split.sources)  # batches
        self.updates = -(-self.steps // settings.accumulate)  # steps of the optimizer in an epoch
        self.rate = experiment.schedule.start(experiment.optimizer.lr, self.updates * settings.epochs)
        self.bank, self.feed = bank, experiment.input.open(bank, experiment.features)
        self.test_feed = experiment.input.for_test().open(bank, experiment.features)
        self.epoch = 0  # epochs done
        self.step = 0  # batches done in the current epoch
        self.restored = False  # whether the state is that of a checkpoint
        self.loss_sum = 0.0
        self.best, self.best_epoch = -1.0, 0
        self.best_weights: dict[str, torch.Tensor] = {}
        self.rows: list[tuple[int, float, float, float, float]] = []
        self.seconds = 0.0
        self.first_step: float | None = None
        self.passed_over: list[str] = []  # what is wrong with checkpoints that were newer
        self.continued_from: str | None = None  # the shorter experiment whose last checkpoint this began with

    def begin(self) -> None:
        """Take the first weights from where the experiment has them, unless a checkpoint brought its own."""
        if self.reading is not None and not self.restored:
            done = self.experiment.init.begin(network_of(self.model), self.reading)
            self.note("init", done)

    def note(self, what: str, done: dict[str, Any]) -> None:
        """Keep for the result what was done with which weights of earlier stages."""
        if done and self.reading is not None:
            self.learned |= {what: done, "read": self.learned.get("read", {}) | self.reading.sources}

    @property
    def done(self) -> bool:
        return self.epoch >= self.experiment.training.epochs or self.stopped_early

    @property
    def stopped_early(self) -> bool:
        """Whether the training ends here however many epochs it has."""
        patience = self.experiment.training.early_stopping
        return patience is not None and self.epoch > 0 and self.epoch - self.best_epoch >= patience

    @property
    def may_go_on(self) -> bool:
        """Whether a longer twin would go on from here: then the last checkpoint is kept."""
        return self.experiment.open_ended and not self.stopped_early

    def curve(self) -> pd.DataFrame:
        return pd.DataFrame(self.rows, columns=CURVE_COLUMNS)

    def run_epoch(self) -> Iterator[int]:
        """Train to the end of the epoch, yielding before each optimizer step, when the state may be saved."""
        own = self.experiment.input.in_epoch(self.epoch, self.experiment.training.epochs)
        if own is not self.experiment.input:  # it predicts as that does
            self.feed = own.open(self.bank, self.experiment.features)
        self.model.train()
        batches = self.batches()
        while self.step < self.steps:
            if self.step % self.experiment.training.accumulate == 0:
                yield self.step
            self.train_step(next(batches))
            self.step += 1

    def batches(self) -> Iterator[Batch]:
        """Batches from the current step on. On a GPU the next one is made while the last one trains."""
        steps = range(self.step, self.steps)
        return map(self.make_batch, steps) if self.device.type == "cpu" else made_ahead(self.make_batch, steps)

    def make_batch(self, step: int) -> Batch:
        """The batch of a step, on the CPU."""
        sampling, settings = self.experiment.sampling, self.experiment.training
        keys = (settings.seed, self.cell.key, self.epoch, step)
        drawn = batch_of(sampling, self.split.sources, settings.batch_size, *keys)
        return self.feed.training(draw_copies(drawn, self.bank, *keys), generator(*keys, 1))

    def train_step(self, batch: Batch) -> None:
        """Add the gradient of a batch; with the last batch of its group the optimizer steps by their mean."""
        update, place = divmod(self.step, self.experiment.training.accumulate)
        together = min(self.experiment.training.accumulate, self.steps - self.step + place)  # fewer at the end
        if place == 0:
            for group in self.optimizer.param_groups:
                group["lr"] = self.rate.lr_at(self.epoch * self.updates + update)
            self.optimizer.zero_grad(set_to_none=True)
        # dropout draws from torch's own generator: seeding it every step makes a step a pure function
        torch.manual_seed(torch_seed(self.experiment.training.seed, self.cell.key, self.epoch, self.step))
        batch = batch.to(self.device, self.memory_format)
        assert batch.targets is not None
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16"):
            outputs = batch.through(self.model)
        loss = self.loss(outputs, batch.targets)
        (loss / together).backward()
        if place == together - 1:
            self.optimizer.step()
        self.loss_sum += float(loss.detach())
        self.first_step = self.first_step or time.time()

    def end_epoch(self) -> None:
        """Validate, step the schedule, remember the best weights."""
        experiment = self.experiment
        scores = predict_middles(self.model, self.feed, self.split.validation, self.device)
        if not np.isfinite(scores).all():
            raise FloatingPointError(
                f"{experiment.id} {self.cell} diverged in epoch {self.epoch + 1}: its predictions are not "
                f"finite. Lower optimizer.lr ({experiment.optimizer.lr:g})"
            )
        value = lwlrap(self.split.validation_targets, scores)
        lr = self.rate.lr_at(self.epoch * self.updates + self.updates - 1)
        self.rate.epoch_end(value)
        self.epoch += 1
        self.rows.append((self.epoch, lr, self.loss_sum / self.steps, value, round(self.seconds, 3)))
        self.step, self.loss_sum = 0, 0.0
        if value > self.best:
            self.best, self.best_epoch = value, self.epoch
            if experiment.training.keep_epoch == "best":
                self.best_weights = {k: v.detach().cpu().clone() for k, v in self.model.state_dict().items()}

    def save(self, store: FoldStore) -> None:
        """Write a checkpoint of this very step."""
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"optimizer.{k}": v for k, v in optimizer_tensors(self.optimizer, self.trained).items()}
        if isinstance(self.loss, torch.nn.Module):
            tensors |= {f"loss.{k}": v for k, v in self.loss.state_dict().items()}
        tensors |= {f"best.{k}": v for k, v in self.best_weights.items()}
        state = {
            "epoch": self.epoch,
            "step": self.step,
            "loss_sum": self.loss_sum,
            "best": self.best,
            "best_epoch": self.best_epoch,
            "seconds": self.seconds,
            "schedule": self.rate.state(),
            "curve": self.rows,
            "continued_from": self.continued_from,
            "learned": self.learned,
            # draws are functions of these keys and the step; there is no other random state
            "random": {"seed": self.experiment.training.seed, "fold": self.cell.key},
        }
        store.write_checkpoint({k: v.detach().cpu() for k, v in tensors.items()}, state, self.curve())

    def restore(self, store: FoldStore) -> int:
        """Continue from the store's newest whole checkpoint if it has one; the number of epochs found done."""
        found = store.checkpoint()
        if found is None:
            return 0
        tensors, state, wrong = found
        self.passed_over += wrong
        if not state:
            return 0

        def part(prefix: str) -> dict[str, torch.Tensor]:
            return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

        self.model.load_state_dict(part("model."))
        if isinstance(self.loss, torch.nn.Module):
            self.loss.load_state_dict(part("loss."))
        load_optimizer_tensors(self.optimizer, self.trained, part("optimizer."))
        self.best_weights = part("best.")
        self.rate.load(state["schedule"])
        for name in ("epoch", "step", "loss_sum", "best", "best_epoch", "seconds"):
            setattr(self, name, state[name])
        self.rows = [tuple(row) for row in state["curve"]]
        self.learned, self.restored = self.learned | state.get("learned", {}), True
        self.continued_from = state.get("continued_from")
        return self.epoch

    def finish(self, store: FoldStore, seconds: float, resumed: int) -> None:
        """Predict with the kept weights and write the fold's result."""
        started = time.monotonic()
        settings = self.experiment.training
        if settings.keep_epoch == "best":
            self.model.load_state_dict(self.best_weights)

        fnames, classes = self.table.clips["fname"].to_numpy(), self.table.classes
        oof = predict(self.model, self.feed, self.split.oof, self.device)
        test, test_rows = None, self.table.rows("test")
        if len(test_rows) and not self.cell.blind:  # that serves a later stage, which asks for what it needs
            values = predict(self.model, self.test_feed, test_rows, self.device)
            test = predictions_frame(fnames[test_rows], values, classes)
        targets = self.table.targets(self.split.oof)  # the original labels, whatever corrections say
        kept = self.best_epoch if settings.keep_epoch == "best" else self.epoch
        result = {
            "experiment": self.experiment.id,
            "fold": self.cell.fold,
            "lwlrap": lwlrap(targets, oof),
            "labels": int(targets.sum()),
            "tied_pairs": tied_pairs(targets, oof),
            "accuracy": top1_accuracy(targets, oof),
            "clips": len(oof),
            "epochs": self.epoch,
            "kept_epoch": kept,
            "steps": self.epoch * self.updates,
            "seconds": round(seconds + time.monotonic() - started, 3),
            "resumed_from": resumed,
            "continued_from": self.continued_from,
            "stopped_early": self.stopped_early,
            "lineage": describe(self.experiment, self.learned),
            "precision": self.precision,
            "device": self.device.type,
            "host": platform.node(),
            "pid": os.getpid(),
            "torch": torch.__version__,
        }
        weights = {k: v.detach().cpu() for k, v in self.model.state_dict().items()}
        frame = predictions_frame(fnames[self.split.oof], oof, classes)
        store.finish(
            weights=weights,
            oof=frame,
            test=test,
            curve=self.curve(),
            result=result,
            trained=self.table.clips["clip"].to_numpy()[self.split.trained].tolist(),
            keep_checkpoint=self.may_go_on,
        )
