"""What predictions score: a run's out-of-fold, or its test predictions or a submission against a truth file."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from raytag.datasets.readers.base import csv_entries
from raytag.datasets.table import join_labels, multi_hot
from raytag.datasets.tables.csv_file import read_csv
from raytag.ensemble.assess.bootstrap import Bootstrap
from raytag.ensemble.files import read_report
from raytag.ensemble.predictions.external import closest, read_table
from raytag.ensemble.predictions.oof import load_oof
from raytag.errors import DamagedError
from raytag.metrics import best_rank_lwlrap, label_precisions, lwlrap, per_class_lwlrap, tied_pairs
from raytag.store.predictions import aligned, class_values
from raytag.store.run import REPORT, RunStore

USAGES = ("public", "private")


class Candidate(NamedTuple):
    """Predictions (n_clips, n_classes) in the order of the labels, and what cross-validation says of them."""

    name: str
    kind: str  # experiment, ensemble or submission
    values: NDArray[np.floating]
    cv_lwlrap: float | None = None
    nested: float | None = None


@dataclass
class Scores:
    """Labels, what is scored against them, and ``notes`` that a reader of the scores should know.

    Attributes
    ----------
    fnames, classes : tuple of str
        Clips that have labels, and the classes of the predictions.
    targets : np.ndarray [shape=(n_clips, n_classes)], float32, 0/1
    group : sequence of str [length=n_clips]
        Clips of one group (never "") come from one source.
    usage : sequence of str [length=n_clips]
        Part of the leaderboard: one of `USAGES`, or "" where nobody says.
    """

    fnames: tuple[str, ...]
    classes: tuple[str, ...]
    targets: NDArray[np.float32]
    group: Sequence[str]
    usage: Sequence[str]
    unlabelled: tuple[str, ...] = ()  # clips that a truth file names without labels
    notes: list[str] = field(default_factory=list)
    candidates: list[Candidate] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Add a note, once."""
        if text not in self.notes:
            self.notes.append(text)

    def parts(self) -> dict[str, NDArray[np.bool_]]:
        """The rows of all clips (``lwlrap``), and of each part of the leaderboard that has any."""
        rows = {part: np.array(self.usage) == part for part in USAGES}
        return {"lwlrap": np.full(len(self.fnames), True)} | {part: own for part, own in rows.items() if own.any()}

    def place(
        self, where: str, fnames: Collection[str], values: NDArray[np.floating], fillable: Collection[str] = ()
    ) -> NDArray[np.floating]:
        """Predictions in the order of the labels; clips of ``fillable`` may lack one and get the mean row."""
        row = {str(fname): i for i, fname in enumerate(fnames)}
        missing = [fname for fname in self.fnames if fname not in row]
        lost = [fname for fname in missing if fname not in fillable]
        if lost:
            raise ValueError(
                f"{where}: no prediction for {_some(lost, 'clip')} of the truth file's {len(self.fnames)}"
                + closest(lost[0], list(row))
            )
        if extra := sorted(set(row) - {*self.fnames, *self.unlabelled}):
            self.note(f"left out, for the truth file does not name them: {_some(extra, 'predicted clip')}")
        if missing:
            self.note(f"the run could not use {_some(missing, 'clip')}: predicted by the mean row")
        mean = values.mean(axis=0)
        return np.stack([values[row[f]] if f in row else mean for f in self.fnames])

    def summary(self, candidate: Candidate) -> dict[str, Any]:
        """Name, kind, lwlrap of all clips and of each part, best_rank, tied_pairs and CV, in JSON's types."""
        truth, values = self.targets, candidate.values
        return {
            "name": candidate.name,
            "kind": candidate.kind,
            **{part: lwlrap(truth[rows], values[rows]) for part, rows in self.parts().items()},
            "best_rank": best_rank_lwlrap(truth, values),
            "tied_pairs": tied_pairs(truth, values),
            "cv_lwlrap": candidate.cv_lwlrap,
            "nested": candidate.nested,
        }

    def interval(self, candidate: Candidate) -> dict[str, Any] | None:
        """lwlrap (value) and its 95 % interval (low, high) by group or clip; None with fewer than two of them."""
        clip, _, precisions = label_precisions(self.targets, candidate.values)
        bootstrap = Bootstrap(self.group, clip)
        if bootstrap.n_groups < 2:
            return None
        return bootstrap.interval(precisions).as_dict() | {"by": "group" if bootstrap.grouped else "clip"}

    def by_class(self, candidate: Candidate) -> list[dict[str, Any]]:
        """Of each class positives, lwlrap of all clips and of each part, average_precision and roc_auc.

        lwlrap ranks the classes of a clip, the last two rank the clips of a class. None is undefined.
        """
        from sklearn.metrics import average_precision_score, roc_auc_score

        values, found = candidate.values, []
        parts = {p: per_class_lwlrap(self.targets[rows], values[rows]) for p, rows in self.parts().items()}
        for c, name in enumerate(self.classes):
            truth, rank = self.targets[:, c], np.unique(values[:, c], return_inverse=True)[1]
            positives, both = int(truth.sum()), 0 < truth.sum() < len(truth)
            found.append(
                {
                    "class": name,
                    "positives": positives,
                    **{part: float(own[c]) if weight[c] else None for part, (own, weight) in parts.items()},
                    "average_precision": float(average_precision_score(truth, rank)) if positives else None,
                    "roc_auc": float(roc_auc_score(truth, rank)) if both else None,
                }
            )
        return found


