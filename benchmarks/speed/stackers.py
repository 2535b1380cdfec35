"""A grid of second-level networks: raytag's way beside a DataLoader and one training after another.

    python benchmarks/speed/stackers.py                    # 64 configurations x 5 folds on 20 models' 4,970 x 80
    python benchmarks/speed/stackers.py --peer-epochs 2    # the DataLoader for two epochs a configuration only

The out-of-fold predictions are simulated (`_oof.py`). Three ways train networks of the same grid, on the
same inner split, with the same limits of epochs, schedule, early stopping and distribution of first weights:

- DataLoader: a Dataset hands out one clip at a time, its members' log-odds side by side; torch's autograd and plain
  Adam, one configuration after another, two threads. ``--peers`` configurations are measured, on fold 0; with
  ``--peer-epochs`` a few epochs of each, times the epochs that the same configuration trained as tensors.
- tensors: raytag's training for the same configurations, one at a time to their end, no halving, one thread.
- raytag: every configuration and every fold, with successive halving, a fold a task, through Ray on two cores.
  Linear models are in it.

What the first two would take for the whole grid is extrapolated from the mean configuration, and labelled so.
Scores are those of fold 0, which no training sees: the geometric mean of the best three networks by inner lwlrap,
with the standard error over labels of the difference to the first row. Networks start from other random numbers in
every way but the tensors' and raytag's, which alone moves scores by about as much.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from _oof import CLASSES, CLIPS, simulate
from _timing import add_json_argument, machine, write_json
from rich.console import Console
from torch.utils.data import DataLoader, Dataset

from raytag.blends.means.base import blend
from raytag.ensemble.stackers.case import (
    Case,
    CaseResult,
    StackerData,
    View,
    one_thread,
    run_case,
)
from raytag.ensemble.stackers.grid import StackerConfig, draw_configs
from raytag.ensemble.stackers.halving import FINALISTS, max_epochs, plan, tolerance
from raytag.ensemble.stackers.inputs import log_odds
from raytag.ensemble.stackers.stack import parameters
from raytag.ensemble.stackers.training import Network, Task, train
from raytag.metrics import label_precisions, lwlrap
from raytag.seeding import torch_seed

SEED = 0
CORES = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--configs", type=int, default=64, help="networks in the grid (default 64)")
    parser.add_argument("--folds", type=int, default=5, help="folds (default 5)")
    parser.add_argument("--clips", type=int, default=CLIPS, help=f"clips (default {CLIPS})")
    parser.add_argument("--classes", type=int, default=CLASSES, help=f"classes (default {CLASSES})")
    parser.add_argument("--models", type=int, default=20, help="models whose predictions are read (default 20)")
    parser.add_argument("--peers", type=int, default=8, help="configurations that the others train (default 8)")
    parser.add_argument("--peer-epochs", type=int, help="measure the DataLoader for so many epochs a configuration")
    add_json_argument(parser)
    args = parser.parse_args()

    probabilities, targets = simulate(args.models, args.clips, args.classes)
    fold = np.arange(args.clips) % args.folds
    data = StackerData(probabilities, targets, fold, np.full(args.clips, "", dtype=object), None)
    members = tuple(range(args.models))
    configs = draw_configs(args.configs, SEED)
    peers = configs[: args.peers]
    with one_thread():
        view = View(data, Case(members, (0,)), SEED)
        epochs = max_epochs(len(view.fit))
        task = view.task(epochs)
    size = {c: parameters(task.shape(c))[1] / 1e6 for c in configs}
    shape = f"{args.models} models' {args.clips:,} x {args.classes}, {len(view.fit):,} clips to train on"
    print(f"{args.configs} configurations x {args.folds} folds on {shape}, at most {epochs} epochs")
    print(
        f"{mean(size[c] for c in configs):.2f} million parameters on average, "
        f"{mean(size[c] for c in peers):.2f} in the {len(peers)} that the others train"
    )
    print("rungs: " + ", ".join(f"epoch {r.epochs}, {r.keep} go on" for r in plan(args.configs, epochs)))

    ours, seconds = whole_grid(data, members, args.folds, args.configs)
    with one_thread():
        tensors, same = [], timed(lambda: run_case(data, Case(members, (0,)), len(peers), SEED))
        say(f"raytag's halving of the {len(peers)} peers: {same[1]:.1f} s")
        for i, config in enumerate(peers):
            tensors.append(one_by_one(view, task, config, i, epochs))
            say(f"tensors, {tensors[-1]}")
    torch.set_num_threads(CORES)
    torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))])  # imports torch's compiler: not the peer's fault
    loaded = []
    for i, config in enumerate(peers):
        loaded.append(by_loader(view, task, config, i, tensors[i].epochs, epochs, args.peer_epochs))
        say(f"DataLoader, {loaded[-1]}")

    times = time_rows(loaded, tensors, seconds, args)
    scores = score_rows(data, ours[0], same[0], tensors, loaded if args.peer_epochs is None else [])
    title = f"{args.configs} configurations x {args.folds} folds"
    show(title, times)
    show("fold 0, left out", scores)
    print(machine())
    write_json(args.json, {title: times, "fold 0, left out": scores})


@dataclass(frozen=True)
class Peer:
    """One configuration trained to its end."""

    config: StackerConfig
    seconds: float  # of all its epochs; of the measured ones for a limited peer, in proportion
    epochs: int
    best: float
    oof: np.ndarray | None

    def __str__(self) -> str:
        c = self.config
        return (
            f"{c.name} (base {c.base_size}, reduction {c.reduction_scale}, batch {c.batch_size}): "
            f"{self.seconds:.1f} s, {self.epochs} epochs, inner {self.best:.4f}"
        )


def whole_grid(
    data: StackerData, members: tuple[int, ...], folds: int, n_configs: int
) -> tuple[list[CaseResult], float]:
    """raytag's way, and its seconds from the first task to the last result, starting of workers included."""
    import ray

    from raytag.cluster.tasks import run_tasks

    ray.init("local", num_cpus=CORES, include_dashboard=False, log_to_driver=False)
    try:
        outcome = run_tasks(
            _run_case,
            (data, n_configs),
            [Case(members, (k,)) for k in range(folds)],
            label=f"raytag ({n_configs} x {folds})",
            weights=[1.0] * folds,
            console=Console(),
        )
    finally:
        ray.shutdown()
    say(f"raytag: {outcome.seconds:.1f} s in {len(outcome.workers)} processes")
    return outcome.results, outcome.seconds


