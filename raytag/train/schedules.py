"""Learning-rate schedules that can be saved as JSON."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from raytag import parts

#: A reduction smaller than this is not made (torch's ReduceLROnPlateau calls it eps).
_LEAST_REDUCTION = 1e-8


class Plateau(parts.Schedule):
    """Steps once an epoch, on validation lwlrap."""

    patience: int = Field(6, ge=0)  # epochs without improvement that are tolerated
    factor: float = Field(0.6, gt=0, lt=1)  # multiplies the rate
    threshold: float = Field(1e-4, ge=0)  # relative improvement that counts
    min_lr: float = Field(1e-8, ge=0)

    open_ended: ClassVar[bool] = True

    def start(self, lr: float, total_steps: int) -> parts.Rate:
        return PlateauRate(self, lr)


class OneCycle(parts.Schedule):
    """Steps once a batch, up and down again."""

    warmup_share: float = Field(0.3, gt=0, lt=1)  # share of all steps that rise
    start_factor: float = Field(0.02, gt=0, le=1)  # first rate, share of the peak
    end_factor: float = Field(2e-5, ge=0, le=1)  # last rate, share of the peak

    open_ended: ClassVar[bool] = False
    watches: ClassVar[bool] = False

    def start(self, lr: float, total_steps: int) -> parts.Rate:
        return OneCycleRate(self, lr, total_steps)


class CosineRestarts(parts.Schedule):
    """Steps once an epoch, down half a cosine and up again at once, each time over more epochs."""

    first_epochs: int = Field(10, ge=1)  # epochs of the first cosine
    times: int = Field(2, ge=1)  # each next cosine has so many times the epochs of the last
    min_lr: float = Field(1e-5, ge=0)

    open_ended: ClassVar[bool] = True
    watches: ClassVar[bool] = False

    def start(self, lr: float, total_steps: int) -> parts.Rate:
        return CosineRestartsRate(self, lr)


class StepDecay(parts.Schedule):
    """Steps once in ``every`` epochs, by ``gamma``."""

    every: int = Field(1, ge=1)  # epochs
    gamma: float = Field(0.5, gt=0, le=1)  # multiplies the rate

    open_ended: ClassVar[bool] = True
    watches: ClassVar[bool] = False

    def start(self, lr: float, total_steps: int) -> parts.Rate:
        return StepDecayRate(self, lr)


#: Every schedule that an experiment can name, and where its fields stand.
SCHEDULES: Mapping[str, str] = {
    "Plateau": "raytag.train.schedules:Plateau",
    "OneCycle": "raytag.train.schedules:OneCycle",
    "CosineRestarts": "raytag.train.schedules:CosineRestarts",
    "StepDecay": "raytag.train.schedules:StepDecay",
}


class PlateauRate:
    """Constant until the metric stops improving, then multiplied by ``factor``, down to ``min_lr``.

    An epoch improves when its metric exceeds the best so far by more than the relative ``threshold``. The rate
    falls at the end of the first epoch after ``patience`` consecutive others, and the count starts anew. Equal
    to torch's ``ReduceLROnPlateau(mode="max", threshold_mode="rel")``.

    Parameters
    ----------
    settings
    lr
        The rate of the first epoch.
    """

    def __init__(self, settings: Plateau, lr: float) -> None:
        self.settings = settings
        self.lr = lr
        self.best: float | None = None
        self.bad_epochs = 0

    def lr_at(self, step: int) -> float:
        return self.lr

    def epoch_end(self, metric: float) -> None:
        if self.best is None or metric > self.best * (1 + self.settings.threshold):
            self.best, self.bad_epochs = metric, 0
        else:
            self.bad_epochs += 1
        if self.bad_epochs > self.settings.patience:
            reduced = max(self.lr * self.settings.factor, self.settings.min_lr)
            if self.lr - reduced > _LEAST_REDUCTION:
                self.lr = reduced
            self.bad_epochs = 0

    def state(self) -> dict[str, Any]:
        return {"name": "plateau", "lr": self.lr, "best": self.best, "bad_epochs": self.bad_epochs}

    def load(self, state: Mapping[str, Any]) -> None:
        _check_name(state, "plateau")
        self.lr, self.best, self.bad_epochs = state["lr"], state["best"], state["bad_epochs"]


class OneCycleRate:
    """Up to the peak in a straight line, then down in another; the metric has no say.

    The first ``round(warmup_share * total_steps)`` steps rise from ``start_factor * peak_lr``; the others fall
    towards ``end_factor * peak_lr``, which the step after the last one would reach.

    Parameters
    ----------
    settings
    peak_lr
        The highest rate.
    total_steps
        Steps of the whole training.

    References
    ----------
    Smith, Topin: Super-convergence: very fast training of neural networks using large learning rates. 2018.
    """

    def __init__(self, settings: OneCycle, peak_lr: float, total_steps: int) -> None:
        if total_steps < 1:
            raise ValueError(f"a one-cycle schedule needs at least one step, not {total_steps}")
        self.start, self.peak = settings.start_factor * peak_lr, peak_lr
        self.end = settings.end_factor * peak_lr
        self.total_steps = total_steps
        self.rising = round(settings.warmup_share * total_steps)

    def lr_at(self, step: int) -> float:
        if not 0 <= step <= self.total_steps:
            raise ValueError(f"step {step} is outside a training of {self.total_steps} steps")
        if step < self.rising:
            return self.start + (self.peak - self.start) * step / self.rising
        falling = self.total_steps - self.rising
        return self.peak + (self.end - self.peak) * (step - self.rising) / max(1, falling)

    def epoch_end(self, metric: float) -> None:
        pass

    def state(self) -> dict[str, Any]:
        return {"name": "one_cycle", "total_steps": self.total_steps}

    def load(self, state: Mapping[str, Any]) -> None:
        _check_name(state, "one_cycle")
        if state["total_steps"] != self.total_steps:
            raise ValueError(
                f"the saved one-cycle schedule spans {state['total_steps']} steps, this one {self.total_steps}; "
                f"it cannot be continued with another number of epochs or samples"
            )


class EpochRate(ABC):
    """A function of the number of epochs done alone.

    Parameters
    ----------
    settings
    lr
        The rate of the first epoch.
    """

    name: ClassVar[str]

    def __init__(self, settings: Any, lr: float) -> None:
        self.settings, self.lr, self.epoch = settings, lr, 0

    @abstractmethod
    def lr_at(self, step: int) -> float:
        """Rate of any step of this epoch."""

    def epoch_end(self, metric: float) -> None:
        self.epoch += 1

    def state(self) -> dict[str, Any]:
        return {"name": self.name, "epoch": self.epoch}

    def load(self, state: Mapping[str, Any]) -> None:
        _check_name(state, self.name)
        self.epoch = state["epoch"]


class CosineRestartsRate(EpochRate):
    """``min_lr + (lr - min_lr) (1 + cos(pi t / T)) / 2`` in epoch *t* of a cosine over *T* epochs, then again.

    References
    ----------
    Loshchilov, Hutter: SGDR: stochastic gradient descent with warm restarts. ICLR 2017.
    """

    name = "cosine_restarts"

    def lr_at(self, step: int) -> float:
        into, length = self.epoch, self.settings.first_epochs
        while into >= length:
            into, length = into - length, length * self.settings.times
        low = self.settings.min_lr
        return float(low + (self.lr - low) * (1 + math.cos(math.pi * into / length)) / 2)


class StepDecayRate(EpochRate):
    """``lr gamma^(epoch // every)``, as torch's ``StepLR``."""

    name = "step_decay"

    def lr_at(self, step: int) -> float:
        return float(self.lr * self.settings.gamma ** (self.epoch // self.settings.every))


def _check_name(state: Mapping[str, Any], name: str) -> None:
    if state["name"] != name:
        raise ValueError(f"the saved schedule is {state['name']!r}, this one {name!r}")
