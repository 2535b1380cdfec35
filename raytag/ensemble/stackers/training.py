"""Second-level networks in training: tensors in memory, stacks of equal shape, one stop for each network.

A network here is its row of parameters, Adam's moments, a plateau schedule and its best epoch so far. It can be
trained up to any epoch, put aside, and trained further beside other networks: batches are a function of (case,
epoch), dropout of (case, network, epoch), so who trains beside whom and how often a training is interrupted
changes rounding at most.

Two things were measured, on one thread of a CPU with 2 MB of second-level cache. A step without autograd takes
about a third of the time of torch's for 20 thousand parameters, and nine tenths for a million: there the products
are all. Stacking small networks (up to 50 thousand parameters) takes another fifth to quarter off; from 100
thousand on it gains nothing, and where several networks no longer fit the cache together it loses. So
`GROUP_PARAMETERS` limits a stack, and large networks train alone. Freed blocks are small: the allocator's settings
make no difference. Adam is torch's fused kernel, called as a function: the first ``torch.optim.Adam`` of a process
imports torch's compiler, which takes longer than all networks of a few hundred clips.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim.adam import adam

from raytag.ensemble.stackers.grid import StackerConfig
from raytag.ensemble.stackers.stack import Shape, Stack, pack, parameters
from raytag.metrics import lwlrap
from raytag.seeding import generator, torch_seed

GROUP_PARAMETERS = 1 << 18  # of all networks of a stack; a larger network is a stack of its own
_MASK_VALUES = 1 << 21  # dropout is drawn for so many activations at a time

# the plateau schedule's constants, argus's: relative improvement that counts, and the lowest rate
_THRESHOLD, _MIN_LR = 1e-4, 1e-8

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
    tolerance : int
        Epochs without a new best inner lwlrap after which a network stops.
    """

    x: Tensor
    y: Tensor
    inner_x: Tensor
    inner_y: NDArray[np.float32]
    key: tuple[int, ...]
    tolerance: int

    def shape(self, config: StackerConfig) -> Shape:
        """Shape of a config's network on these inputs."""
        return Shape(self.x.shape[1], self.y.shape[1], config.base_size, config.reduction_scale)


class Network:
    """One network in training.

    Attributes
    ----------
    row : torch.Tensor [shape=(P,)]
        Parameters now: of its own, or a row of the stack in which it trains.
    lr : float
        Rate now.
    epoch : int
        Epochs trained.
    best, best_epoch : float, int
        Best inner lwlrap, and its epoch.
    best_row : torch.Tensor [shape=(P,)]
        Parameters of that epoch.
    stopped : bool
        No new best for ``task.tolerance`` epochs.
    """

    def __init__(self, config: StackerConfig, number: int, task: Task) -> None:
        self.config, self.number, self.task = config, number, task
        self.shape = task.shape(config)
        with torch.random.fork_rng(devices=[]):  # initial weights come from torch's own generator
            torch.manual_seed(torch_seed(*task.key, _INITIAL, number, 0))
            state = self.shape.build().state_dict()
        # start from the classes' frequencies: they are small, and Adam would spend many steps on walking there
        state["layers.6.bias"] = torch.logit((task.y.sum(dim=0) + 0.5) / (len(task.y) + 1))
        self.row = pack(self.shape, state)
        self._moments = torch.zeros_like(self.row), torch.zeros_like(self.row)
        self._steps = torch.zeros(())
        self.lr, self._plateau, self._bad_epochs = config.lr, -1.0, 0
        self.epoch, self.best, self.best_epoch = 0, -1.0, 0
        self.best_row = self.row
        self.stopped = False

    @property
    def bytes(self) -> int:
        """Memory of a network that is put aside: parameters, two moments, best parameters."""
        return 4 * 4 * len(self.row)

    def dropout_stream(self) -> np.random.Generator:
        """What the coming epoch's dropout is drawn from."""
        return generator(*self.task.key, _DROPOUT, self.number, self.epoch)

    def step(self, gradient: Tensor) -> None:
        """A step of Adam with its usual constants, in place."""
        first, second = self._moments
        adam(
            [self.row],
            [gradient],
            [first],
            [second],
            [],
            [self._steps],
            fused=True,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=self.lr,
            weight_decay=0.0,
            eps=1e-8,
            maximize=False,
        )

    def judge(self, value: float) -> None:
        """Take note of an epoch's inner lwlrap, -1 for a network that diverged."""
        self.epoch += 1
        if value > self._plateau * (1 + _THRESHOLD):
            self._plateau, self._bad_epochs = value, 0
        else:
            self._bad_epochs += 1
        if self._bad_epochs > self.config.patience:
            self.lr, self._bad_epochs = max(self.lr * self.config.factor, _MIN_LR), 0
        if value > self.best:
            self.best, self.best_epoch = value, self.epoch
            self.best_row = self.row.clone()
        self.stopped = self.epoch - self.best_epoch >= self.task.tolerance

    def release(self) -> None:
        """Leave the stack: own the parameters."""
        self.row = self.row.clone()


