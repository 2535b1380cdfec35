#!/usr/bin/env python3
"""A training and a prediction on waveforms as a whole: PyTorch written straight on against raytag.

    python ../shared/tools/make_fsd.py --out data/fsd --seed 0
    python benchmarks/speed/waveform_network.py --data data/fsd
    python benchmarks/speed/waveform_network.py --data data/fsd --base-size 50 --steps 2

What is trained is ``augmented_2d`` of the space ex4sperans_2d: crops of --seconds, chunks, mixtures and all four
effects. Straight on is a DataLoader over the files, effects by a process of SoX for each sample as in the
published code (`apt-get install sox`), batches padded to their longest clip, torch's layers and Adam in float32.
raytag's is a fold's training as a launch has it, from the bank. One core each, in turn, each in a process of its
own, SoX's processes and the reading of files included.
"""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Iterator
from itertools import chain, repeat
from pathlib import Path

import numpy as np
import torch
from _plain import Clips, Network, collate
from _timing import add_json_argument, print_table, write_json
from _workers import Worker, serve, timed
from lsep import all_pairs
from torch.utils.data import DataLoader

from raytag import space
from raytag.datasets import load
from raytag.datasets.demo import make_demo
from raytag.datasets.table import ClipTable
from raytag.experiment import Experiment
from raytag.features.bank import Bank
from raytag.features.shards import compute_clip
from raytag.predict import predict
from raytag.train.fold import FoldTraining
from raytag.train.memory import tune_malloc
from raytag.train.sources import split

HERE = Path(__file__).resolve().parents[2]
CPU = torch.device("cpu")
WAYS = {"PyTorch": "plain", "raytag": "raytag"}
WORK = {"training": "samples", "prediction": "clips"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a folder of recordings of 44.1 kHz; by default the demo data")
    parser.add_argument("--base-size", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=4.0, help="crops in training (default 4)")
    parser.add_argument("--batch", type=int, default=20)
    parser.add_argument("--steps", type=int, default=4, help="steps a round (default 4)")
    parser.add_argument("--clips", type=int, default=200, help="test clips that are predicted (default 200)")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    add_json_argument(parser)
    args = parser.parse_args()
    if shutil.which("sox") is None:
        parser.error("the comparison needs SoX: apt-get install sox")
    if args.serve is not None:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        torch.set_num_threads(1)
        _, experiment, *_ = space.load("ex4sperans_2d").firsts
        sizes = {
            "model.base_size": args.base_size,
            "input.max_seconds": args.seconds,
            "training.batch_size": args.batch,
        }
        way, work = args.serve
        {"plain": serve_plain, "raytag": serve_raytag}[way](work, args, experiment.replace(sizes))
        return
    args.data = args.data or make_demo(HERE / "data" / "demo")
    tables = {}
    for work, unit in WORK.items():
        told = [f"--{name}={getattr(args, name.replace('-', '_'))}" for name in ("data", "base-size", "seconds")]
        told += [f"--{name}={getattr(args, name)}" for name in ("batch", "steps", "clips")]
        workers = {name: Worker([__file__, "--serve", way, work, *told]) for name, way in WAYS.items()}
        timed(workers, args.rounds)
        title = f"{work}, base size {args.base_size}, batch {args.batch}, one core"
        tables[title] = [worker.row(name, unit, workers["PyTorch"]) for name, worker in workers.items()]
        print_table(title, tables[title])
    write_json(args.json, tables)


def opened(args: argparse.Namespace, experiment: Experiment) -> tuple[ClipTable, Bank]:
    """The usable clips, and their waveforms."""
    table = load(str(args.data))
    cells = [
        compute_clip(clip, path, (), experiment.features) for clip, path in table.clips[["clip", "path"]].values
    ]
    table = table.drop([cell["clip"] for cell in cells if cell["reason"]])
    waves = [np.frombuffer(cell["features"], "<i2")[:, None] for cell in cells if not cell["reason"]]
    return table, Bank(np.concatenate(waves), np.cumsum([0, *map(len, waves)]), table.clips["clip"].tolist())


def serve_plain(work: str, args: argparse.Namespace, experiment: Experiment) -> None:
    table, _ = opened(args, experiment)
    training = work == "training"
    rows = split(table, experiment.sampling, 0).trained if training else table.rows("test")[: args.clips]
    files = [Path(path) for path in table.clips["path"].to_numpy()[rows]]
    clips = Clips(files, table.targets(rows), args.seconds if training else None)
    loader = DataLoader(clips, batch_size=args.batch, shuffle=training, drop_last=training, collate_fn=collate)
    network = Network(args.base_size, len(table.classes)).train(training)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4, amsgrad=True)
    batches = chain.from_iterable(repeat(loader))

    def step() -> int:
        x, targets = next(batches)
        loss = all_pairs(network(x), targets).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return len(x)

    @torch.no_grad()
    def predicted() -> int:
        return sum(len(network(x).sigmoid()) for x, _ in loader)

    serve(lambda: (sum(step() for _ in range(args.steps)) if training else predicted(), None))


def serve_raytag(work: str, args: argparse.Namespace, experiment: Experiment) -> None:
    tune_malloc()
    table, bank = opened(args, experiment)
    fold = FoldTraining(experiment, 0, table, bank, CPU)

    def steps() -> Iterator[int]:
        while True:
            yield from fold.run_epoch()
            fold.step = 0  # the first epoch again: in the last ones nothing is augmented

    going = steps()

    def trained() -> int:
        for _ in range(args.steps):
            next(going)
        return args.batch * args.steps

    def predicted() -> int:
        return len(predict(fold.model, fold.test_feed, table.rows("test")[: args.clips], CPU))

    serve(lambda: (trained() if work == "training" else predicted(), None))


if __name__ == "__main__":
    main()
