"""What a space makes of your recordings: training samples before and after augmentation, to look at and listen to.

    raytag preview --space specaug_mixup --data recordings       8 samples of its first experiment
    raytag preview --space mine.py --data recordings 20          20 samples
    raytag preview ... --experiment corr_noisy_003               another one that the space lists
    raytag preview ... --set input.mix_prob=1                    options of launch.py that set fields
    raytag preview ... --fold 1 --epoch 30                       of another fold, of a later epoch

The samples are the first ones that a training of this fold would see in this epoch, made by the code that trains;
only the recordings that are needed are read. Written are a PNG of each (what the network sees of the middle of the
recording, and of the sample), of waveforms a WAV of the recording and one of the sample too, and samples.csv with
files, labels and targets: evidence for each class from 0 to 1.
"""

from __future__ import annotations

import argparse
import io
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.console import Console

    from raytag.batch import Batch
    from raytag.datasets.table import ClipTable
    from raytag.experiment import Experiment
    from raytag.features.bank import Bank
    from raytag.space import Space

SAMPLES = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("number", metavar="N", nargs="?", type=int, default=SAMPLES, help="samples (%(default)s)")
    add("--space", default="specaug_mixup", help="search space: its name, or the path of its file (%(default)s)")
    add("--data", metavar="FOLDER", type=Path, required=True, help="folder of labelled recordings")
    add("--experiment", metavar="NAME", help="one that the space lists; by default its first")
    add("--set", action="append", default=[], metavar="FIELD=VALUE", help="set any field of the experiment")
    add("--fold", type=int, default=0, help="the fold that is left out of training (%(default)s)")
    add("--epoch", type=int, default=1, help="of the training, from 1 (%(default)s)")
    add("--seed", type=int, default=0, help="of the folds and the training (%(default)s)")
    add("--out", metavar="FOLDER", type=Path, default=Path("preview"), help="a new or empty folder (%(default)s)")


def run(arguments: argparse.Namespace) -> int:
    """Make the samples and write them."""
    from raytag import datasets, space
    from raytag.compiled.once import compiling
    from raytag.console import make_console, say
    from raytag.search.options import LaunchOptions

    out: Path = arguments.out
    if arguments.number < 1:
        raise ValueError(f"{arguments.number} samples: ask for one at least")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"--out {out}: is there and not empty; name another folder, or empty it")
    options = LaunchOptions(space=arguments.space, set=tuple(arguments.set), seed=arguments.seed)
    options.check()
    chosen = space.load(options.space).fix(options.changes())
    console = make_console()
    rooms = sorted({room for features in chosen.feature_sets for room in features.kernels})
    with compiling(console, "features", "train", *rooms) as wait_for_kernels:
        table = datasets.load(arguments.data, seed=arguments.seed)
        if not 0 <= arguments.fold < table.n_folds:
            raise ValueError(f"--fold {arguments.fold}: the dataset has the folds 0 to {table.n_folds - 1}")

        from raytag.search.prepare import preflight

        chosen = preflight.prepare(options, chosen, table, [arguments.fold], console)
        experiment = named(chosen, arguments.experiment)
        epochs = experiment.training.epochs
        if not 1 <= arguments.epoch <= epochs:
            raise ValueError(f"--epoch {arguments.epoch}: the experiment has the epochs 1 to {epochs}")
        wait_for_kernels()
    if experiment.pseudo.earlier is not None:
        words = (
            f"pseudo.name={experiment.pseudo.name} chooses or labels clips once its parent is trained: not yet here"
        )
        say(console, words, "yellow")
    out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for sample in samples(experiment, table, arguments.fold, arguments.epoch - 1, console):
        rows.append(sample.write(out, len(rows) + 1, experiment, table))
        if len(rows) == arguments.number:
            break
    import pandas as pd

    pd.DataFrame(rows).to_csv(out / "samples.csv", index=False)
    say(console, f"{experiment.id}, fold {arguments.fold}, epoch {arguments.epoch}: {len(rows)} samples in {out}")
    return 0


def named(chosen: Space, name: str | None) -> Experiment:
    """The experiment of a name or an id that a space lists, or its first."""
    for experiment in chosen.firsts:
        if name in (None, experiment.name, experiment.id):
            return experiment
    raise ValueError(
        f"--experiment {name}: {chosen.name} lists {', '.join(experiment.name for experiment in chosen.firsts)}"
    )


@dataclass(frozen=True)
class Sample:
    """A training sample and what it was made of.

    Attributes
    ----------
    row, partner : int
        Of the clip table; what the partner is for is the input's concern, which may leave it out.
    recording : int16 (frames, width)
        The features of the clip.
    before, after : float32 (channels, bands, frames) or (samples,)
        What the input makes of the middle of the clip, and in training.
    present : float32 (C,)
        Evidence for each class.
    noisy : bool
        Whether nobody checked the labels.
    """

    row: int
    partner: int
    recording: NDArray[np.int16]
    before: NDArray[np.float32]
    after: NDArray[np.float32]
    present: NDArray[np.float32]
    noisy: bool

    def write(self, out: Path, number: int, experiment: Experiment, table: ClipTable) -> dict[str, Any]:
        """Write its pictures and sounds; its row of the table of samples."""
        clips, stem = table.clips, f"sample_{number:03}"
        fname, labels = clips["fname"][self.row], clips["labels"][self.row]
        targets = ",".join(f"{c}={p:.3g}" for c, p in zip(table.classes, self.present, strict=True) if p > 0)
        (out / f"{stem}.png").write_bytes(
            picture(experiment, {f"{fname}: {labels}": self.before, f"in training: {targets}": self.after})
        )
        files = [f"{stem}.png"]
        if self.after.ndim == 1:
            import soundfile

            from raytag.features.sets.base import FULL_SCALE

            rate = experiment.features.sample_rate
            for when, samples in (("before", self.recording[:, 0] / FULL_SCALE), ("after", self.after)):
                files.append(f"{stem}_{when}.wav")
                soundfile.write(out / files[-1], samples, rate, "FLOAT")  # mixtures may exceed full scale
        return {
            "sample": number,
            "fname": fname,
            "labels": labels,
            "targets": targets,
            "noisy": self.noisy,
            "partner": clips["fname"][self.partner],
            "partner_labels": clips["labels"][self.partner],
            "files": ",".join(files),
        }


