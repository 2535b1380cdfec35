"""What a run does and has done, asked from a second terminal: no launch is disturbed.

    raytag status                  the newest run
    raytag status RUN --watch      again every 5 seconds, until Ctrl-C
    raytag status RUN --json       the same for scripts

Shows whether a launch works on it, what it trains now, what is open, was dropped or failed and why, the best
experiments so far, the ensembles, and the disk used. The exit code is 1 when a file is damaged: it is named, and
the rest is shown.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

SECONDS = 5.0  # between two looks of --watch
SHOWN = 15  # rows of a table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", nargs="?", help="name, path or URI of a run; by default the newest")
    parser.add_argument("--runs-dir", default="runs", help="where runs are looked up by name (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.add_argument(
        "--watch",
        metavar="SECONDS",
        type=float,
        nargs="?",
        const=SECONDS,
        help=f"look again after so many seconds ({SECONDS:g}), until Ctrl-C",
    )


def run(arguments: argparse.Namespace) -> int:
    """Look and show, once or until Ctrl-C; 1 if a file is damaged."""
    from raytag.console import make_console
    from raytag.store.run import locate

    if arguments.watch is not None and not 0.1 <= arguments.watch < 1e6:
        raise ValueError(f"--watch {arguments.watch:g}: give seconds between two looks, at least 0.1")
    console, where = make_console(), locate(arguments.run, arguments.runs_dir)
    if arguments.watch is None:
        return _once(console, where, arguments)
    with suppress(KeyboardInterrupt):
        while True:
            _once(console, where, arguments)
            time.sleep(arguments.watch)
    return 0


def _once(console: Console, where: tuple[str, str], arguments: argparse.Namespace) -> int:
    from raytag.cli.status.look import look

    report = look(*where)
    if arguments.json:
        print(json.dumps(report, indent=None if arguments.watch else 2, ensure_ascii=False), flush=True)
    else:
        if arguments.watch:
            console.clear()  # of a terminal; nothing elsewhere
        show(console, report)
    return int(bool(report["damaged"]))


def show(console: Console, report: Mapping[str, Any]) -> None:
    """Print what `raytag.cli.status.look.look` found."""
    from raytag.console import say, size_words

    say(console, f"Run {report['run']} ({report['folds']} folds) on {report['data']}: {report['where']}", "bold")
    say(console, _launch(report))
    for search in report["searches"]:
        drawn = f"{search['drawn']} of {search['number'] or 'as many as fit'} experiments drawn"
        left = f"{search['open_experiments']} open with {search['open_folds']} folds to train"
        rules = f"--stopping {search['stopping']} --keep {search['keep']}"
        say(console, f"search {search['key']}: {drawn}, {left}; {rules}")
    counts = dict(report["experiments"])
    say(console, f"{counts.pop('total')} experiments: " + ", ".join(f"{n} {what}" for what, n in counts.items()))
    trials = ["experiment", "fold", "epoch", "lwlrap", "best", "heard of"]
    _table(console, "Running", trials, [_trial(row) for row in report["running"]])
    _table(console, "Begun, to be continued from a checkpoint", trials, [_trial(row) for row in report["begun"]])
    _table(console, "Dropped", ["experiment", "reason"], [list(row.values()) for row in report["dropped"]])
    _table(console, "Failed", ["experiment", "reason"], [list(row.values()) for row in report["failed"]])
    best = [[row["experiment"], f"{row['cv_lwlrap']:.4f}"] for row in report["best"]]
    _table(console, "Best complete experiments", ["experiment", "cv_lwlrap"], best)
    ensembles = [
        [row["name"], row["way"], str(row["members"]), *_scores(row["in_sample"], row["nested"])]
        for row in report["ensembles"]
    ]
    _table(console, "Ensembles", ["name", "kept", "members", "in-sample", "nested"], ensembles)
    disk = dict(report["disk"])
    say(
        console,
        f"Disk: {size_words(disk.pop('total'))}: "
        + ", ".join(f"{kind} {size_words(size)}" for kind, size in disk.items()),
    )
    for words in report["damaged"]:
        say(console, f"damaged: {words}", style="bold red")


def _launch(report: Mapping[str, Any]) -> str:
    """Whether a launch works on the run, in a sentence."""
    from raytag.console import duration

    lease, last, now = report["lease"], report["last_launch"], time.time()
    if lease is not None and lease["alive"]:
        return (
            f"A launch works on it: process {lease['pid']} on {lease['host']}, for "
            f"{duration(now - lease['since'])}, last heard of {max(0.0, now - lease['beat']):.0f} s ago"
        )
    if last is None:
        return "No launch works on it"
    how = {None: "did not say how it ended (killed?)", True: "was interrupted", False: "came to its end"}
    words = f"No launch works on it; the last one, of {last['time']}, {how[last['interrupted']]}"
    return f"{words}. Continue with: python {last['command']}" if last["interrupted"] is not False else words


def _trial(row: Mapping[str, Any]) -> list[str]:
    from raytag.console import duration

    epochs = "?" if row["epochs"] is None else row["epochs"]
    heard = f"{duration(max(0.0, time.time() - row['updated']))} ago"
    return [
        row["experiment"],
        str(row["fold"]),
        f"{row['epoch']}/{epochs}",
        *_scores(row["lwlrap"], row["best"]),
        heard,
    ]


def _scores(*values: float | None) -> list[str]:
    from raytag.console import decimals

    return [decimals(value) for value in values]


def _table(console: Console, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """The first rows of a table, if it has any; texts are folded where the terminal is narrow."""
    from rich.markup import escape

    from raytag.console import make_table, say

    if not rows:
        return
    say(console, f"{title} ({len(rows)})", style="bold")
    table = make_table("", columns)
    for column in table.columns:
        if column.header in ("reason", "kept"):
            column.justify, column.no_wrap, column.overflow = "left", False, "fold"
    for row in rows[:SHOWN]:
        table.add_row(*map(escape, row))
    console.print(table)
    if len(rows) > SHOWN:
        say(console, f"… and {len(rows) - SHOWN} more (--json has all)")