def _run_case(shared: tuple[StackerData, int], case: Case) -> CaseResult:
    data, n_configs = shared
    return run_case(data, case, n_configs, SEED)


def one_by_one(view: View, task: Task, config: StackerConfig, number: int, epochs: int) -> Peer:
    """raytag's training of one configuration to its end."""
    started = time.perf_counter()
    network = Network(config, number, task)
    train([network], epochs)
    seconds = time.perf_counter() - started
    return Peer(config, seconds, network.epoch, network.best, view.finish_network(network).oof)


class Clips(Dataset):
    """One clip at a time: its members' log-odds side by side, and its targets."""

    def __init__(self, odds: np.ndarray, targets: np.ndarray, rows: np.ndarray) -> None:
        self.odds, self.targets, self.rows = odds, targets, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, torch.Tensor]:
        row = self.rows[i]
        x = np.concatenate([member[row] for member in self.odds])
        return torch.from_numpy(x), torch.from_numpy(self.targets[row])


def by_loader(
    view: View, task: Task, config: StackerConfig, number: int, twin_epochs: int, epochs: int, limit: int | None
) -> Peer:
    """The usual way; stopped after ``limit`` epochs, its time is that of as many epochs as its twin trained."""
    case_odds = ((view.odds - view.scaling.mean) / view.scaling.deviation).astype(np.float32)
    left = np.flatnonzero(np.isin(view.data.fold, view.case.left_out))
    torch.manual_seed(torch_seed(SEED, number))
    started = time.perf_counter()
    net = task.shape(config).build(config.dropout)
    with torch.no_grad():
        net.layers[-1].bias.copy_(torch.logit((task.y.sum(dim=0) + 0.5) / (len(task.y) + 1)))
    train_loader = DataLoader(
        Clips(case_odds, view.targets, view.fit), batch_size=config.batch_size, shuffle=True, num_workers=0
    )
    inner_loader = DataLoader(Clips(case_odds, view.targets, view.inner), batch_size=256)
    optimizer = torch.optim.Adam(net.parameters(), lr=config.lr)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, mode="max", factor=config.factor, patience=config.patience, threshold=1e-4, min_lr=1e-8
    )
    loss_function = torch.nn.BCEWithLogitsLoss()
    best, best_epoch, kept, epoch = -1.0, 0, {}, 0
    for epoch in range(1, (limit or epochs) + 1):
        net.train()
        for x, y in train_loader:
            optimizer.zero_grad()
            loss_function(net(x), y).backward()
            optimizer.step()
        value = lwlrap(view.targets[view.inner], predictions(net, inner_loader))
        schedule.step(value)
        if value > best:
            best, best_epoch = value, epoch
            kept = {name: tensor.clone() for name, tensor in net.state_dict().items()}
        elif epoch - best_epoch >= tolerance(epochs):
            break
    seconds = time.perf_counter() - started
    if limit is not None:
        return Peer(config, seconds / epoch * twin_epochs, twin_epochs, best, None)
    net.load_state_dict(kept)
    data = view.data
    odds = (log_odds(data.probabilities[:, left]) - view.scaling.mean) / view.scaling.deviation
    loader = DataLoader(Clips(odds.astype(np.float32), data.targets[left], np.arange(len(left))), batch_size=256)
    return Peer(config, seconds, epoch, best, predictions(net, loader))


