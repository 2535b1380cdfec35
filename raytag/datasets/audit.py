"""Audit: what a user wants to see of a dataset before hours are spent on it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from raytag.datasets.findings import Finding, some
from raytag.datasets.readers.base import audio_files
from raytag.datasets.table import SUBSETS, ClipTable

#: How most tables are read, which need not be said.
_USUAL = (": commas, UTF-8", ": commas, UTF-8; labels separated by commas")


@dataclass(frozen=True)
class FoldAudit:
    """One fold: its clips, its labels, and the classes that have no positive clip in it."""

    fold: int
    clips: int
    labels: int
    absent: tuple[str, ...]


@dataclass(frozen=True)
class Audit:
    """Counts over a dataset; ``print`` shows them in a few lines.

    Parameters
    ----------
    directory, layout
        The folder and the reader that recognised it.
    clips, hours : dict
        Number of clips and hours of readable audio by subset; subsets without clips are left out.
    n_classes : int
        Classes in all.
    labels_per_clip : dict
        Number of curated clips by number of labels.
    counts : dict
        Curated clips of each class, in class order.
    rates : dict
        Number of readable clips by sample rate in Hz.
    seconds : tuple of three floats
        Shortest, median and longest readable clip; NaN when there is none.
    folds : tuple of FoldAudit
        In order.
    missing, unreadable : tuple of str
        Clips without a file, and clips whose file has no header that can be read.
    unlisted : tuple of str
        Audio files, relative to the dataset folder, that lie beside listed clips but are not listed.
    groups : int
        Number of named groups of curated clips.
    shared_groups : tuple of str
        Noisy clips of a group that curated clips have too: they are trained on in every fold, so the fold that
        validates this group is not independent of them.
    read_as : tuple of str
        How each table was read.
    findings : tuple of Finding
        What is odd in tables and recordings.
    """

    directory: Path
    layout: str
    clips: dict[str, int]
    hours: dict[str, float]
    n_classes: int
    labels_per_clip: dict[int, int]
    counts: dict[str, int]
    rates: dict[int, int]
    seconds: tuple[float, float, float]
    folds: tuple[FoldAudit, ...]
    missing: tuple[str, ...]
    unreadable: tuple[str, ...]
    unlisted: tuple[str, ...]
    groups: int
    shared_groups: tuple[str, ...]
    read_as: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def untrained(self) -> tuple[str, ...]:
        """Classes that no curated clip has."""
        return tuple(name for name, count in self.counts.items() if not count)

    @property
    def all_findings(self) -> tuple[Finding, ...]:
        """What may be a mistake: what the files and the folds show, then `findings`."""
        gaps = [f"{name} in fold {f.fold}" for f in self.folds for name in f.absent if name not in self.untrained]
        kinds = (
            (self.missing, "missing", "clip has no file", "clips have no file"),
            (self.unreadable, "unreadable", "clip is not readable audio", "clips are not readable audio"),
            (self.unlisted, "unlisted", "audio file is not listed", "audio files are not listed"),
            (self.untrained, "untrained", "class has no curated clip", "classes have no curated clip"),
            (gaps, "gaps", "class has no clip in a fold", "times a class has no clip in a fold"),
            (
                self.shared_groups,
                "shared-groups",
                "noisy clip shares its group with curated clips",
                "noisy clips share their group with curated clips",
            ),
        )
        found = [Finding(code, some(items, one, many)) for items, code, one, many in kinds if items]
        return (*found, *self.findings)

    @property
    def warnings(self) -> tuple[str, ...]:
        """`all_findings`, one line each."""
        return tuple(map(str, self.all_findings))

    @property
    def lines(self) -> tuple[str, ...]:
        """The summary, warnings last."""
        head, *rest = self.summary
        tables = [f"  table    {line}" for line in self.read_as if not line.endswith(_USUAL)]
        return (head, *tables, *rest, *(f"  warning  {line}" for line in self.warnings))

    @property
    def summary(self) -> tuple[str, ...]:
        """What is there, in a few lines."""
        parts = [f"{self.clips[s]} {s} ({_duration(self.hours[s])})" for s in self.clips]
        labels = ", ".join(f"{count} with {k}" for k, count in self.labels_per_clip.items())
        total = sum(k * count for k, count in self.labels_per_clip.items())
        mean = total / max(sum(self.labels_per_clip.values()), 1)
        rates = ", ".join(
            f"{rate} Hz" + (f" ({n})" if len(self.rates) > 1 else "") for rate, n in self.rates.items()
        )
        short, median, long = self.seconds
        sizes = " ".join(str(fold.clips) for fold in self.folds)
        counts = " ".join(str(fold.labels) for fold in self.folds)
        groups = f", {self.groups} groups" if self.groups else ""
        return (
            f"{self.directory} ({self.layout})",
            f"  clips    {', '.join(parts)}",
            f"  labels   {self.n_classes} classes, {mean:.2f} a curated clip ({labels})",
            f"  audio    {rates or 'none readable'}, {short:.1f} to {long:.1f} s, median {median:.1f} s",
            f"  folds    {len(self.folds)} of {sizes} clips with {counts} labels{groups}",
        )

    def __str__(self) -> str:
        return "\n".join(self.lines)


def audit(table: ClipTable) -> Audit:
    """Count what a table of clips holds and compare it with the files on the disk."""
    clips = table.clips
    durations = clips["duration"].to_numpy()
    readable = np.isfinite(durations)
    rows = {subset: table.rows(subset) for subset in SUBSETS}
    curated = rows["curated"]
    targets = table.targets(curated) > 0  # (n_curated, n_classes)
    fold_of = clips["fold"].to_numpy()[curated]
    names = np.array(table.classes, dtype=object)

    folds = []
    for k in range(table.n_folds):
        inside = targets[fold_of == k]
        absent = tuple(names[~inside.any(axis=0)])
        folds.append(FoldAudit(k, len(inside), int(inside.sum()), absent))

    per_clip, per_clip_count = np.unique(targets.sum(axis=1), return_counts=True)
    rates, rate_counts = np.unique(clips["rate"].to_numpy()[readable], return_counts=True)
    broken = clips[~readable]
    exists = [os.path.exists(path) for path in broken["path"]]
    groups = clips["group"].to_numpy(dtype=object)
    curated_groups = set(groups[curated]) - {""}
    noisy = rows["noisy"]
    shared = [row for row in noisy if groups[row] in curated_groups]
    nan = float("nan")
    return Audit(
        directory=table.directory,
        layout=table.layout,
        clips={subset: len(r) for subset, r in rows.items() if len(r)},
        hours={subset: float(np.nansum(durations[r])) / 3600 for subset, r in rows.items() if len(r)},
        n_classes=len(table.classes),
        labels_per_clip=dict(zip(per_clip.tolist(), per_clip_count.tolist(), strict=True)),
        counts=dict(zip(table.classes, targets.sum(axis=0).tolist(), strict=True)),
        rates=dict(zip(rates.tolist(), rate_counts.tolist(), strict=True)),
        seconds=_spread(durations[readable]) if readable.any() else (nan, nan, nan),
        folds=tuple(folds),
        missing=tuple(broken["clip"][[not there for there in exists]]),
        unreadable=tuple(broken["clip"][exists]),
        unlisted=_unlisted(table),
        groups=len(curated_groups),
        shared_groups=tuple(clips["clip"].iloc[shared]),
        read_as=table.read_as,
        findings=table.findings,
    )


def _unlisted(table: ClipTable) -> tuple[str, ...]:
    listed = set(table.clips["clip"]) | set(table.dropped["clip"])
    folders = sorted({os.path.dirname(clip) for clip in listed})
    found = [os.path.join(folder, name) for folder in folders for name in audio_files(table.directory / folder)]
    return tuple(clip for clip in found if clip not in listed)


def _spread(durations: np.ndarray) -> tuple[float, float, float]:
    return float(durations.min()), float(np.median(durations)), float(durations.max())


def _duration(hours: float) -> str:
    return f"{hours:.1f} h" if hours >= 1 else f"{hours * 60:.1f} min"