def samples(experiment: Experiment, table: ClipTable, fold: int, epoch: int, console: Console) -> Iterator[Sample]:
    """The samples of an epoch (from 0) in order; those with an unusable recording are named and left out."""
    import numpy as np

    from raytag.console import say
    from raytag.seeding import generator
    from raytag.train.sources import batch_of, draw_copies, split, steps_per_epoch
    from raytag.train.stages.lineage import Cell

    settings, sampling = experiment.training, experiment.sampling
    sources = split(table, sampling, fold).sources
    own = experiment.input.in_epoch(epoch, settings.epochs)
    told: dict[int, str] = {}  # which are unusable
    for step in range(steps_per_epoch(sampling, settings.batch_size, sources)):
        keys = (settings.seed, Cell(fold).key, epoch, step)
        drawn = batch_of(sampling, sources, settings.batch_size, *keys)
        wanted, numbers = np.unique(np.concatenate([drawn.rows, drawn.partners]), return_inverse=True)
        bank, bad = _bank(experiment, table, wanted, console)
        for row in bad.keys() - told.keys():
            say(console, f"left out, unusable: {table.clips['fname'][row]}: {bad[row]}", "yellow")
        told |= bad
        rows, partners = np.split(numbers, 2)
        feed = own.open(bank, experiment.features)
        placed = replace(drawn, rows=rows, partners=partners)
        batch = feed.training(draw_copies(placed, bank, *keys), generator(*keys, 1))
        before = feed.middles(rows)
        assert batch.targets is not None
        for i, (row, partner) in enumerate(zip(drawn.rows, drawn.partners, strict=True)):
            if row in bad or partner in bad:
                continue
            frames = bank.buffer[bank.offsets[rows[i]] : bank.offsets[rows[i] + 1]]
            present, noisy = batch.targets.present[i].numpy(), bool(batch.targets.noisy[i])
            yield Sample(
                row, partner, frames, _without_padding(before, i), _without_padding(batch, i), present, noisy
            )


def _without_padding(batch: Batch, i: int) -> NDArray[np.float32]:
    length = batch.x.shape[-1] if batch.lengths is None else int(batch.lengths[i])
    found: NDArray[np.float32] = batch.x[i, ..., :length].numpy()
    return found


def _bank(
    experiment: Experiment, table: ClipTable, rows: NDArray[np.int64], console: Console
) -> tuple[Bank, dict[int, str]]:
    """Features of some clips and of their variants; why some of the clips have none. They count as a frame."""
    import numpy as np

    from raytag.console import ProgressBar
    from raytag.features.bank import Bank
    from raytag.features.shards import compute_clip

    bad: dict[int, str] = {}
    found, copies = [], experiment.features.copies()
    with ProgressBar(console, "features", len(copies) * len(rows), "recordings") as progress:
        for own in copies:
            for row in rows:
                cell = compute_clip(str(row), table.clips["path"][row], (), own)
                frames = np.frombuffer(cell["features"], "<i2").reshape(-1, own.width)
                if cell["reason"] and not own.variant:
                    bad[int(row)], frames = cell["reason"], np.zeros((1, own.width), np.int16)
                found.append(frames)
                progress.advance(1)
    buffer, offsets = np.concatenate(found), np.cumsum([0, *map(len, found)])
    return Bank(buffer, offsets, [str(row) for row in rows], len(copies)), bad


def picture(experiment: Experiment, shown: dict[str, NDArray[np.float32]]) -> bytes:
    """A PNG of samples side by side, as the network sees them, on one scale of colours."""
    import torch
    from matplotlib.figure import Figure

    front_end = experiment.front_end.build(experiment.features)
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    values = {}
    for title, sample in shown.items():
        x = torch.from_numpy(sample)[None]
        values[title] = (x if front_end is None else front_end(x))[0].numpy()
    lowest, highest = min(v.min() for v in values.values()), max(v.max() for v in values.values())
    for axes, (title, value) in zip(figure.subplots(1, len(shown)), values.items(), strict=True):
        if value.ndim == 1:
            axes.plot(value, linewidth=0.5)
            axes.set(xlabel="sample", ylim=(lowest, highest))
        else:  # of several channels the first
            axes.imshow(value[0], origin="lower", aspect="auto", vmin=lowest, vmax=highest)
            axes.set(xlabel="frame", ylabel="band")
        axes.set_title(textwrap.fill(title.replace(",", ", "), 60), fontsize=8)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()
