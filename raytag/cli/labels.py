"""Which labels to trust: the way from noisy labels to corrections, which trainings take.

    raytag labels score --out scores.csv           noisy clips, rated by models that were not trained on them
    raytag labels select scores.csv --share 0.5    the best of them as a corrections file, the others removed
    raytag labels list --out doubtful.csv          curated clips whose labels the models believe least
    raytag labels merge doubtful.csv old.json      what you wrote in that table, and older corrections, in one

A clip's score is its lwlrap: 1 where its labels have the highest probabilities, about 0 where they have the lowest.
Its margin, by which clips are ranked, says how far the least likely of its labels is above all other classes.
Trainings take the files that select and merge write as sampling.noisy_corrections and sampling.curated_corrections.
raytag labels score --help, and so on, explains each.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SCORE = """Rate every noisy clip: how well its labels agree with what models say that were not trained on it.

    raytag labels score --run RUN --out scores.csv

Of each clip the geometric mean of those models decides that neither were trained on it nor read weights or
predictions of one that was; what a model was trained on stands in the run. Experiments that saw all noisy clips
cannot rate any. The table (fname, labels, score, margin, models) begins with the highest margin: the difference
between the log-probabilities of the least likely label and of the likeliest other class. Recordings are not read:
the features come from the cache, the models from the run."""

SELECT = """Keep the noisy clips with the highest margins, in a corrections file for the noisy subset.

    raytag labels select scores.csv --share 0.5 --out noisy_corrections.json

Kept clips stand in it with the labels that they have, the others as "remove". Train with
--set sampling.noisy_corrections=noisy_corrections.json --set sampling.corrected_noisy_prob=0.4: the kept ones are
drawn as if they were curated. With --rest keep the others are not in the file: --set sampling.noisy_prob=0.1 draws
them too, as noisy ones."""

LIST = """The curated clips whose labels agree least with out-of-fold predictions: those to listen to first.

    raytag labels list --run RUN --count 50 --out doubtful.csv

The table (fname, labels, score, margin, predicted, action) begins with the lowest margin; predicted are the
likeliest classes. Where the labels are wrong write "remove", or the right ones separated by commas, in the column
action; leave it empty where they are right; then give the table to raytag labels merge."""

MERGE = """Merge edited tables of raytag labels list, and corrections files, into one corrections file.

    raytag labels merge doubtful.csv older.json --run RUN --out corrections.json

A table is a CSV with the columns fname and action; rows without an action say nothing. Where files say different
things of a clip, all of them are named with their lines, nothing is written, and the exit code is 1: mend them, or
let --prefer first, or last, decide. Train with --set sampling.curated_corrections=corrections.json."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="command", required=True, metavar="score|select|list|merge")

    def command(name: str, text: str, out: str) -> argparse.ArgumentParser:
        layout = argparse.RawDescriptionHelpFormatter
        own = commands.add_parser(name, description=text, formatter_class=layout, allow_abbrev=False)
        own.add_argument("--out", metavar="FILE", default=out, help="where it is written (%(default)s)")
        own.add_argument("--force", action="store_true", help="write over a file that is there")
        own.add_argument("--json", action="store_true", help="print what is said as JSON")
        return own

    def add_run(own: argparse.ArgumentParser, default: str) -> None:
        own.add_argument("--run", help=f"name, path or URI of a run; {default}")
        own.add_argument("--runs-dir", default="runs", help="where runs are looked up by name (%(default)s)")

    score = command("score", SCORE, "scores.csv")
    add_run(score, "by default the newest")
    add = score.add_argument
    whose = "whose models, may be repeated; by default those of all complete ones that qualify"
    add("--experiment", metavar="ID", action="append", default=[], help=whose)
    add("--cache-dir", metavar="DIR", help="folder or URI of features; by default cache/ beside --runs-dir")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto: a GPU if there is one")
    add("--trust", action="store_true", help="import the plugins that the run's experiments use: somebody's code")

    select = command("select", SELECT, "noisy_corrections.json")
    select.add_argument(
        "scores", metavar="SCORES", type=Path, help="a CSV: fname, labels, score and perhaps margin"
    )
    how = select.add_mutually_exclusive_group(required=True)
    how.add_argument("--share", type=float, metavar="S", help="of the clips that are kept, such as 0.5")
    how.add_argument("--count", type=int, metavar="N", help="how many are kept")
    how.add_argument("--above", type=float, metavar="SCORE", help="keep all with a higher score")
    select.add_argument("--rest", choices=("remove", "keep"), default="remove", help="the others (%(default)s)")

    listed = command("list", LIST, "doubtful.csv")
    add_run(listed, "by default the newest")
    whose = "whose predictions; by default the newest ensemble's, else the best experiment's"
    listed.add_argument("--of", metavar="NAME", help=whose)
    listed.add_argument("--count", type=int, default=100, metavar="N", help="how many clips (%(default)s)")

    merge = command("merge", MERGE, "corrections.json")
    merge.add_argument("files", metavar="FILE", nargs="+", type=Path, help="CSV tables and JSON corrections files")
    merge.add_argument("--prefer", choices=("first", "last"), help="the file that holds where they disagree")
    add_run(merge, "with it labels and names of clips are compared with the run's")


