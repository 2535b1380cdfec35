"""What a run says of recordings that it never saw, of any length: a row of probabilities for each.

    raytag predict --run RUN recordings                  a folder with all below it, by the newest ensemble
    raytag predict --run RUN a.wav b.flac --out p.csv    files; --out p.parquet writes Parquet
    raytag predict --run RUN recordings --ensemble NAME  another ensemble of the run
    raytag predict --run RUN recordings --experiment ID  one experiment alone
    raytag predict ... --experiment ID --windows w.csv   also its tiles, with their times
    raytag predict ... --address auto                    on all CPUs of a Ray cluster

Columns are fname, the path as given or below the folder that was given, and one a class, in the run's order.
Nothing but the run is needed: its stored weights predict as they did test clips, stackers too. Recordings that
cannot be used have no row; they are named, and listed with reasons in a file beside the output (p-unusable.csv):
then the exit code is 1. The table of --windows has a row for each tile: fname, start_s and end_s, seconds in the
recording, and the classes.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from raytag.ensemble.stored import Predicted, Stored
    from raytag.store.files import Storage

NAMED = 10  # unusable recordings on the screen


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("files", metavar="FILE|FOLDER", nargs="+", help="recordings, and folders of them, sub-folders too")
    add("--run", help="name, path or URI of a run; by default the newest")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--ensemble", metavar="NAME", help="an ensemble of the run; by default the newest")
    which.add_argument("--experiment", metavar="ID", help="one experiment: the geometric mean over its folds")
    add("--out", metavar="FILE", default="predictions.csv", help="a .csv or .parquet file (%(default)s)")
    add("--force", action="store_true", help="write over a file that is there")
    add("--windows", metavar="FILE", help="a .csv or .parquet file for the tiles of one --experiment")
    add(
        "--address",
        help="of a Ray cluster, such as auto: work on all its CPUs; the files must be seen by all nodes",
    )
    add("--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto: a GPU if there is one")
    add("--trust", action="store_true", help="import the plugins that the run's experiments use: somebody's code")
    add("--runs-dir", default="runs", help="where runs are looked up by name (%(default)s)")


def run(arguments: argparse.Namespace) -> int:
    """Predict and write; 1 if recordings are unusable."""
    from raytag import plugins
    from raytag.console import make_console, say
    from raytag.ensemble.predictions.external import SUFFIXES
    from raytag.store.run import RunStore

    for option, file in (("--out", arguments.out), ("--windows", arguments.windows)):
        if file is not None and Path(file).suffix not in SUFFIXES:
            raise ValueError(f"{option} {file}: predictions are written to {' and '.join(SUFFIXES)} files")
    if arguments.windows == arguments.out:
        raise ValueError(f"--windows {arguments.windows}: is --out too; give them two names")
    if arguments.windows and not arguments.experiment:
        raise ValueError("--windows: members of an ensemble may have tiles of their own; name one --experiment")
    if arguments.address and arguments.device == "cuda":
        raise ValueError("--address: workers have a CPU each and no GPU; leave --device cuda out")
    beside = f"{Path(arguments.out).stem}-unusable.csv"
    output, name = output_file(arguments.out, arguments.force, beside)
    outputs = [(output, name)]
    if arguments.windows:
        outputs.append(output_file(arguments.windows, arguments.force))
    files = recordings(arguments.files)
    store = RunStore.find(arguments.run, arguments.runs_dir)

    import pandas as pd

    from raytag.compiled.once import compiling
    from raytag.ensemble.stored import stored_ensemble, stored_experiment
    from raytag.store.predictions import predictions_frame

    stored = (
        stored_experiment(store, arguments.experiment)
        if arguments.experiment
        else stored_ensemble(store, arguments.ensemble)
    )
    for one in outputs:
        try_to_write(*one)
    console = make_console()
    n = len(stored.experiments)
    models = f"{n} experiment{'s' * (n > 1)} of {store.n_folds} folds"
    say(console, f"Run {store.name}, {stored.what}: {models}; {len(files)} recordings")
    with compiling(console, "features", "train") as wait_for_kernels:
        wait_for_kernels()
    with plugins.trusting(arguments.trust):
        found = _predicted(arguments, stored, [*files.values()])
    bad = [(fname, reason) for fname, reason in zip(files, found.reasons, strict=True) if reason]
    good = [fname for fname, reason in zip(files, found.reasons, strict=True) if not reason]
    output.delete(beside)
    if bad:
        output.write_csv(beside, pd.DataFrame(bad, columns=["fname", "reason"]))
    frames = [predictions_frame(good, found.probabilities, stored.classes)]
    frames += [found.windows.frame(good, stored.classes)] if found.windows else []
    for (folder, file), frame in zip(outputs[::-1], frames[::-1], strict=True):  # the answer last
        (folder.write_csv if file.endswith(".csv") else folder.write_parquet)(file, frame)
    for line in [": ".join(one) for one in bad[:NAMED]] + [f"and {len(bad) - NAMED} more"] * (len(bad) > NAMED):
        say(console, f"  {line}", "yellow")
    if bad:
        say(console, f"{len(bad)} of {len(files)} recordings are unusable: {output.where(beside)}", "yellow")
    say(console, f"{len(good)} recordings predicted: {' and '.join(s.where(n) for s, n in outputs)}")
    return int(bool(bad))


def _predicted(arguments: argparse.Namespace, stored: Stored, files: list[Path]) -> Predicted:
    """In this process, or on a cluster."""
    from rich.console import Console

    aside, windows = Console(stderr=True), arguments.windows is not None
    if arguments.address:
        from raytag.cluster.session import ray_session
        from raytag.ensemble.spread import predict_spread

        with ray_session(arguments.address) as wait_for_ray:
            wait_for_ray()
            return predict_spread(stored, files, aside, windows)
    from raytag.console import ProgressBar
    from raytag.ensemble.stored import Predictor

    with ProgressBar(aside, "predict", len(files)) as progress:
        return Predictor(stored, device_called(arguments.device)).predict(files, progress.advance, windows)


def recordings(given: list[str]) -> dict[str, Path]:
    """Files by what they are called in the output: as given, or relative to the folder that was given.

    Raises
    ------
    ValueError
        There is no such file or folder, a folder holds no recording, or two files would be called the same.
    """
    import os

    from raytag.datasets.listing import AUDIO_SUFFIXES
    from raytag.datasets.tables.names import audio_files_below

    found: dict[str, Path] = {}
    for name in given:
        path = Path(name)
        if not path.exists():
            raise ValueError(f"there is no file or folder {name}")
        below = {below: path / below for below in audio_files_below(path)} if path.is_dir() else {name: path}
        if not below:
            raise ValueError(f"{name} holds no recording ({' '.join(sorted(AUDIO_SUFFIXES))})")
        for fname, file in below.items():
            fname = os.fsencode(fname).decode("utf-8", "backslashreplace")  # tables hold no other bytes
            if not file.samefile(found.setdefault(fname, file)):
                raise ValueError(
                    f"{found[fname]} and {file} would both be called {fname}: give a folder above both"
                )
    return found


def output_file(out: str, force: bool, *beside: str) -> tuple[Storage, str]:
    """Folder and name of ``--out``.

    Raises
    ------
    ValueError
        It is a folder; or it or a file ``beside`` it is there, and ``force`` is not given.
    """
    import os

    from raytag.store.files import Storage

    folder, name = os.path.split(out)
    output = Storage(folder)
    if not name:
        raise ValueError(f"--out {out} is a folder: name a file in it")
    for there in filter(output.exists, (name, *beside)):
        if not force:
            raise ValueError(f"{output.where(there)} is there: --force writes over it, --out FILE elsewhere")
    return output, name


def try_to_write(output: Storage, name: str) -> None:
    """Fail now where that file cannot be written, not after hours of work."""
    output.write(f".{name}.probe", b"")
    output.delete(f".{name}.probe")


def device_called(name: str) -> torch.device:
    """What ``--device`` means here; a `ValueError` where there is no GPU."""
    import torch

    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise ValueError("--device cuda: torch finds no GPU here; --device cpu does without")
    return torch.device("cuda" if there and name != "cpu" else "cpu")
