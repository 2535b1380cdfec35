"""A grid of second-level networks: raytag's way beside a DataLoader and one training after another.

    python benchmarks/speed/stackers.py                    # 64 configurations x 5 folds on 20 models' 4,970 x 80
    python benchmarks/speed/stackers.py --peer-epochs 2    # the DataLoader for two epochs a configuration only
    python benchmarks/speed/stackers.py --peer-epochs 2 --measured 2    # raytag on two of the five folds only

The out-of-fold predictions are simulated (`_oof.py`). Both ways train networks of the same grid, on the same inner
split, with the same limits of epochs, schedule, early stopping and distribution of first weights:

- DataLoader: a Dataset hands out one clip at a time, its members' log-odds side by side; torch's plain Adam, one
  configuration after another, two threads. ``--peers`` configurations are measured, on fold 0; with
  ``--peer-epochs`` a few epochs of each, times the epochs that raytag trained the same configuration.
- raytag: data are tensors, Adam is fused. The same ``--peers`` one after another in one thread; and every
  configuration and every fold, a fold a task, through Ray on two cores. Linear models are in it.

What the first would take for the whole grid is extrapolated from the mean configuration, and labelled so. Scores
are those of fold 0, which no training sees: the geometric mean of the best three networks by inner lwlrap, with the
standard error over labels of the difference to the first row. Networks start from other random numbers in either
way, which alone moves scores by about as much.
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
from raytag.ensemble.stackers.case import Case, CaseResult, StackerData, Trained, View, one_thread, run_case
from raytag.ensemble.stackers.fcnet import FCNet
from raytag.ensemble.stackers.grid import StackerConfig, draw_configs
from raytag.ensemble.stackers.inputs import Scaling, side_by_side
from raytag.ensemble.stackers.training import FINALISTS, Task, limits, train
from raytag.metrics import label_precisions, lwlrap
from raytag.seeding import torch_seed

SEED = 0
CORES = 2
OPTIONS = {
    "configs": (64, "networks in the grid"),
    "folds": (5, "folds"),
    "clips": (CLIPS, "clips"),
    "classes": (CLASSES, "classes"),
    "models": (20, "models whose predictions are read"),
    "measured": (None, "folds that raytag trains, the others are taken to cost as much; all of them"),
    "peers": (8, "configurations that the DataLoader trains"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, (default, what) in OPTIONS.items():
        parser.add_argument(
            f"--{name}", type=int, default=default, help=what + f" (default {default})" * bool(default)
        )
    parser.add_argument("--peer-epochs", type=int, help="measure the DataLoader for so many epochs a configuration")
    add_json_argument(parser)
    args = parser.parse_args()

    probabilities, targets = simulate(args.models, args.clips, args.classes)
    fold = np.arange(args.clips) % args.folds
    data = StackerData(probabilities, targets, fold, np.full(args.clips, "", dtype=object), None)
    cases = [Case(tuple(range(args.models)), (k,)) for k in range(args.measured or args.folds)]
    configs = draw_configs(args.configs, SEED)
    with one_thread():
        view = View(data, cases[0], SEED)
        task, scaling = view.task("log_odds")
        epochs, _ = limits(configs[0], len(task.y))
    with torch.device("meta"):
        size = [sum(p.numel() for p in build(task, c).parameters()) / 1e6 for c in configs]
    shape = f"{args.models} models' {args.clips:,} x {args.classes}, {len(view.fit):,} clips to train on"
    print(f"{args.configs} configurations x {args.folds} folds on {shape}, at most {epochs} epochs")
    print(
        f"{np.mean(size):.2f} million parameters on average, {np.mean(size[: args.peers]):.2f} in the "
        f"{len(size[: args.peers])} that the DataLoader trains"
    )

    grid, seconds = whole_grid(data, cases, configs)
    torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))])  # imports torch's compiler, which workers do once
    tensors, loaded = [], []
    with one_thread():
        for i, config in enumerate(configs[: args.peers]):
            tensors.append(one_by_one(view, task, scaling, config, i))
            say(f"raytag, {tensors[-1]}")
    torch.set_num_threads(CORES)
    for i, twin in enumerate(tensors):
        loaded.append(by_loader(view, task, scaling, i, twin, args.peer_epochs))
        say(f"DataLoader, {loaded[-1]}")

    title = f"{args.configs} configurations x {args.folds} folds"
    scores = score_rows(data, grid, tensors, loaded if args.peer_epochs is None else [])
    tables = {title: time_rows(loaded, tensors, seconds, args), "fold 0, left out": scores}
    for name, rows in tables.items():
        print(f"\n{name}\n\n| " + " | ".join(rows[0]) + " |\n|" + "---|" * len(rows[0]))
        for row in rows:
            print("| " + " | ".join(f"{v:,}" if isinstance(v, float) else str(v) for v in row.values()) + " |")
        print()
    print(machine())
    write_json(args.json, tables)


def say(line: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {line}", flush=True)


@dataclass(frozen=True)
class Peer:
    """One configuration trained to its end."""

    config: StackerConfig
    seconds: float  # of all its epochs; of the measured ones for a limited peer, in proportion
    epochs: int
    inner_lwlrap: float
    oof: np.ndarray | None

    def __str__(self) -> str:
        c = self.config
        return (
            f"{c.name} (base {c.base_size}, reduction {c.reduction_scale}, batch {c.batch_size}): "
            f"{self.seconds:.1f} s, {self.epochs} epochs, inner {self.inner_lwlrap:.4f}"
        )


def build(task: Task, config: StackerConfig) -> FCNet:
    return FCNet(task.x.shape[1], task.y.shape[1], config.base_size, config.reduction_scale, config.dropout)


def whole_grid(
    data: StackerData, cases: Sequence[Case], configs: Sequence[StackerConfig]
) -> tuple[CaseResult, float]:
    """raytag's result of fold 0; its seconds from the first task to the last result, start of workers included."""
    import ray

    from raytag.cluster.tasks import run_tasks

    label, weights = f"raytag ({len(configs)} x {len(cases)})", [1.0] * len(cases)
    ray.init("local", num_cpus=CORES, include_dashboard=False, log_to_driver=False)
    try:
        outcome = run_tasks(_run_case, (data, configs), cases, label=label, weights=weights, console=Console())
    finally:
        ray.shutdown()
    say(f"raytag: {outcome.seconds:.1f} s in {len(outcome.workers)} processes")
    return outcome.results[0], outcome.seconds