def run(arguments: argparse.Namespace) -> int:
    """The subcommand; its exit code."""
    return int({"score": _score, "select": _select, "list": _list, "merge": _merge}[arguments.command](arguments))


def _score(arguments: argparse.Namespace) -> int:
    import numpy as np
    from rich.console import Console

    from raytag import plugins
    from raytag.cli.predict import device_called, output_file, try_to_write
    from raytag.compiled.once import compiling
    from raytag.console import ProgressBar
    from raytag.datasets.table import multi_hot
    from raytag.labels.raters import find_raters, noisy_clips, predictions
    from raytag.labels.ratings import rated, summed, table
    from raytag.store.files import Storage
    from raytag.store.run import RunStore

    output, name = output_file(arguments.out, arguments.force)
    device, store = device_called(arguments.device), RunStore.find(arguments.run, arguments.runs_dir)
    noisy = noisy_clips(store)
    clips, labels = noisy["clip"].tolist(), noisy["labels"].tolist()
    raters, refused = find_raters(store, clips, arguments.experiment)
    try_to_write(output, name)
    cache, aside = arguments.cache_dir or Storage(store.runs_dir).beside("cache").uri, Console(stderr=True)
    with compiling(aside, "features", "train") as wait_for_kernels:
        wait_for_kernels()
    with plugins.trusting(arguments.trust), ProgressBar(aside, "rate", len(raters), "models") as progress:
        found = predictions(store, raters, clips, cache, device, aside, progress.advance)
        logs, models = summed(found, len(clips), len(store.classes))
    scores, margins, order = rated(multi_hot(labels, store.classes), logs)
    fnames = noisy["fname"].tolist()
    output.write_csv(name, table(fnames, labels, scores, order, margin=margins.round(6), models=models))
    report: dict[str, Any] = {
        "run": store.name,
        "clips": len(clips),
        "experiments": list(dict.fromkeys(rater.experiment for rater in raters)),
        "refused": refused,
        "models": [int(models.min()), int(models.max())],
        "quantiles": {str(q): float(np.quantile(scores, q / 100)) for q in (10, 25, 50, 75, 90)},
        "below_half": int((scores < 0.5).sum()),
        "out": output.where(name),
    }
    experiments = ", ".join(report["experiments"])
    each = " to ".join(map(str, dict.fromkeys(report["models"])))
    quantiles = ", ".join(f"{value:.3f} ({q} %)" for q, value in report["quantiles"].items())
    _say(
        arguments,
        report,
        *(f"Left out: {experiment}: {why}" for experiment, why in refused.items()),
        f"Run {store.name}: {len(clips)} noisy clips, each rated by {each} models of {experiments}",
        f"Quantiles of the scores: {quantiles}; {report['below_half']} are below 0.5",
        f"Written: {report['out']}. Keep the best: raytag labels select {arguments.out} --share 0.5",
    )
    return 0


def _select(arguments: argparse.Namespace) -> int:
    from raytag.cli.predict import output_file
    from raytag.labels.actions import as_json, read_scores
    from raytag.labels.ratings import trusted

    output, name = output_file(arguments.out, arguments.force)
    labels, scores, margins = read_scores(arguments.scores)
    ranked = margins if arguments.above is None else scores
    kept = trusted(ranked, share=arguments.share, count=arguments.count, above=arguments.above)
    removes = arguments.rest == "remove"
    pairs = zip(labels.items(), kept, strict=True)
    output.write(name, as_json({f: own if keep else None for (f, own), keep in pairs if keep or removes}))
    report: dict[str, Any] = {"clips": len(kept), "kept": int(kept.sum()), "lowest_kept": float(scores[kept].min())}
    report |= {"rest": arguments.rest, "out": output.where(name)}
    rest = "the others are removed" if removes else "the others are not in the file"
    _say(
        arguments,
        report,
        f"Kept {report['kept']} of {len(kept)} clips, with scores from {report['lowest_kept']:.3f}; {rest}",
        f"Written: {report['out']}. Train with --set sampling.noisy_corrections={arguments.out} "
        "--set sampling.corrected_noisy_prob=0.4",
    )
    return 0


