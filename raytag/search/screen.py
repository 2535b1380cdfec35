"""What a search shows: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import time
from types import TracebackType
from typing import Self

import pandas as pd
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from raytag.console import duration, note, say
from raytag.search.driver import Driver
from raytag.search.progress import Trial

ENDED_ROWS = 8  # ended trials that stay in the live table
PLAIN_SECONDS = 10.0  # without a terminal: least time between two progress lines
STYLES = {"running": "cyan", "finished": "green", "stopped": "yellow", "failed": "red", "interrupted": "magenta"}


def score(value: float) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.4f}"


class Screen:
    """Show a driver's trials for the duration of a ``with`` block.

    Parameters
    ----------
    console : rich.console.Console
    driver : Driver
    slots : int
        Trials that run at once, for the prediction of the time left.
    stages : bool
        Whether experiments learn from others: then the stage of each trial is shown.
    """

    def __init__(self, console: Console, driver: Driver, slots: int, stages: bool = False) -> None:
        self.console, self.driver, self.slots, self.stages = console, driver, max(1, slots), stages
        self._live: Live | None = None
        self._started = time.monotonic()
        self._last_line = 0.0
        self._spent: dict[int, tuple[int, float]] = {}  # trial → (epochs, seconds) of this launch

    def __enter__(self) -> Self:
        self._started = time.monotonic()
        if self.console.is_terminal:
            self._live = Live(console=self.console, get_renderable=self._render, refresh_per_second=2)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def notify(self, what: str, trial: Trial) -> None:
        """A trial changed; ``what`` is start, epoch, or the state in which it ended."""
        if trial.epoch:
            self._spent[id(trial)] = (trial.epoch - trial.resumed_from, time.monotonic() - trial.started)
        name = f"stage {trial.experiment.stage}: {trial.name}" if self.stages else trial.name
        if what == "lost its worker":
            self._print(f"{name}: its worker died after epoch {trial.epoch}; starts again from its checkpoint")
            return
        if what == "start":
            self._print(f"{name}: started", live=False)
        elif what == "epoch":
            resumed = trial.resumed_from and trial.epoch == trial.resumed_from + 1
            if resumed:
                self._print(f"{name}: continues after epoch {trial.resumed_from}", live=False)
            elif self._live is None and time.monotonic() - self._last_line >= PLAIN_SECONDS:
                self._print(
                    f"{name}: epoch {trial.epoch}/{trial.epochs}  lwlrap {trial.lwlrap:.4f}  "
                    f"{duration(trial.seconds_left)} left; {self.summary()}",
                    lasting=False,
                )
        else:
            detail = (
                f"lwlrap {trial.lwlrap:.4f}  " if what == "finished" else f"{trial.reason}  " * bool(trial.reason)
            )
            self._print(f"{name}: {what}  {detail}{trial.epoch} epochs  {duration(trial.seconds)}", live=False)

    def say(self, words: str) -> None:
        """A line above the table."""
        say(self.console, words)

    def announce(self, words: str) -> None:
        """A line with the time so far."""
        self._print(words)

    def _print(self, line: str, live: bool = True, lasting: bool = True) -> None:
        """What the live table shows anyway (not ``live``) is noted there in the log file alone."""
        self._last_line = time.monotonic()
        line = f"[{duration(self._last_line - self._started)}] {line}"
        if live or self._live is None:
            say(self.console, line, lasting=lasting)
        else:
            note(line)

    def summary(self) -> str:
        """Counts of experiments and the time left at most (if no more experiment is stopped)."""
        driver = self.driver
        entries = driver.race.active
        folds = driver.race.folds
        complete = sum(len(e.folds) == len(folds) for e in entries)
        dropped = sum(e.dropped for e in entries)
        drawn = f"{driver.proposed}" if driver.number is None else f"{driver.proposed}/{driver.number}"
        left = f"{'at most ' if driver.race.can_stop else ''}{duration(self.seconds_left())} left in all"
        if driver.budget is not None:
            left = f"{duration(driver.budget.left())} left of the time budget"
        return f"{drawn} experiments drawn, {complete} complete, {dropped} dropped, {left}"

    def seconds_left(self) -> float | None:
        """Fold-epochs that remain, at the speed of this launch so far."""
        epochs = sum(e for e, _ in self._spent.values())
        seconds = sum(s for _, s in self._spent.values())
        driver = self.driver
        if not epochs:
            return None
        race = driver.race
        remaining = driver.open_epochs()
        if driver.number is not None:
            longest = max((e.epochs for e in race.entries.values()), default=0)
            remaining += (driver.number - driver.proposed) * longest * len(race.folds)
        return remaining * seconds / epochs / self.slots

    def _render(self) -> Group:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for name, justify in (
            *([("stage", "right")] * self.stages),
            ("experiment", "left"),
            ("fold", "right"),
            ("epoch", "right"),
            ("lwlrap", "right"),
            ("best", "right"),
            ("state", "left"),
            ("left", "right"),
        ):
            table.add_column(name, justify="right" if justify == "right" else "left", no_wrap=True)
        trials = list(self.driver.trials.values())
        live = [t for t in trials if t.state in ("waiting", "running")]
        ended = [t for t in trials if t.state not in ("waiting", "running")][-ENDED_ROWS:]
        for trial in [*ended, *live]:
            table.add_row(
                *([str(trial.experiment.stage)] * self.stages),
                trial.experiment.id,
                str(trial.cell).removeprefix("fold "),
                f"{trial.epoch}/{trial.epochs}",
                score(trial.lwlrap),
                score(trial.best),
                Text(trial.state, style=STYLES.get(trial.state, "")),
                duration(trial.seconds_left) if trial.state == "running" else "",
            )
        elapsed = duration(time.monotonic() - self._started)
        return Group(table, Text(f"{elapsed} so far · {self.summary()}", style="dim"))


def show_leaderboard(
    console: Console, table: pd.DataFrame, dropped: dict[str, str], limit: int = 15, leaky: bool = False
) -> None:
    """Print the best rows of a leaderboard; complete experiments first.

    Stages, and what they cost with those before them, are shown where there are any. Leaky experiments have no
    rank, unless ``leaky``.
    """
    view = Table(title="Leaderboard", title_justify="left", box=None, pad_edge=False, header_style="bold")
    view.add_column("#", justify="right")
    hidden = {"leaky"} | ({"stage", "total_seconds"} if (table["stage"] == 1).all() else set())
    columns = [column for column in table.columns if column not in hidden]
    for column in columns:
        view.add_column(column, justify="left" if column == "experiment" else "right", no_wrap=True)
    view.add_column("state")
    folds = [c for c in table.columns if c.startswith("fold_")]
    for i, row in enumerate(table.head(limit).to_dict("records")):
        done = sum(not math.isnan(row[f]) for f in folds)
        name = str(row["experiment"])
        state = "complete" if done == len(folds) else dropped.get(name, f"{done}/{len(folds)} folds")
        cells = {
            "experiment": name,
            "stage": str(row["stage"]),
            **{key: score(row[key]) or "-" for key in ("cv_lwlrap", *folds)},
            "epochs": str(int(row["epochs"])),
            **{key: duration(float(row[key])) for key in ("seconds", "total_seconds")},
        }
        rank = "" if row["leaky"] and not leaky else str(i + 1)
        view.add_row(rank, *(cells[c] for c in columns), f"{state}, leaky" if row["leaky"] else state)
    console.print(view)
    if len(table) > limit:
        say(console, f"… and {len(table) - limit} more in leaderboard.csv")
