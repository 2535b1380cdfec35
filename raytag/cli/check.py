"""What raytag understands of a folder of recordings, and what looks wrong in it, before anything trains.

    raytag check recordings                                 tables, labels, names, folds, sound
    raytag check recordings --labels-separator semicolon    the options of launch.py that concern the data
    raytag check recordings --json                          the same for scripts

Every recording is read and its features are kept in the cache, so a launch after it starts at once. The exit code
is 1 when a search on these data would be silently wrong, 2 when they cannot be used as they are.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from raytag.datasets.audit import Audit
    from raytag.datasets.findings import Finding
    from raytag.datasets.table import ClipTable
    from raytag.features.manifest import Manifest

KEPT = "computed features are kept"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("folder", metavar="FOLDER", type=Path, help="folder of labelled recordings")
    add(
        "--labels-separator",
        metavar="SIGN",
        help="between labels: comma, semicolon, tab, bar, blank or none",
    )
    add("--n-folds", type=int, help="number of folds when the data bring none (5)")
    add("--fold-method", default="auto", help="auto, given, group, stratified or kfold (%(default)s)")
    add("--seed", type=int, default=0, help="of the folds (%(default)s)")
    add("--space", default="specaug_mixup", help="search space, whose features are computed (%(default)s)")
    add("--set", action="append", default=[], metavar="FIELD=VALUE", help="e.g. --set features.sample_rate=192000")
    add("--channel", choices=("mix", "loudest", "first"), help="short for --set features.channel=…")
    add(
        "--max-clip-seconds",
        type=float,
        metavar="S",
        help="leave out recordings whose header announces more; launch.py --help has all bounds",
    )
    add("--runs-dir", default="runs", help="the feature cache lies beside it (%(default)s)")
    add("--cache-dir", help="folder or URI of the feature cache")
    add("--json", action="store_true", help="print everything as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Read, look, print; 1 if a search would be silently wrong."""
    from rich.console import Console

    from raytag import datasets
    from raytag.console import make_console
    from raytag.datasets.audit import audit

    console = Console(stderr=True) if arguments.json else make_console()
    table = datasets.load(
        arguments.folder,
        n_folds=arguments.n_folds,
        fold_method=arguments.fold_method,
        seed=arguments.seed,
        labels_separator=arguments.labels_separator,
    )
    manifest, facts, heard = _listen(arguments, table, console)
    seen = audit(table)
    findings = [*(one for one in seen.all_findings if one.code != "unreadable"), *heard]  # which is heard
    wrong = any(finding.wrong for finding in findings)
    if arguments.json:
        report = _report(seen, table, manifest, facts, findings)
        print(json.dumps(report, indent=2))
    else:
        _show(console, seen, table, facts, findings)
    return int(wrong)


def _listen(
    arguments: argparse.Namespace, table: ClipTable, console: Console
) -> tuple[Manifest, dict[str, Any], list[Finding]]:
    """Features of all clips, what is known of their sound, and what looks wrong in it."""
    from dataclasses import replace

    from raytag import space
    from raytag.cluster.session import ray_session
    from raytag.compiled.once import compiling
    from raytag.features.look import levels, same_sound, train_or_test
    from raytag.features.sets.banks import build_banks
    from raytag.search.options import LaunchOptions

    options = LaunchOptions(
        space=arguments.space,
        set=tuple(arguments.set),
        channel=arguments.channel,
        runs_dir=arguments.runs_dir,
        cache_dir=arguments.cache_dir,
    )
    if arguments.max_clip_seconds is not None:
        options = replace(options, max_clip_seconds=arguments.max_clip_seconds)
    options.check()
    features = space.load(options.space).fix(options.changes()).first.features
    with compiling(console, "features") as wait_for_kernels, ray_session(None, console=console) as wait_for_ray:
        wait_for_kernels()
        wait_for_ray()
        ((manifest, bank),) = build_banks(
            table,
            [features],
            options.cache,
            max_clip_seconds=options.max_clip_seconds,
            report=False,
            console=console,
        )
    bank = bank.originals
    usable = table.drop(manifest.quarantined["clip"].tolist())
    unlike = train_or_test(usable, bank, features)
    facts = {
        "channels": _channels(table),
        "levels": dict(zip(("lowest", "median", "highest"), levels(bank, features), strict=True)),
        "levels_of": features.level_of,
    }
    return manifest, facts, [*manifest.findings, *same_sound(usable, bank), *([unlike] if unlike else [])]


def _channels(table: ClipTable) -> dict[int, int]:
    """Number of readable clips by their number of channels."""
    from collections import Counter
    from concurrent.futures import ThreadPoolExecutor

    from raytag.datasets.loader import HEADER_THREADS, channels

    with ThreadPoolExecutor(HEADER_THREADS) as pool:
        return dict(sorted(Counter(n for n in pool.map(channels, table.clips["path"]) if n).items()))


def _report(
    seen: Audit, table: ClipTable, manifest: Manifest, facts: Mapping[str, Any], findings: list[Finding]
) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        **{key: value for key, value in asdict(seen).items() if key != "findings"},
        "directory": str(seen.directory),
        "folds": [asdict(fold) for fold in seen.folds],
        "classes": seen.counts,
        **facts,
        "unusable": manifest.quarantined[["clip", "reason"]].to_dict("records"),
        "findings": [asdict(finding) for finding in findings],
    }


def _show(
    console: Console, seen: Audit, table: ClipTable, facts: Mapping[str, Any], findings: list[Finding]
) -> None:
    from raytag.console import say

    head, *rest = seen.summary
    for line in (head, *(f"  table    {line}" for line in seen.read_as), *rest):
        say(console, line)
    low, median, high = facts["levels"].values()
    say(console, "  channels " + ", ".join(f"{n} ({clips})" for n, clips in facts["channels"].items()))
    say(console, f"  levels   {facts['levels_of']} {low:.0f} to {high:.0f} dB, median {median:.0f} dB")
    say(console, "  classes  " + ", ".join(f"{name} {count}" for name, count in seen.counts.items()))
    for finding in sorted(findings, key=lambda finding: not finding.wrong):
        style = "bold red" if finding.wrong else "yellow"
        say(console, f"  {'wrong' if finding.wrong else 'note':8} {finding}", style=style)
    wrong = sum(finding.wrong for finding in findings)
    things = "1 thing" if wrong == 1 else f"{wrong} things" if wrong else "Nothing"
    say(console, f"{things} would make a search wrong")
