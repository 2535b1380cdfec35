"""What a run, or a submission, scores, and how far leaderboards agree with cross-validation.

    raytag score                                    the newest run: out-of-fold predictions, its own labels
    raytag score RUN --truth test.csv               its test predictions against labels that were published
    raytag score submission.csv --truth test.csv    any predictions: fname and one column a class
    raytag score RUN --public 0.731 --note "first"  note what a leaderboard said of the newest ensemble

lwlrap ranks the classes of a clip and gives tied classes their worst common rank; beside it stands its value with
ties settled in favour of the labels (best rank). Average precision (AP) and ROC-AUC rank the clips of a class. A
truth file is a CSV with the columns fname, labels (separated by commas) and perhaps usage (Public or Private: then
both are shown too).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from raytag.ensemble.scores import Candidate, Scores
    from raytag.store.run import RunStore

TEXTS = ("name", "class", "time", "note")
#: Columns that are not headed by their name.
HEADINGS = {
    **dict.fromkeys(TEXTS[:3], ""),
    "best_rank": "best rank",
    "tied_pairs": "ties",
    "cv_lwlrap": "CV",
    "average_precision": "AP",
    "roc_auc": "ROC-AUC",
}
FEW = 20  # below so many points a rank correlation says little


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("what", metavar="RUN|SUBMISSION", nargs="?", help="name, path or URI of a run, or a CSV or Parquet file")
    add("--truth", metavar="FILE", type=Path, help="labels of test clips: CSV fname,labels[,usage]")
    add("--of", metavar="NAME", help="the experiment or ensemble to show by class; by default the best")
    add("--public", metavar="SCORE", type=float, help="note what a leaderboard said, in public.csv of the run")
    add("--note", metavar="TEXT", default="", help="a remark beside it")
    add("--run", help="the run that notes what a leaderboard said of a SUBMISSION; by default the newest")
    add("--leaky", action="store_true", help="score leaky experiments too, which saw labels of their own fold")
    add("--runs-dir", default="runs", help="where runs are looked up by name (%(default)s)")
    add("--json", action="store_true", help="print everything as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Score, note, print."""
    from raytag.console import make_console
    from raytag.ensemble.predictions.external import SUFFIXES
    from raytag.store.public import note_score, noted_scores, rank_correlation

    what, truth, public = arguments.what, arguments.truth, arguments.public
    is_file = what is not None and Path(what).suffix in SUFFIXES
    if arguments.note and public is None:
        raise ValueError("--note is a remark on what a leaderboard said: give --public SCORE too")
    if arguments.of and is_file:
        raise ValueError(f"--of {arguments.of} names an experiment or ensemble of a run, but {what} is a file")
    if arguments.run and (public is None or not is_file):
        raise ValueError(f"--run {arguments.run} notes the --public score of a SUBMISSION: name a run without it")
    scores, chosen, store = (_submission if is_file else _run)(arguments)
    report: dict[str, Any] = {"run": store.name if store else None, "truth": str(truth) if truth else None}
    if scores:
        report |= {"clips": len(scores.fnames), "labels": int(scores.targets.sum()), "notes": scores.notes}
        report["scores"] = sorted(map(scores.summary, scores.candidates), key=lambda row: -row["lwlrap"])
        report |= {"of": chosen.name, "interval": scores.interval(chosen), "by_class": scores.by_class(chosen)}
    if store:
        if public is not None:
            note_score(store.storage, chosen.name, public, chosen.cv_lwlrap, chosen.nested, arguments.note)
            report["noted_now"] = chosen.name
        report["noted"] = noted_scores(store.storage)
        report["rank_correlation"] = dict(zip(("n", "spearman"), rank_correlation(report["noted"]), strict=True))
    if arguments.json:
        print(json.dumps(report, indent=2))
    else:
        _show(make_console(), what if is_file else f"Run {report['run']}", report)
    return 0