@torch.no_grad()
def predictions(net: torch.nn.Module, loader: DataLoader) -> np.ndarray:
    net.eval()
    return torch.cat([torch.sigmoid(net(x)) for x, _ in loader]).numpy()


def time_rows(
    loaded: Sequence[Peer], tensors: Sequence[Peer], seconds: float, args: argparse.Namespace
) -> list[dict[str, object]]:
    """Seconds for the whole grid."""
    runs = args.configs * args.folds
    by_loading, by_tensors = (mean(p.seconds for p in peers) for peers in (loaded, tensors))
    measured = f"extrapolated from {len(loaded)} configurations on one fold"
    epochs = (
        ""
        if args.peer_epochs is None
        else f", {args.peer_epochs} epochs of each times those that the same trained as tensors"
    )
    rows = [
        ("DataLoader, one after another, 2 threads", by_loading * runs, measured + epochs),
        ("tensors, one after another, 1 thread", by_tensors * runs, measured),
        (
            f"the same in {CORES} processes",
            by_tensors * runs / CORES,
            measured + ", if they do not disturb each other",
        ),
        (f"raytag, {CORES} processes", seconds, "measured"),
    ]
    return [
        {"way": way, "seconds": round(s, 1), "ratio": round(rows[0][1] / s, 2), "how": how} for way, s, how in rows
    ]


def score_rows(
    data: StackerData, grid: CaseResult, same: CaseResult, tensors: Sequence[Peer], loaded: Sequence[Peer]
) -> list[dict[str, object]]:
    """Inner lwlrap of the best network, and lwlrap of the best three on the fold left out."""
    left = data.fold == 0
    n = len(tensors)

    def best(peers: Sequence[Peer]) -> tuple[float, np.ndarray]:
        chosen = sorted(peers, key=lambda peer: -peer.best)[:FINALISTS]
        return chosen[0].best, blend(np.stack([p.oof for p in chosen]))

    def networks(result: CaseResult) -> tuple[float, np.ndarray]:
        chosen = [t for t in result.finalists if t.family == "mlp"]
        return chosen[0].inner_lwlrap, blend(np.stack([t.oof for t in chosen]))

    ways: dict[str, tuple[float | None, np.ndarray]] = {}
    if loaded:
        ways[f"DataLoader, best {min(FINALISTS, n)} of {n}"] = best(loaded)
    ways[f"tensors, best {min(FINALISTS, n)} of {n}"] = best(tensors)
    ways[f"raytag, best {min(FINALISTS, n)} of {n}"] = networks(same)
    ways[f"raytag, best 3 of {sum(row['family'] == 'mlp' for row in grid.history)}"] = networks(grid)
    linear = grid.finalists[-1]
    ways[f"raytag, {linear.name}"] = linear.inner_lwlrap, linear.oof
    ways["the members' blend"] = None, blend(data.probabilities[:, left])
    precisions = {way: label_precisions(data.targets[left], oof)[2] for way, (_, oof) in ways.items()}
    reference = next(iter(precisions.values()))
    rows = []
    for way, (inner, oof) in ways.items():
        difference = precisions[way] - reference
        rows.append(
            {
                "way": way,
                "inner lwlrap": "" if inner is None else round(inner, 4),
                "lwlrap": round(lwlrap(data.targets[left], oof), 4),
                "difference": round(float(difference.mean()), 4),
                "standard error": round(float(difference.std(ddof=1) / len(difference) ** 0.5), 4),
            }
        )
    return rows


def timed(function):  # type: ignore[no-untyped-def]
    started = time.perf_counter()
    result = function()
    return result, time.perf_counter() - started


def mean(values) -> float:  # type: ignore[no-untyped-def]
    return float(np.mean(list(values)))


def say(line: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {line}", flush=True)


def show(title: str, rows: Sequence[dict[str, object]]) -> None:
    """A Markdown table."""
    print(f"\n{title}\n\n| " + " | ".join(rows[0]) + " |\n|" + "---|" * len(rows[0]))
    for row in rows:
        print("| " + " | ".join(f"{v:,}" if isinstance(v, float) else str(v) for v in row.values()) + " |")
    print()


if __name__ == "__main__":
    main()