def _list(arguments: argparse.Namespace) -> int:
    import numpy as np
    from rich.console import Console

    from raytag.cli.predict import output_file
    from raytag.console import ProgressBar
    from raytag.ensemble.kept import newest_first
    from raytag.ensemble.predictions.external import closest
    from raytag.ensemble.scores import of_run
    from raytag.labels.ratings import predicted_words, rated, table
    from raytag.store.run import RunStore

    output, name = output_file(arguments.out, arguments.force)
    if arguments.count < 1:
        raise ValueError(f"--count {arguments.count}: must be 1 or more")
    store = RunStore.find(arguments.run, arguments.runs_dir)
    with ProgressBar(Console(stderr=True), "predictions", len(store.experiments()), "experiments") as progress:
        scores = of_run(store, None, progress.advance)
    by_name = {one.name: one for one in scores.candidates}
    of = arguments.of or next((name for name in newest_first(store) if name in by_name), None)
    if of is None:
        of = max(scores.candidates, key=lambda one: one.cv_lwlrap or 0.0).name
    if of not in by_name:
        raise ValueError(f"--of {of}: no such experiment or ensemble is scored{closest(of, list(by_name))}")
    clips = store.clips()
    curated = clips[clips["subset"] == "curated"].set_index("fname")
    labels = curated["labels"].loc[list(scores.fnames)].tolist()
    logs = np.log(np.maximum(by_name[of].values, np.finfo(np.float32).tiny)).astype(np.float64)
    values, margins, order = rated(scores.targets, logs)
    worst = order[::-1][: arguments.count]
    words = predicted_words(logs, store.classes)
    lines = {"predicted": words, "action": [""] * len(labels)}
    frame = table(scores.fnames, labels, values, worst, margin=margins.round(6), **lines)
    output.write_csv(name, frame)
    report = {"run": store.name, "of": of, "clips": frame.to_dict("records"), "out": output.where(name)}
    _say(
        arguments,
        report,
        *(f"Note: {note}" for note in scores.notes),
        f"Run {store.name}, {of}: the {len(frame)} of {len(labels)} clips that agree least, with scores from "
        f"{values[worst].min():.3f} to {values[worst].max():.3f}",
        f"Written: {report['out']}. Listen, fill the column action (remove, or labels), then: raytag labels merge "
        f"{arguments.out} --run {store.storage.where()}",
    )
    return 0


def _merge(arguments: argparse.Namespace) -> int:
    from raytag.cli.predict import output_file
    from raytag.datasets.findings import DatasetError
    from raytag.labels.actions import as_json, merge, read_actions
    from raytag.store.run import RunStore

    output, name = output_file(arguments.out, arguments.force)
    store = RunStore.find(arguments.run, arguments.runs_dir) if arguments.run else None
    files = [read_actions(path, store.classes if store else None) for path in arguments.files]
    if store:
        known = set(store.clips()["fname"])
        for file in files:
            if unknown := [fname for fname in file.labels if fname not in known]:
                where = f"{file.path}:{file.lines[unknown[0]]}"
                raise DatasetError(f"{where}: run {store.name!r} has no clip named {unknown[0]!r}")
    actions, conflicts = merge(files, arguments.prefer or "first")
    refused = bool(conflicts) and not arguments.prefer
    if not refused:
        output.write(name, as_json(actions))
    removed = sum(labels is None for labels in actions.values())
    report: dict[str, Any] = {"clips": len(actions), "removed": removed}
    report |= {"conflicts": [conflict._asdict() for conflict in conflicts], "prefer": arguments.prefer}
    report["out"] = None if refused else output.where(name)
    lines = [f"{conflict.fname}: {'; '.join(conflict.said)}" for conflict in conflicts]
    if refused:
        end = f"{len(conflicts)} clips have different actions, so nothing is written: mend them, or give --prefer"
    else:
        end = f"{len(actions)} clips, {removed} of them removed. Written: {report['out']}"
    _say(arguments, report, *lines, end)
    return int(refused)


def _say(arguments: argparse.Namespace, report: Mapping[str, Any], *lines: str) -> None:
    from raytag.console import make_console, say

    if arguments.json:
        print(json.dumps(report, indent=2))
        return
    console = make_console()
    for line in lines:
        say(console, line)
