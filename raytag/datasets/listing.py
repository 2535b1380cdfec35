"""What a reader gives of a dataset folder: clips as its tables state them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from raytag.datasets.findings import Finding

#: Files that a folder listing takes for audio (what libsndfile decodes).
AUDIO_SUFFIXES = frozenset(
    {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au", ".w64", ".caf"}
)


@dataclass(frozen=True)
class ListedClip:
    """One clip as a CSV file, or a folder listing, states it."""

    fname: str
    clip: str  # POSIX path relative to the dataset folder
    subset: str
    labels: tuple[str, ...] = ()
    fold: str | None = None  # as written; None where there is no such column
    group: str | None = None
    csv: Path | None = None  # where it stands
    line: int = 0


@dataclass(frozen=True)
class Listing:
    """What a reader gives: entries in their order of appearance, curated clips first, then noisy, then test.

    ``classes`` is None where the layout states no class order; ``submission`` is the order of ``fname`` in the
    sample submission; ``tables`` say how each table was read, ``findings`` what is odd in them.
    """

    layout: str
    entries: list[ListedClip]
    classes: tuple[str, ...] | None = None
    submission: tuple[str, ...] | None = None
    tables: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = field(default=())
