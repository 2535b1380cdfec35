"""How far some tasks are: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from raytag.search.display import duration

PLAIN_SECONDS = 5.0  # without a terminal: least time between two lines


class TaskProgress:
    """Show the progress of tasks of known weight for the duration of a ``with`` block.

    Parameters
    ----------
    console : rich.console.Console
    label : str
        What the tasks do: ``"subset search"``.
    total : float
        Sum of the weights of all tasks, in any unit of work.
    """

    def __init__(self, console: Console, label: str, total: float) -> None:
        self.console, self.label, self.total = console, label, max(total, 1e-12)
        self.done = 0.0
        self._started = self._last = time.monotonic()
        self._bar: Progress | None = None

    def __enter__(self) -> Self:
        self._started = self._last = time.monotonic()
        if self.console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TaskProgressColumn(),
                TimeElapsedColumn(),
                TextColumn("{task.fields[left]} left"),
                console=self.console,
            )
            self._bar.add_task(self.label, total=self.total, left="?")
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    @property
    def seconds_left(self) -> float | None:
        """At the speed so far; None before the first task is done."""
        if self.done <= 0:
            return None
        elapsed = time.monotonic() - self._started
        return elapsed * (self.total - self.done) / self.done

    def advance(self, weight: float) -> None:
        """A task is done."""
        self.done += weight
        left = duration(self.seconds_left)
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=self.done, left=left)
        elif time.monotonic() - self._last >= PLAIN_SECONDS:
            self._last = time.monotonic()
            share = min(1.0, self.done / self.total)
            self.console.print(f"{self.label}: {share:.0%} done, {left} left", highlight=False, soft_wrap=True)