def read_truth(path: Path, classes: Sequence[str]) -> Scores:
    """Labels of test clips; those without any are left out, with a note.

    Parameters
    ----------
    path : Path
        A CSV with the columns fname, labels (separated by commas) and perhaps usage (Public or Private, in any
        case), as the published FSDKaggle2019 has it. Other columns are not read.
    classes : sequence of str
        Those of the predictions.

    Raises
    ------
    ValueError
        The file cannot be read, a label is no class of the predictions, no clip has a label, or a usage is neither
        Public nor Private.
    """
    table = read_csv(path)
    entries = csv_entries(table, "", "test", classes=classes)
    unknown = sorted({label for entry in entries for label in entry.labels} - set(classes))
    if unknown:
        hint = closest(unknown[0], classes)
        raise ValueError(f"{path}: the predictions lack {_some(unknown, 'class', 'classes')} of it{hint}")
    at = next((c for c, name in enumerate(table.columns) if name.lower() == "usage"), None)
    rows = dict(table.rows)
    labelled = [(entry, entry.line, rows[entry.line]) for entry in entries if entry.labels]
    unlabelled = tuple(entry.fname for entry in entries if not entry.labels)
    if not labelled:
        raise ValueError(f"{path}: no clip has a label, so there is nothing to score")
    for _, line, cells in labelled:
        if at is not None and cells[at].lower() not in USAGES:
            raise ValueError(f"{path}:{line}: usage {cells[at]!r} is neither Public nor Private")
    found = Scores(
        tuple(entry.fname for entry, _, _ in labelled),
        tuple(classes),
        multi_hot([join_labels(entry.labels) for entry, _, _ in labelled], tuple(classes)),
        group=[""] * len(labelled),
        usage=["" if at is None else cells[at].lower() for _, _, cells in labelled],
        unlabelled=unlabelled,
    )
    if unlabelled:
        found.note(f"left out, for {path} has no labels for them: {_some(unlabelled, 'clip')}")
    return found


def submission(path: Path) -> tuple[Candidate, list[str], list[str]]:
    """The predictions of a file (fname and one column a class, any finite numbers), its clips and its classes."""
    frame = read_table(path)
    classes = [str(c) for c in frame.columns if c != "fname"]
    values = class_values(frame, classes, str(path), probabilities=False)
    return Candidate(path.name, "submission", values), frame["fname"].astype(str).tolist(), classes


def of_submission(path: Path, truth: Path) -> Scores:
    """A file of predictions against a truth file; errors as in `of_run`."""
    candidate, fnames, classes = submission(path)
    scores = read_truth(truth, classes)
    scores.candidates.append(candidate._replace(values=scores.place(str(path), fnames, candidate.values)))
    return scores


def of_run(
    store: RunStore, truth: Path | None, advance: Callable[[float], None] = lambda _: None, leaky: bool = False
) -> Scores:
    """Every complete experiment and every ensemble of a run, out-of-fold or against a truth file.

    Parameters
    ----------
    store : RunStore
    truth : Path or None
        None scores out-of-fold predictions against the run's own labels. Else test predictions are scored, of an
        experiment the geometric mean over its folds, with the mean row where the run could not use a clip.
    advance : callable
        Called with 1 after each experiment.
    leaky : bool
        Whether leaky experiments are scored too.

    Raises
    ------
    ValueError
        No experiment is complete, predictions are damaged, there are no test clips, or the truth does not fit them.
    """
    oof, clips, classes = load_oof(store, advance=advance, leaky=leaky), store.clips(), store.classes
    if truth is None:
        scores = Scores(oof.fnames, classes, oof.targets, list(oof.group), [""] * len(oof.fnames))
    elif oof.test is None:
        raise ValueError(f"run {store.name!r} has no test clips, so nothing to score against {truth}")
    else:
        scores = read_truth(truth, classes)
    for note in oof.notes:
        scores.note(note)
    if partial := sorted(set(store.experiments()) - {*oof.experiments, *oof.left_out}):
        scores.note(f"not scored, for some of their folds are not finished: {_some(partial, 'experiment')}")
    unusable = {*(store.run["submission"] or ()), *clips["fname"][clips["subset"] == "test"]} - {*oof.test_fnames}
    for m, name in enumerate(oof.experiments):
        values: NDArray[np.floating] = oof.probabilities[m]
        cv_lwlrap = lwlrap(oof.targets, values)
        if truth is not None and oof.test is not None:
            values = scores.place(f"run {store.name!r}", oof.test_fnames, oof.test[m], unusable)
        scores.candidates.append(Candidate(name, "experiment", values, cv_lwlrap))
    file = "oof.parquet" if truth is None else "submission.csv"
    for name in store.storage.folders("ensembles"):
        storage, where = store.storage.sub(f"ensembles/{name}"), f"ensemble {name} ({file})"
        lacks = [needed for needed in (REPORT, file) if not storage.exists(needed)]
        if lacks:
            scores.note(f"not scored: ensemble {name}, which has no {lacks[0]}")
            continue
        try:
            report = read_report(storage, [file])
        except DamagedError as error:
            scores.note(f"not scored: ensemble {name}; {error}")
            continue
        if truth is None:
            values = aligned(storage.read_parquet(file), oof.fnames, classes, where)
        else:
            frame = read_table(Path(file), classes, storage.read(file))
            values = scores.place(where, frame["fname"], class_values(frame, classes, where), unusable)
        scores.candidates.append(Candidate(name, "ensemble", values, report["in_sample"], report["nested"]))
    return scores


def _some(names: Sequence[str], one: str, many: str = "") -> str:
    """``3 clips (a, b, c)``: how many, and the first five by name."""
    shown = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
    return f"{len(names)} {one if len(names) == 1 else many or one + 's'} ({shown})"