def _run(arguments: argparse.Namespace) -> tuple[Scores, Candidate, RunStore]:
    """The scores of a run, and what is shown and noted: ``--of``, else the newest ensemble (noted) or the best."""
    from rich.console import Console

    from raytag.console import ProgressBar
    from raytag.ensemble.kept import newest_first
    from raytag.ensemble.predictions.external import closest
    from raytag.ensemble.scores import of_run
    from raytag.store.run import RunStore

    store = RunStore.find(arguments.what, arguments.runs_dir)
    with ProgressBar(Console(stderr=True), "predictions", len(store.experiments()), "experiments") as progress:
        scores = of_run(store, arguments.truth, progress.advance, arguments.leaky)
    by_name, name = {one.name: one for one in scores.candidates}, arguments.of
    if name is None and arguments.public is not None:
        name = next((ensemble for ensemble in newest_first(store) if ensemble in by_name), None)
        if name is None:
            raise ValueError(f"run {store.name!r} has no ensemble: say what was submitted with --of EXPERIMENT")
    if name is None:
        name = max(map(scores.summary, scores.candidates), key=lambda row: row["lwlrap"])["name"]
    if name not in by_name:
        raise ValueError(f"--of {name}: no such experiment or ensemble is scored{closest(name, list(by_name))}")
    return scores, by_name[name], store


def _submission(arguments: argparse.Namespace) -> tuple[Scores | None, Candidate, RunStore | None]:
    """The scores of a file if there is a truth, and the run that notes what a leaderboard said, if any shall."""
    from raytag.ensemble.scores import of_submission, submission
    from raytag.store.run import REPORT, RunStore

    file, store, scores = Path(arguments.what), None, None
    if arguments.truth is None and arguments.public is None:
        raise ValueError(f"{file} holds predictions alone: give the labels with --truth FILE")
    if arguments.truth is not None:
        scores = of_submission(file, arguments.truth)
    chosen = scores.candidates[0] if scores else submission(file)[0]
    folder = file.absolute().parent
    owner = str(folder.parents[1]) if (folder / REPORT).is_file() else None  # it is an ensemble of that run
    if arguments.public is not None:
        store = RunStore.find(arguments.run or owner, arguments.runs_dir)
        if owner and not arguments.run:
            report = store.storage.read_json(f"ensembles/{folder.name}/{REPORT}")
            noted = {"name": folder.name, "cv_lwlrap": report["in_sample"], "nested": report["nested"]}
            chosen = chosen._replace(**noted)
            if scores:
                scores.candidates = [chosen]
    return scores, chosen, store


def _show(console: Console, what: str, report: Mapping[str, Any]) -> None:
    from raytag.console import say

    if "scores" in report:
        against = f"against {report['truth']}" if report["truth"] else "out-of-fold"
        classes, found = report["by_class"], report["interval"]
        size = f"{report['clips']} clips, {report['labels']} labels, {len(classes)} classes"
        say(console, f"{what} {against}: {size}")
        for note in report["notes"]:
            say(console, f"Note: {note}")
        _print_rows(console, "Scores (lwlrap)", report["scores"], "kind", "" if report["truth"] else "cv_lwlrap")
        title = f"{report['of']}: "
        if found:
            title += (
                f"lwlrap {found['value']:.4f} [{found['low']:.4f}, {found['high']:.4f}] (95 %, by {found['by']}); "
            )
        title += "by class, the worst first"
        _print_rows(console, title, sorted(classes, key=lambda row: (row["lwlrap"] is None, row["lwlrap"])))
    if "noted_now" in report:
        say(console, f"Noted in run {report['run']}: {report['noted_now']} {report['noted'][-1]['score']}")
    if report.get("noted"):
        _print_rows(console, "What leaderboards said", report["noted"])
        n, rho = report["rank_correlation"].values()
        words = "needs three" if n < 3 else "undefined, for all are equal" if rho is None else f"{rho:+.2f}"
        few = "; so few say little" if 3 <= n < FEW else ""
        say(console, f"Rank correlation with CV (nested where known), {n} scores that have one: {words}{few}")


def _print_rows(console: Console, title: str, rows: Sequence[Mapping[str, Any]], *without: str) -> None:
    """A table of rows that have the same keys; empty columns are left out, narrow terminals fold texts alone."""
    from rich.markup import escape

    from raytag.console import decimals, make_table, say

    say(console, title, style="bold")
    keys = [key for key in rows[0] if key not in without and any(row[key] not in (None, "") for row in rows)]
    table = make_table("", [HEADINGS.get(key, key) for key in keys])
    for key, column in zip(keys, table.columns, strict=True):
        if key in TEXTS:
            column.justify, column.no_wrap, column.overflow = "left", False, "fold"
    for row in rows:
        cells = [decimals(row[key]) if isinstance(row[key], float | None) else str(row[key]) for key in keys]
        table.add_row(*map(escape, cells))
    console.print(table)
