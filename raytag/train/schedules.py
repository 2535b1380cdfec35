"""Learning-rate schedules that can be saved as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

from raytag import experiment

#: A reduction smaller than this is not made (torch's ReduceLROnPlateau calls it eps).
_LEAST_REDUCTION = 1e-8


class RateSchedule(Protocol):
    """The learning rate as a state machine: a pure function of the step and of the metrics seen so far.

    Attributes
    ----------
    open_ended : bool
        Whether the rate of a step is the same however many epochs the training has. Then a longer training begins
        with the very steps of a shorter one, and may go on from its last checkpoint (`raytag.train.twins`).
    """

    open_ended: ClassVar[bool]

    def lr_at(self, step: int) -> float:
        """Rate of a step, counted from 0 over the whole training."""
        ...

    def epoch_end(self, metric: float) -> None:
        """Take note of an epoch's validation metric (larger is better)."""
        ...

    def state(self) -> dict[str, Any]:
        """What `load` needs, as JSON values."""
        ...

    def load(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state` returned."""
        ...


class Plateau:
    """Constant until the metric stops improving, then multiplied by ``factor``, down to ``min_lr``.

    An epoch improves when its metric exceeds the best so far by more than the relative ``threshold``. The rate
    falls at the end of the first epoch after ``patience`` consecutive others, and the count starts anew. Equal
    to torch's ``ReduceLROnPlateau(mode="max", threshold_mode="rel")``.

    Parameters
    ----------
    lr
        The rate of the first epoch.
    settings
        ``patience``, ``factor``, ``threshold`` and ``min_lr`` are used.
    """

    open_ended: ClassVar[bool] = True

    def __init__(self, lr: float, settings: experiment.Schedule) -> None:
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


class OneCycle:
    """Up to the peak in a straight line, then down in another; the metric has no say.

    The first ``round(warmup_share * total_steps)`` steps rise from ``start_factor * peak_lr``; the others fall
    towards ``end_factor * peak_lr``, which the step after the last one would reach.

    Parameters
    ----------
    peak_lr
        The highest rate.
    settings
        ``warmup_share``, ``start_factor`` and ``end_factor`` are used.
    total_steps
        Steps of the whole training.

    References
    ----------
    Smith, Topin: Super-convergence: very fast training of neural networks using large learning rates. 2018.
    """

    open_ended: ClassVar[bool] = False

    def __init__(self, peak_lr: float, settings: experiment.Schedule, total_steps: int) -> None:
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


def open_ended(settings: experiment.Schedule) -> bool:
    """`RateSchedule.open_ended` of an experiment's schedule."""
    return (Plateau if settings.name == "plateau" else OneCycle).open_ended


def build_schedule(settings: experiment.Schedule, lr: float, total_steps: int) -> RateSchedule:
    """The schedule of an experiment; ``lr`` is where a plateau starts and where a cycle peaks."""
    if settings.name == "plateau":
        return Plateau(lr, settings)
    return OneCycle(lr, settings, total_steps)


def _check_name(state: Mapping[str, Any], name: str) -> None:
    if state["name"] != name:
        raise ValueError(f"the saved schedule is {state['name']!r}, this one {name!r}")
