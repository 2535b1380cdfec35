"""Progress of a job of known size: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

#: Without a terminal: least time between two lines, s.
_PLAIN_SECONDS = 5.0


def say(console: Console, text: str, style: str | None = None) -> None:
    """Print one line as it is: not wrapped, and with square brackets and numbers left alone."""
    console.print(text, style=style, highlight=False, markup=False, soft_wrap=True)


class Progress:
    """Show how many of ``total`` clips are done, at what rate, and the time left, in a ``with`` block."""

    def __init__(self, console: Console, total: int) -> None:
        self.console, self.total, self.done = console, total, 0
        self._started = self._shown = time.monotonic()
        self._bar: Bar | None = None
        if console.is_terminal:
            self._bar = Bar(
                TextColumn("features"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("clips  {task.fields[rate]:.0f} clips/s "),
                TimeRemainingColumn(),
                console=console,
                transient=True,
            )
            self._task = self._bar.add_task("features", total=total, rate=0.0)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def advance(self, clips: int) -> None:
        """So many more are done."""
        self.done += clips
        now = time.monotonic()
        rate = self.done / max(now - self._started, 1e-9)
        if self._bar is not None:
            self._bar.update(self._task, completed=self.done, rate=rate)
        elif now - self._shown >= _PLAIN_SECONDS:
            self._shown = now
            left = (self.total - self.done) / rate
            say(self.console, f"features: {self.done}/{self.total} clips, {rate:.0f} clips/s, {left:.0f} s left")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
