"""Out-of-fold probabilities of each tile of a clip, beside the clip's: what stackers may learn from.

    raytag windows                     of all complete experiments of the newest run
    raytag windows --run RUN --experiment ID

Each fold gets windows.parquet: fname, start_s and end_s, seconds from where the clip's features begin, and one
column a class. Recordings are not read: the features come from the cache, the models from the run. What is there
and whole is not computed again. Pooled, the tiles must be the fold's oof.parquet, or nothing is written for it.
"""

from __future__ import annotations

import argparse

KEPT = "what is written stays"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--run", help="name, path or URI of a run; by default the newest")
    whose = "whose clips, may be repeated; by default those of all complete ones"
    add("--experiment", metavar="ID", action="append", default=[], help=whose)
    add("--force", action="store_true", help="compute what is there too")
    add("--cache-dir", metavar="DIR", help="folder or URI of features; by default cache/ beside --runs-dir")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto: a GPU if there is one")
    add("--trust", action="store_true", help="import the plugins that the run's experiments use: somebody's code")
    add("--runs-dir", default="runs", help="where runs are looked up by name (%(default)s)")
    add("--json", action="store_true", help="print what is said as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Compute what is lacking."""
    import json

    from rich.console import Console

    from raytag import plugins
    from raytag.cli.predict import device_called
    from raytag.compiled.once import compiling
    from raytag.console import ProgressBar, make_console, say
    from raytag.ensemble.own_clips import keep_windows, lacking_windows
    from raytag.store.files import Storage
    from raytag.store.run import RunStore

    device, store = device_called(arguments.device), RunStore.find(arguments.run, arguments.runs_dir)
    lacking, there, refused = lacking_windows(store, arguments.experiment, arguments.force)
    cache, aside = arguments.cache_dir or Storage(store.runs_dir).beside("cache").uri, Console(stderr=True)
    if lacking:
        with compiling(aside, "train") as wait_for_kernels:
            wait_for_kernels()
        with plugins.trusting(arguments.trust), ProgressBar(aside, "windows", len(lacking), "folds") as progress:
            keep_windows(store, lacking, cache, device, aside, progress.advance)
    made = [f"{model.experiment}/fold_{model.fold}" for model in lacking]
    if arguments.json:
        report = {"run": store.name, "made": made, "there": len(there), "refused": refused}
        print(json.dumps(report, indent=2))
        return 0
    console = make_console()
    for experiment, why in refused.items():
        say(console, f"Left out: {experiment}: {why}", "yellow")
    experiments = len({model.experiment for model in (*lacking, *there)})
    say(
        console,
        f"Run {store.name}: windows of {len(lacking)} folds made, of {len(there)} there before; {experiments} "
        "experiments have them",
    )
    return 0
