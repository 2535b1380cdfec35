"""What an ensemble search prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from raytag.console import decimals, make_table, say
from raytag.store.files import Storage

OUTER = "in outer folds"

#: What lies in an ensemble's folder, what is worth a look first.
LOOK_AT = {
    "sizes.png": "score against number of members: look at it first",
    "ensemble.json": "members, weights, all scores with intervals, verdict",
    "submission.csv": "the ensemble's predictions of the test clips",
    "oof.parquet": "its out-of-fold predictions",
    "subsets.parquet": "the best subsets",
    "sizes.csv": "the numbers of sizes.png",
    "stackers.csv": "scores of second-level models",
    "stackers": "their weights and predictions",
}


def show(console: Console, report: Mapping[str, Any], storage: Storage) -> None:
    """Print an ensemble's scores, members, verdict and files.

    Parameters
    ----------
    console : rich.console.Console
    report : mapping
        ``ensemble.json``.
    storage : Storage
        The ensemble's folder.
    """
    console.print(_scores(report))
    console.print(_members(report))
    stackers = sorted({name for names in report["stackers"].values() for name in names})
    if stackers:
        say(console, f"Stackers, chosen for each fold by the others: {', '.join(stackers)}")
    _search(console, report["subset_search"])
    if report["nested"] is not None:
        say(
            console,
            f"Final ensemble: {report['ways'][report['way']]['title']}, nested lwlrap {decimals(report['nested'])} "
            f"(in-sample {decimals(report['in_sample'])}, chance {decimals(report['chance'])}); epoch optimism "
            f"{decimals(report['epoch_optimism']['mean'])} (mean over the members); "
            f"{report['tied_pairs']} tied pairs",
        )
    else:
        say(console, "Nested score: only one fold has labels, so nothing could be left out")
    say(console, report["verdict"], style="bold")
    for sentence in report["not_covered"]:
        say(console, f"Not covered: {sentence}")
    missing = report["test_clips_without_prediction"]
    if missing:
        say(
            console,
            f"submission.csv: {len(missing)} of its clips have no prediction and got the mean row, first "
            f"{missing[0]}",
        )
    say(console, f"{report['seconds']:.1f} s on {report['n_worker_processes']} worker processes")
    there = [*storage.files(), *storage.folders()]
    for name in [*(name for name in LOOK_AT if name in there), *(name for name in there if name not in LOOK_AT)]:
        say(console, f"{storage.where(name)}  {LOOK_AT.get(name, '')}".rstrip())


def _scores(report: Mapping[str, Any]) -> Table:
    table = make_table("Scores (lwlrap)", ["", "members", "in-sample", "nested", "95 %", "optimism"])
    for way, entry in report["ways"].items():
        members = str(len(entry["members"])) if "members" in entry else ""
        mark = " *" if way == report["way"] else ""
        table.add_row(entry["title"] + mark, members, *_numbers(entry))
    if report["decided_without_fold"]:
        table.add_row("* kept; the choice repeated inside", "", *_numbers(report))
    else:
        table.caption = "* kept"
    return table


def _numbers(entry: Mapping[str, Any]) -> list[str]:
    low, high = entry["nested_interval"]
    interval = "-" if low is None or high is None else f"{low:.4f} to {high:.4f}"
    return [decimals(entry["in_sample"]), decimals(entry["nested"]), interval, decimals(entry["optimism"])]


def _members(report: Mapping[str, Any]) -> Table:
    """The kept ensemble's members, and what its way chose without some fold."""
    way = report["ways"].get(report["way"], {})
    entry = way if "members" in way else report["ways"]["subset"]
    share, epochs = entry["member_frequency"], report["epoch_optimism"]["members"]
    table = make_table("Members", ["model", "lwlrap", "weight", OUTER, "epoch optimism"])
    for name in [*report["members"], *(e for e in share if e not in report["members"])]:
        table.add_row(
            name,
            decimals(report["experiments"][name]),
            f"{report['members'][name] / sum(report['members'].values()):.1%}" if name in report["members"] else "",
            f"{share.get(name, 0.0):.0%}" if share else "-",
            decimals(epochs.get(name)) if name in report["members"] else "",
        )
    return table


def _search(console: Console, search: Mapping[str, Any]) -> None:
    exact, other = search["exact_sizes"], search["other_sizes"]
    words = []
    if exact:
        took, predicted = search["seconds"], search["predicted_seconds"]
        words.append(
            f"Every subset of {_range(exact)} members was tried: {search['n_subsets']:,} in {took:.1f} s"
            + (f" ({predicted:.1f} s predicted)" if predicted > 2 else "")
        )
    if other:
        words.append(
            f"{_range(other)} members did not fit the budget: found by exchange, no single exchange improves them"
        )
    say(console, "; ".join(words) + f". No non-negative weights can exceed {search['bound']:.4f} in-sample")


def _range(sizes: Sequence[int]) -> str:
    return str(sizes[0]) if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