def groups(kinds: Sequence[tuple[Shape, int]]) -> list[list[int]]:
    """Who trains together: networks of one shape and batch size, at most `GROUP_PARAMETERS` in all.

    Parameters
    ----------
    kinds
        Shape and batch size of each network.

    Returns
    -------
    list of list of int
        Numbers of networks, each in one group.
    """
    alike: dict[tuple[Shape, int], list[int]] = {}
    for i, kind in enumerate(kinds):
        alike.setdefault(kind, []).append(i)
    parts = []
    for (shape, _), members in alike.items():
        size = max(1, GROUP_PARAMETERS // parameters(shape)[1])
        parts += [members[i : i + size] for i in range(0, len(members), size)]
    return parts


def train(group: Sequence[Network], until: int) -> None:
    """Train a group, whose networks are all at one epoch, up to a later one; each leaves when it stops early."""
    running = [network for network in group if not network.stopped and network.epoch < until]
    while running:
        stack = Stack(running[0].shape, [network.row for network in running])
        for network, row in zip(running, stack.weights, strict=True):
            network.row = row
        task = running[0].task
        while not any(network.stopped or network.epoch >= until for network in running):
            _train_epoch(stack, running, task)
            for network, logits in zip(running, stack.logits(task.inner_x), strict=True):
                values = logits.sigmoid_().numpy()
                network.judge(lwlrap(task.inner_y, values) if np.isfinite(values).all() else -1.0)
        for network in running:
            network.release()
        running = [network for network in running if not network.stopped and network.epoch < until]


def _train_epoch(stack: Stack, networks: Sequence[Network], task: Task) -> None:
    """One pass over the clips, in the same batches for all networks."""
    config, n = networks[0].config, len(task.x)
    order = torch.from_numpy(generator(*task.key, _ORDER, 0, networks[0].epoch).permutation(n))
    streams = [network.dropout_stream() for network in networks]
    wide, narrow = networks[0].shape.hidden
    chunk = max(1, _MASK_VALUES // (len(networks) * (wide + narrow) * config.batch_size)) * config.batch_size
    for clips in order.split(chunk):
        keep = _dropout(streams, [network.config.dropout for network in networks], len(clips), wide + narrow)
        x, y = task.x[clips], task.y[clips]
        for start in range(0, len(clips), config.batch_size):
            rows = slice(start, start + config.batch_size)
            stack.differentiate(x[rows], y[rows], (keep[:, rows, :wide], keep[:, rows, wide:]))
            for network, gradient in zip(networks, stack.gradients, strict=True):
                network.step(gradient)


def _dropout(streams: Sequence[np.random.Generator], rates: Sequence[float], n: int, units: int) -> Tensor:
    """Factors (G, n, units) that are 0 with a network's rate and 1 / (1 - rate) otherwise."""
    factors = np.empty((len(streams), n, units), np.float32)
    for values, stream, rate in zip(factors, streams, rates, strict=True):
        stream.random(out=values, dtype=np.float32)
        np.multiply(values >= rate, np.float32(1 / (1 - rate)), out=values)
    return torch.from_numpy(factors)
