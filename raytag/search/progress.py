"""What a search knows of the trials under way, and who is told."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Protocol

from raytag.experiment import Experiment
from raytag.train.stages.lineage import Cell


@dataclass
class Trial:
    """One experiment on one fold, as the screen shows it; ``cell`` says what else it leaves out."""

    experiment: Experiment
    cell: Cell
    state: str = "waiting"  # waiting, running, finished, stopped, failed, interrupted
    epoch: int = 0
    lwlrap: float = float("nan")
    best: float = float("nan")
    seconds: float = 0.0  # on this fold, earlier launches included
    resumed_from: int = 0
    started: float = field(default_factory=time.monotonic)
    reason: str = ""
    device: str = ""  # cpu or cuda, once finished

    @property
    def model(self) -> tuple[str, Cell]:
        return self.experiment.id, self.cell

    @property
    def fold(self) -> int:
        return self.cell.fold

    @property
    def name(self) -> str:
        return f"{self.experiment.id} {self.cell}"

    @property
    def epochs(self) -> int:
        return self.experiment.training.epochs

    @property
    def seconds_left(self) -> float | None:
        """Predicted from this trial's own epochs; None before the first."""
        if self.state != "running" or self.epoch == 0:
            return None
        return self.seconds / self.epoch * (self.epochs - self.epoch)


class Listener(Protocol):
    """Whoever is told what happens, such as the screen."""

    def notify(self, what: str, trial: Trial) -> None:
        """A trial changed."""

    def announce(self, words: str) -> None:
        """An experiment was dropped between trials or taken up again."""