def _run_case(shared: tuple[StackerData, Sequence[StackerConfig]], case: Case) -> CaseResult:
    return run_case(shared[0], case, shared[1], SEED)


def one_by_one(view: View, task: Task, scaling: Scaling | None, config: StackerConfig, number: int) -> Peer:
    """raytag's training of one configuration."""
    started = time.perf_counter()
    network = train(config, number, task)
    seconds = time.perf_counter() - started
    oof = view.finish_network(network, scaling).oof
    return Peer(config, seconds, network.epochs, network.inner_lwlrap, oof)


class Clips(Dataset):
    """One clip at a time: its members' scaled log-odds side by side, and its targets."""

    def __init__(self, x: Sequence[np.ndarray], targets: np.ndarray) -> None:
        self.x, self.targets = x, targets

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.from_numpy(np.concatenate([member[i] for member in self.x])), torch.from_numpy(self.targets[i])


def by_loader(view: View, task: Task, scaling: Scaling | None, number: int, twin: Peer, limit: int | None) -> Peer:
    """The usual way; stopped after ``limit`` epochs, its time is that of as many epochs as its twin trained."""
    config, data = twin.config, view.data

    def clips(x: np.ndarray, targets: np.ndarray) -> Clips:
        return Clips(np.split(x, len(view.members), axis=1), targets)

    fit, inner = clips(task.x.numpy(), task.y.numpy()), clips(task.inner_x.numpy(), task.inner_y)
    epochs, stop = limits(config, len(fit))
    torch.manual_seed(torch_seed(SEED, number))
    started = time.perf_counter()
    net = build(task, config)
    with torch.no_grad():
        net.layers[-1].bias.copy_(torch.logit((task.y.sum(dim=0) + 0.5) / (len(task.y) + 1)))
    loader = DataLoader(fit, batch_size=config.batch_size, shuffle=True, num_workers=0)
    optimizer = torch.optim.Adam(net.parameters(), lr=config.lr)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, mode="max", factor=config.factor, patience=config.patience, threshold=1e-4, min_lr=1e-8
    )
    loss_function = torch.nn.BCEWithLogitsLoss()
    best, best_epoch, kept, epoch = -1.0, 0, {}, 0
    for epoch in range(1, (limit or epochs) + 1):
        net.train()
        for x, y in loader:
            optimizer.zero_grad()
            loss_function(net(x), y).backward()
            optimizer.step()
        value = lwlrap(task.inner_y, predictions(net, inner))
        schedule.step(value)
        if value > best:
            best, best_epoch = value, epoch
            kept = {name: tensor.clone() for name, tensor in net.state_dict().items()}
        elif epoch - best_epoch >= stop:
            break
    seconds = time.perf_counter() - started
    if limit is not None:
        return Peer(config, seconds / epoch * twin.epochs, twin.epochs, best, None)
    net.load_state_dict(kept)
    x = side_by_side(data.probabilities[np.ix_(view.members, view.left)], scaling)
    return Peer(config, seconds, epoch, best, predictions(net, clips(x, data.targets[view.left])))


