#!/usr/bin/env python3
"""raytag's race beside full cross-validation and published rules, replayed on recorded learning curves.

    python benchmarks/racing/racing.py                           # every rule on every table that is here
    python benchmarks/racing/racing.py --table T.parquet --keep 10 --shuffles 200 --json racing.json
    python benchmarks/racing/racing.py --incumbent --z 0.7       # how often the incumbent's twin is dropped
    python benchmarks/racing/racing.py --figure racing.png       # spent against kept, all settings
    python benchmarks/racing/racing.py --record runs/table --to T.parquet

A table holds what full cross-validation gave for every experiment, fold and epoch, so every rule can be replayed on
it: nothing is trained. Each replay draws another order of arrival, the same for all rules. "spent" is the share of
full cross-validation's fold-epochs; "kept" is how many of the true best KEEP experiments (by mean lwlrap over all
folds) are among the completed; "regret" is the best experiment's lwlrap less that of the best completed one.

Folds run in the table's order; --shuffle-folds draws that anew in every replay. The published rules run one trial
at a time. A table by which settings were chosen does not judge them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import _figure
import _incumbent
import _tables
import numpy as np
from _replays import PUBLISHED, Rule, all_rules, arrivals, compare, race
from rich import box
from rich.table import Table

from raytag.console import ProgressBar, make_console, say
from raytag.errors import explain_errors
from raytag.search.race import fold_effects
from raytag.search.race.settings import Settings

sys.path.append(str(Path(__file__).resolve().parents[1] / "speed"))
from _timing import add_json_argument, machine, write_json

BENCHMARKS = Path(__file__).resolve().parents[1]
FOLDERS = [BENCHMARKS / "data", BENCHMARKS.parents[1] / "shared" / "data" / "curves"]
Rows = list[dict[str, Any]]

console = make_console()


def main() -> None:
    args = parse()
    with explain_errors():
        run(args)


def run(args: argparse.Namespace) -> None:
    if args.record:
        record(args.record, args.to)
        return
    tables = {path.stem: _tables.load(path) for path in args.table or known_tables()}
    for name, table in tables.items():
        if not args.keep < len(table.names):
            raise ValueError(f"--keep {args.keep}: {name} has {len(table.names)} experiments, none could go")
    if args.figure:
        figure(tables, args)
        return
    job = incumbent if args.incumbent else rules
    found: dict[str, Rows] = {}
    for name, table in tables.items():
        n, n_folds, n_epochs = table.curves.best.shape
        title = f"{name}: {n} experiments × {n_folds} folds × {n_epochs} epochs"
        found |= job(title, table, args)
    say(console, machine())
    write_json(args.json, found)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, nargs="+", metavar="FILE", help="recorded curves (default: all here)")
    parser.add_argument("--keep", type=int, default=10, help="size of the portfolio (default 10)")
    parser.add_argument("--shuffles", type=int, default=200, help="replays of each rule (default 200)")
    parser.add_argument("--slots", type=int, default=1, help="trials at a time in raytag's race (default 1)")
    parser.add_argument(
        "--z",
        type=float,
        default=Settings.z,
        help=f"of raytag's paired rule (default {Settings.z:g}, the launch's)",
    )
    parser.add_argument("--shuffle-folds", action="store_true", help="another order of folds in every replay")
    parser.add_argument("--seed", type=int, default=0)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--incumbent", action="store_true", help="how often the incumbent's twin is dropped")
    what.add_argument("--figure", type=Path, metavar="FILE", help="draw spent against kept")
    what.add_argument("--record", metavar="RUN_DIR", help="write the complete experiments of a run to --to")
    parser.add_argument("--to", type=Path, metavar="FILE", help="with --record")
    parser.add_argument(
        "--grid-shuffles", type=int, default=10, help="with --figure: replays of a setting (default 10)"
    )
    add_json_argument(parser)
    args = parser.parse_args()
    if (args.record is None) != (args.to is None):
        parser.error("--record RUN_DIR and --to FILE belong together")
    for name in ("keep", "shuffles", "slots", "grid_shuffles"):
        if getattr(args, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1")
    return args


def known_tables() -> list[Path]:
    found = [path for folder in FOLDERS for path in sorted(folder.glob("*.parquet"))]
    if not found:
        raise FileNotFoundError("no recorded table is here: name one with --table, or record one with --record")
    return found


def record(run_dir: str, to: Path) -> None:
    store = _tables.open_run(run_dir)
    frame = _tables.from_run(store)
    frame.to_parquet(to, index=False)
    table = _tables.load(to)
    left = len(store.experiments()) - len(table.names)
    words = " × ".join(str(s) for s in table.curves.best.shape)
    varied = ", ".join(table.hyperparameters.columns) or "none"
    say(console, f"{to}: {words} (experiments × folds × epochs); hyperparameters that differ: {varied}")
    if left:
        say(console, f"{left} incomplete experiments are left out")


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    say(console, title, "bold")  # above the table, where it is not folded to the table's width
    table = Table(box=box.MARKDOWN)
    for i, column in enumerate(columns):
        table.add_column(column, justify="right" if i else "left")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _range(row: Mapping[str, Any], column: str, form: str) -> str:
    return f"{row[column]:{form}} [{row[f'{column}_low']:{form}}, {row[f'{column}_high']:{form}}]"


def spread(table: _tables.Recorded) -> str:
    """By how much experiments differ, and what blurs their difference; standard deviations in lwlrap."""
    layout, variance = fold_effects.fit(table.curves.final), table.curves.clip_variance
    words = (
        f"standard deviation of the experiments {table.curves.final.mean(axis=1).std(ddof=1):.3f}, of the residuals"
    )
    words += f" {np.sqrt(layout.residual_ss / layout.dof):.3f}"
    return words + ("" if variance is None else f", by a bootstrap over clips {np.sqrt(np.nanmean(variance)):.3f}")


def rules(title: str, table: _tables.Recorded, args: argparse.Namespace) -> dict[str, Rows]:
    """Every rule on one table."""
    say(console, f"{title}: {spread(table)}")
    n, n_folds, _ = table.curves.best.shape
    orders = arrivals(n, n_folds, args.shuffles, args.seed, shuffle_folds=args.shuffle_folds)
    candidates = all_rules(args.keep, args.slots, args.z)
    with ProgressBar(console, "replays", len(candidates) * len(orders), "replays") as progress:
        found = compare(table.curves, candidates, orders, args.keep, progress.advance)
    slots = f", {args.slots} trials at a time in raytag's" if args.slots > 1 else ""
    folds = "shuffled" if args.shuffle_folds else "in the table's order"
    title += f"; keep {args.keep}, {args.shuffles} orders of arrival, folds {folds}{slots}; median [5 %, 95 %]"
    show(
        title,
        ["", "spent", f"kept of {args.keep}", "regret, mean", "95 %", "completed"],
        [
            [
                row["rule"],
                _range(row, "spent", ".1%"),
                _range(row, "kept", ".3g"),
                f"{row['regret_mean']:.4f}",
                f"{row['regret_high']:.4f}",
                _range(row, "complete", ".3g"),
            ]
            for row in found
        ],
    )
    return {title: found}


def incumbent(title: str, table: _tables.Recorded, args: argparse.Namespace) -> dict[str, Rows]:
    """How often a rule drops the incumbent trained again."""
    keeps = sorted({args.keep, Settings.keep, 1}, reverse=True)
    candidates: dict[str, Rule] = {}
    for mode in ("paired", "asha"):
        for keep in keeps:
            candidates[f"raytag {mode}, keep {keep}"] = race(Settings(mode, keep, z=args.z), args.slots)
    candidates |= {name: rule for name, rule in PUBLISHED.items() if name != "full CV"}
    sources = {
        "the better half of the experiments (headline: the twin is a good one)": True,
        "all experiments (bad ones stray more)": False,
    }
    tables: dict[str, Rows] = {}
    places: dict[str, list[int]] = {}
    with ProgressBar(console, "replays", 2 * len(candidates) * args.shuffles, "replays") as progress:
        for words, better_half in sources.items():
            noise = _incumbent.noise(table.curves, better_half=better_half)
            key = f"{title}; the incumbent's twin, noise {noise.spread:.4f} of {words}"
            tables[key], places[key] = _incumbent.dropped(
                table.curves,
                noise,
                candidates,
                args.shuffles,
                args.seed,
                shuffle_folds=args.shuffle_folds,
                advance=progress.advance,
            )
    for key, rows in tables.items():
        body = [
            [r["rule"], f"{r['dropped']:.1%}", f"[{r['low']:.1%}, {r['high']:.1%}]", f"{r['count']}/{r['replays']}"]
            for r in rows
        ]
        show(key, ["", "dropped", "95 % interval", "replays"], body)
        among = [f"{keep} in {np.mean(np.array(places[key]) <= keep):.1%}" for keep in keeps]
        say(console, f"by what it drew, the twin is among the true best {', '.join(among)} of the replays\n")
    return tables | {f"{key}; the twin's place": [{"places": found}] for key, found in places.items()}


def figure(tables: Mapping[str, _tables.Recorded], args: argparse.Namespace) -> None:
    """One panel a table; means over the orders of arrival."""
    _figure.pyplot()  # before minutes of replays, not after
    panels = []
    with ProgressBar(
        console, "replays", len(tables) * args.grid_shuffles * _figure.n_rules(), "replays"
    ) as progress:
        for name, table in tables.items():
            n, n_folds, _ = table.curves.best.shape
            orders = arrivals(n, n_folds, args.grid_shuffles, args.seed, shuffle_folds=args.shuffle_folds)
            title = f"{name}: {n} experiments × {n_folds} folds, keep {args.keep}"
            panels.append(_figure.panel(title, table.curves, args.keep, args.slots, orders, progress.advance))
    folds = "folds shuffled" if args.shuffle_folds else "folds in the table's order"
    _figure.draw(args.figure, panels, f"means over {args.grid_shuffles} orders of arrival, {folds}")
    say(console, f"wrote {args.figure}")


if __name__ == "__main__":
    main()
