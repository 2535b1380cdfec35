"""Findings: what is odd in a dataset, with its number, examples and what mends it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_NAMED = 3  # examples in a message


class DatasetError(ValueError):
    """A dataset folder that cannot be used; the message names the file, the line and the fix."""


@dataclass(frozen=True)
class Finding:
    """One thing that a user should know before anything trains.

    Attributes
    ----------
    code : str
        What kind it is, such as ``labels-alike``; the rows of docs/own-data.md.
    text : str
        One sentence, with its number and examples.
    mend : str
        The option or the edit that mends it; "" where nothing needs to be done.
    wrong : bool
        Whether a search would be silently wrong with it.
    """

    code: str
    text: str
    mend: str = ""
    wrong: bool = False

    def __str__(self) -> str:
        return f"{self.text}. {self.mend}" if self.mend else self.text


class Problems:
    """Collects what is wrong in tables, so that one attempt shows more than the first fault."""

    SHOWN = 5

    def __init__(self) -> None:
        self._messages: list[str] = []

    def add(self, path: Path | None, line: int, message: str) -> None:
        """A fault on a line of a file."""
        self._messages.append(f"{path}:{line}: {message}")

    def raise_any(self) -> None:
        """A ``DatasetError`` with the first faults, if there are any."""
        if self._messages:
            more = len(self._messages) - self.SHOWN
            tail = [f"… and {more} more"] if more > 0 else []
            raise DatasetError("\n".join(self._messages[: self.SHOWN] + tail))


def some(items: Sequence[str], singular: str, plural: str) -> str:
    """``2 clips have no file (a.wav, b.wav)``: how many, and the first three."""
    more = ", …" if len(items) > _NAMED else ""
    return f"{len(items)} {singular if len(items) == 1 else plural} ({', '.join(items[:_NAMED])}{more})"