@torch.no_grad()
def predictions(net: torch.nn.Module, clips: Clips) -> np.ndarray:
    net.eval()
    return torch.cat([torch.sigmoid(net(x)) for x, _ in DataLoader(clips, batch_size=256)]).numpy()


def time_rows(
    loaded: Sequence[Peer], tensors: Sequence[Peer], seconds: float, args: argparse.Namespace
) -> list[dict[str, object]]:
    """Seconds for the whole grid."""
    runs = args.configs * args.folds
    slow, fast = (float(np.mean([p.seconds for p in peers])) * runs for peers in (loaded, tensors))
    how = f"extrapolated from {len(loaded)} configurations on one fold"
    limited = f", {args.peer_epochs} epochs of each times those that raytag trained"
    rows = [
        ("DataLoader, one after another, 2 threads", slow, how + limited * (args.peer_epochs is not None)),
        ("raytag, one after another, 1 thread", fast, how),
        (
            f"raytag, {CORES} processes",
            seconds * args.folds / (args.measured or args.folds),
            f"extrapolated from {args.measured} folds" if args.measured else "measured",
        ),
    ]
    return [{"way": way, "seconds": round(s, 1), "ratio": round(slow / s, 2), "how": how} for way, s, how in rows]


def score_rows(
    data: StackerData, grid: CaseResult, tensors: Sequence[Peer], loaded: Sequence[Peer]
) -> list[dict[str, object]]:
    """Inner lwlrap of the best network, and lwlrap of the best three on the fold left out."""
    left = data.fold == 0
    linear = grid.finalists[-1]
    some = f"best {min(FINALISTS, len(tensors))} of {len(tensors)}"

    def best(networks: Sequence[Peer | Trained]) -> tuple[float, np.ndarray]:
        chosen = sorted(networks, key=lambda network: -network.inner_lwlrap)[:FINALISTS]
        return chosen[0].inner_lwlrap, blend(np.stack([network.oof for network in chosen]))

    ways: dict[str, tuple[float | None, np.ndarray]] = {f"DataLoader, {some}": best(loaded)} if loaded else {}
    ways |= {
        f"raytag, {some}": best(tensors),
        f"raytag, best 3 of {sum(row['family'] == 'mlp' for row in grid.history)}": best(
            grid.finalists[:-1]
        ),  # the last is linear
        f"raytag, {linear.name}": (linear.inner_lwlrap, linear.oof),
        "the members' blend": (None, blend(data.probabilities[:, left])),
    }
    precisions = {way: label_precisions(data.targets[left], oof)[2] for way, (_, oof) in ways.items()}
    differences = {way: values - next(iter(precisions.values())) for way, values in precisions.items()}
    return [
        {
            "way": way,
            "inner lwlrap": "" if inner is None else round(inner, 4),
            "lwlrap": round(lwlrap(data.targets[left], oof), 4),
            "difference": round(float(differences[way].mean()), 4),
            "standard error": round(float(differences[way].std(ddof=1) / len(differences[way]) ** 0.5), 4),
        }
        for way, (inner, oof) in ways.items()
    ]


if __name__ == "__main__":
    main()
