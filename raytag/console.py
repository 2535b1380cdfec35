"""The console of the command lines: lines, times and progress."""

from __future__ import annotations

import errno
import math
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self, TextIO, cast

import psutil
from rich.console import Console, RenderableType
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar
from rich.table import Table

from raytag.errors import let_go, redacted, visible

PLAIN_WIDTH = 160  # columns where there is no terminal to ask: tables in a log file should not be cut
PLAIN_SECONDS = 5.0  # without a terminal: least time between two lines of progress


class Outlet:
    """Standard output, whose reader may leave, as a terminal that is closed does: what is said then goes nowhere.

    Work goes on; without it the first line after that would end it with an error.
    """

    @property
    def _stream(self) -> TextIO:
        # whatever that is now; a live display puts a proxy there, which would lead back to the console
        return cast(TextIO, getattr(sys.stdout, "rich_proxied_file", sys.stdout))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as error:
            return self._let_go(error)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._let_go(error)

    def _let_go(self, error: OSError) -> int:
        if error.errno in (errno.EPIPE, errno.EIO):  # not a full disk, on which there may be room again
            let_go(self._stream)
        return 0


def make_console() -> Console:
    """Standard output: as wide as the terminal, wide enough for tables elsewhere."""
    outlet: Any = Outlet()
    if sys.stdout.isatty() or "COLUMNS" in os.environ:
        return Console(file=outlet)
    return Console(file=outlet, width=PLAIN_WIDTH)


def duration(seconds: float | None) -> str:
    """``75`` → ``1:15``, ``4000`` → ``1:06:40``; None → ``?``."""
    if seconds is None or not math.isfinite(seconds):
        return "?"
    whole = round(seconds)
    hours, minutes = whole // 3600, whole % 3600 // 60
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"


_SIZES = {"B": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}
_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_NUMBER = r"(\d+(?:\.\d+)?|\.\d+)"
_DURATION = re.compile(r"\s*".join(rf"(?:{_NUMBER}\s*{unit})?" for unit in _UNITS))


def parse_duration(option: str, text: str) -> float:
    """Seconds of a duration such as ``90``, ``90s``, ``45m``, ``2h``, ``1h30m``, ``1.5h`` or ``1d``.

    Raises
    ------
    ValueError
        Not such a duration, or not above zero; the message names ``option`` and shows how to write it.
    """
    plain = text.strip().lower()
    if re.fullmatch(_NUMBER, plain):
        plain += "s"
    found = _DURATION.fullmatch(plain) if plain else None
    if found is None:
        raise ValueError(f"{option} {text}: write a duration such as 90s, 45m, 2h, 1h30m or 1d")
    seconds = sum(float(n) * unit for n, unit in zip(found.groups(), _UNITS.values(), strict=True) if n)
    if not 0 < seconds < math.inf:
        raise ValueError(f"{option} {text}: must be above 0 and finite, e.g. 45m")
    return seconds


#: Told every line that is said, such as the log file of a run (`raytag.store.logfile`).
listeners: list[Callable[[str], None]] = []


def say(console: Console, text: str, style: str | None = None, lasting: bool = True) -> None:
    """Print one line as it is, without secrets: not wrapped, square brackets left alone, control characters shown.

    What is not ``lasting``, such as progress, is not worth a line in the log file of a run.
    """
    text = visible(redacted(text))
    if lasting:
        note(text)
    console.print(text, style=style, highlight=False, markup=False, soft_wrap=True)


class _VisibleTable(Table):
    """A table whose cells show control characters, as `say` does."""

    def add_row(self, *cells: RenderableType | None, **options: Any) -> None:
        super().add_row(*(visible(cell) if isinstance(cell, str) else cell for cell in cells), **options)


def note(text: str) -> None:
    """Tell the `listeners` alone."""
    for listener in listeners:
        listener(text)


def make_table(title: str, columns: Sequence[str]) -> Table:
    """A table of numbers: the first column is text, the others stand to the right."""
    table = _VisibleTable(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i == 0 else "right", no_wrap=True)
    return table


def size_words(size: float) -> str:
    """Bytes in decimal units: ``999`` → ``999 B``, ``1234567`` → ``1.2 MB``."""
    unit = next((u for u in _SIZES if size < 999.95 * _SIZES[u]), "TB")
    return f"{size:.0f} B" if unit == "B" else f"{size / _SIZES[unit]:.1f} {unit}"


def decimals(value: float | None) -> str:
    """A score to four decimals; None → ``-``."""
    return "-" if value is None else f"{value:.4f}"


class Stopwatch:
    """How long the parts of a start took: seconds by name, in order. It runs since this process began."""

    def __init__(self) -> None:
        self.parts: dict[str, float] = {}
        self._last = time.monotonic() - _age()

    def lap(self, name: str) -> None:
        """The part of that name ends here."""
        now = time.monotonic()
        self.parts[name] = round(self.parts.get(name, 0.0) + now - self._last, 3)
        self._last = now

    def __str__(self) -> str:
        words = ", ".join(f"{name} {seconds:.1f}" for name, seconds in self.parts.items())
        return f"Start: {sum(self.parts.values()):.1f} s ({words})"


def _age() -> float:
    """Seconds since this process began."""
    began = psutil.Process().create_time()
    if hasattr(time, "CLOCK_BOOTTIME"):  # there the time of the boot is known to a second only: it cancels
        return time.clock_gettime(time.CLOCK_BOOTTIME) - (began - psutil.boot_time())
    return time.time() - began


class ProgressBar:
    """Show how much of a job is done and the time left, in a ``with`` block.

    A bar on a terminal, a plain line every few seconds elsewhere.

    Parameters
    ----------
    console : rich.console.Console
    label : str
        What is done: ``"features"``.
    total : float
        Size of the job.
    unit : str
        What is counted, for jobs that are; without it only shares are shown.
    """

    def __init__(self, console: Console, label: str, total: float, unit: str = "") -> None:
        self.console, self.label, self.total, self.unit = console, label, max(total, 1e-12), unit
        self.done = 0.0
        self._started = self._shown = time.monotonic()
        self._bar: Bar | None = None

    def __enter__(self) -> Self:
        self._started = self._shown = time.monotonic()
        if self.console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[words]}"))
            self._bar = Bar(*columns, console=self.console, transient=True)
            self._bar.add_task(self.label, total=self.total, words="")
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    @property
    def seconds_left(self) -> float | None:
        """At the speed so far; None before anything is done."""
        if self.done <= 0:
            return None
        return (time.monotonic() - self._started) * (self.total - self.done) / self.done

    def advance(self, amount: float) -> None:
        """So much more is done."""
        self.done += amount
        now = time.monotonic()
        if self.unit:
            rate = self.done / max(now - self._started, 1e-9)
            words = f"{self.done:.0f}/{self.total:.0f} {self.unit}, {rate:.0f} {self.unit}/s"
        else:
            words = f"{min(1.0, self.done / self.total):.0%} done"
        words += f", {duration(self.seconds_left)} left"
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=self.done, words=words)
        elif now - self._shown >= PLAIN_SECONDS:
            self._shown = now
            say(self.console, f"{self.label}: {words}", lasting=False)
