"""Second-level networks in training, one after another: torch's autograd and Adam, data as tensors in memory.

All random numbers are functions of what they are for: clips and tiles of (case, epoch), first weights of (case,
network), dropout of (case, network, epoch).

Every network trains to its early stopping. Successive halving, which compared them after one or two epochs of
sixteen, preferred quick starters and cost 0.004 to 0.007 lwlrap (``docs/results.md``, stackers).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from raytag.ensemble.stackers.fcnet import FCNet
from raytag.ensemble.stackers.grid import StackerConfig
from raytag.metrics import lwlrap
from raytag.seeding import generator, torch_seed
from raytag.train.optimizers import Adam
from raytag.train.schedules import Plateau

FINALISTS = 3  # so many are blended: argus-freesound's number
EPOCHS = (16, 100)  # where a configuration names none: at least and at most
DRAWS = 50_000  # clips drawn in these, within those limits
_CHUNK = 1024  # clips whose tiles are drawn at a time; batch sizes divide it

# streams of random numbers, see `raytag.seeding`
_INITIAL, _ORDER, _DROPOUT = 1, 2, 3  # 0 is the inner split


@dataclass(frozen=True)
class Task:
    """What the networks of a case are trained and judged on.

    Attributes
    ----------
    x : torch.Tensor [shape=(n_fit, in_channels)], float32
    y : torch.Tensor [shape=(n_fit, n_classes)], float32
    inner_x : torch.Tensor [shape=(n_inner, in_channels)], float32
    inner_y : np.ndarray [shape=(n_inner, n_classes)], float32
    key : tuple of int
        Names the case in streams of random numbers; all cases' keys are equally long.
    augment : callable, optional
        Of rows of ``x`` (n,) and a generator to inputs (n, in_channels) that are trained on instead.
    """

    x: Tensor
    y: Tensor
    inner_x: Tensor
    inner_y: NDArray[np.float32]
    key: tuple[int, ...]
    augment: Callable[[NDArray[np.int64], np.random.Generator], NDArray[np.float32]] | None = None

    def batches(self, config: StackerConfig, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs and targets of an epoch."""
        rng, n = generator(*self.key, _ORDER, 0, epoch), len(self.y)
        drawn = rng.integers(n, size=config.draws) if config.draws else rng.permutation(n)
        for start in range(0, len(drawn), _CHUNK):
            rows = drawn[start : start + _CHUNK]
            x = self.x[rows] if self.augment is None else torch.from_numpy(self.augment(rows, rng))
            yield from zip(x.split(config.batch_size), self.y[rows].split(config.batch_size), strict=True)


@dataclass(frozen=True)
class Network:
    """A trained network: the weights of its best epoch, FCNet's state dict; epoch 0 and -1 where it diverged."""

    config: StackerConfig
    weights: dict[str, Tensor]
    inner_lwlrap: float
    best_epoch: int
    epochs: int  # trained


def limits(config: StackerConfig, n_clips: int) -> tuple[int, int]:
    """Epochs that a network may train, and those without a new best after which it stops.

    What the configuration does not say is as many epochs as make 50,000 draws, but 16 to 100: a network of a few
    hundred clips takes about a hundred, one of thousands has made as many steps in sixteen. And a fifth of them,
    at least six, to stop.
    """
    epochs = config.epochs or min(max(round(DRAWS / (config.draws or n_clips)), EPOCHS[0]), EPOCHS[1])
    return epochs, config.stop or max(epochs // 5, 6)


def train(config: StackerConfig, number: int, task: Task) -> Network:
    """Train a network; its ``number`` names it in streams of random numbers."""
    epochs, stop = limits(config, len(task.y))
    best, best_epoch, epoch, kept = -1.0, 0, 0, {}
    # weights and dropout come from torch's own generator; torch.manual_seed would keep a stack trace each time
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(torch_seed(*task.key, _INITIAL, number, 0))
        net = FCNet(task.x.shape[1], task.y.shape[1], config.base_size, config.reduction_scale, config.dropout)
        if config.reads == "log_odds":
            # start from the classes' frequencies: they are small, and Adam would spend many steps on walking there
            with torch.no_grad():
                net.get_parameter("layers.6.bias").copy_(torch.logit((task.y.sum(dim=0) + 0.5) / (len(task.y) + 1)))
        optimizer = Adam(lr=config.lr).build(net.parameters())
        rate = Plateau(patience=config.patience, factor=config.factor).start(config.lr, 0)
        kept = _copy(net)
        for epoch in range(1, epochs + 1):
            torch.default_generator.manual_seed(torch_seed(*task.key, _DROPOUT, number, epoch))
            net.train()
            optimizer.param_groups[0]["lr"] = rate.lr_at(0)
            for x, y in task.batches(config, epoch):
                optimizer.zero_grad()
                binary_cross_entropy_with_logits(net(x), y).backward()
                optimizer.step()
            value = _judge(net, task)
            rate.epoch_end(value)
            if value > best:
                best, best_epoch, kept = value, epoch, _copy(net)
            if epoch - best_epoch >= stop:
                break
    return Network(config, kept, best, best_epoch, epoch)


def train_grid(configs: Sequence[StackerConfig], task: Task) -> tuple[list[Network], list[Network]]:
    """Train networks one after another, each to its end.

    Returns
    -------
    finalists : list of Network
        The best `FINALISTS`, best first; of equals the first.
    tried : list of Network
        All of them, in order, without weights.
    """
    finalists: list[Network] = []
    tried = []
    for number, config in enumerate(configs):
        network = train(config, number, task)
        tried.append(replace(network, weights={}))
        finalists = sorted([*finalists, network], key=lambda n: -n.inner_lwlrap)[:FINALISTS]
    return finalists, tried


def _judge(net: FCNet, task: Task) -> float:
    """Inner lwlrap, -1 of a network that diverged."""
    net.eval()
    with torch.inference_mode():
        values = torch.sigmoid(net(task.inner_x)).numpy()
    return lwlrap(task.inner_y, values) if np.isfinite(values).all() else -1.0


def _copy(net: FCNet) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in net.state_dict().items()}
