"""Successive halving within one process: many networks for a few epochs, the best quarter of them for more.

All networks of a grid train up to the first rung; those with the best inner lwlrap so far go on to the next from
where they stand. Rungs are a function of the number of networks and of clips alone, and networks are compared by
numbers that do not depend on each other, so the outcome is a function of the seed. (Jamieson & Talwalkar,
"Non-stochastic best arm identification and hyperparameter optimization", AISTATS 2016; one bracket, eta = 4.)

How many epochs: a network of a few hundred clips takes about a hundred, one of thousands has made as many steps in
sixteen. How many rungs: as many as leave `FINALISTS`, at most three. 4 networks all train to the end, 8 are
compared once, after an eighth of the epochs, 64 twice, after a sixteenth and a quarter. On simulated data of 160
and 400 clips the first rung of 8 or 16 networks at 6, 12 or 25 epochs or none made no difference to the blend of
the best three on unseen clips (0.821 to 0.825, 0.836 to 0.839), while the epochs trained went from all to a
quarter.

Memory: while a rung runs, only what can still be among its best is kept. Where even those would exceed
``STATE_BYTES``, fewer go on: the best that fit (of 20 models' 80 classes 16 average networks are 0.8 GB).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from raytag.ensemble.stackers.grid import StackerConfig
from raytag.ensemble.stackers.training import Network, Task, groups, train

ETA = 4
FINALISTS = 3  # no rung leaves fewer, and so many are blended: argus-freesound's number
STATE_BYTES = 3 << 29  # 1.5 GB: parameters and optimizer state of the networks that are put aside
EPOCHS = (16, 100)  # of the last rung: at least and at most
DRAWS = 50_000  # clips drawn until then, within these limits
SHARES: tuple[tuple[float, ...], ...] = ((), (1 / 8,), (1 / 16, 1 / 4))  # of the epochs, by number of comparisons


@dataclass(frozen=True)
class Rung:
    """Train up to an epoch, then keep so many."""

    epochs: int
    keep: int


@dataclass(frozen=True)
class Standing:
    """How far a network came."""

    number: int  # in the grid
    rung: int  # the last that it reached, from 1
    epochs: int  # trained
    best_epoch: int
    inner_lwlrap: float  # of its best epoch


def max_epochs(n_clips: int) -> int:
    """Epochs that a network may train on so many clips: 50,000 draws, but 16 to 100 epochs."""
    return min(max(round(DRAWS / n_clips), EPOCHS[0]), EPOCHS[1])


def tolerance(epochs: int) -> int:
    """Epochs without a new best after which a network stops: a fifth of its epochs, at least six."""
    return max(epochs // 5, 6)


def plan_rungs(n_networks: int, epochs: int) -> list[Rung]:
    """The rungs of a grid.

    Parameters
    ----------
    n_networks
        Size of the grid, at least 1.
    epochs
        Of the last rung.

    Examples
    --------
    >>> plan(64, 96)
    [Rung(epochs=6, keep=16), Rung(epochs=24, keep=4), Rung(epochs=96, keep=3)]
    """
    levels = min(max(round(math.log(n_networks / FINALISTS, ETA)), 0), len(SHARES) - 1)
    rungs = [
        Rung(max(1, round(share * epochs)), max(math.ceil(n_networks / ETA**i), FINALISTS))
        for i, share in enumerate(SHARES[levels], start=1)
    ]
    return [*rungs, Rung(epochs, FINALISTS)]


def race(
    configs: Sequence[StackerConfig], task: Task, rungs: Sequence[Rung]
) -> tuple[list[Network], list[Standing]]:
    """Train a grid by successive halving.

    Parameters
    ----------
    configs : sequence of StackerConfig
    task : Task
    rungs : sequence of Rung
        With rising epochs and falling numbers of networks.

    Returns
    -------
    finalists : list of Network
        What the last rung keeps, best first; of equals the first of the grid.
    standings : list of Standing
        Of all networks, in the order of the grid.
    """
    standings: dict[int, Standing] = {}
    alive: list[Network] = []
    for level, rung in enumerate(rungs, start=1):
        entrants = alive
        kinds = [(task.shape(c), c.batch_size) for c in (configs if level == 1 else [n.config for n in entrants])]
        alive = []
        for members in groups(kinds):
            # networks of the first rung come into being when it is their turn
            group = [Network(configs[i], i, task) if level == 1 else entrants[i] for i in members]
            train(group, rung.epochs)
            for n in group:
                standings[n.number] = Standing(n.number, level, n.epoch, n.best_epoch, n.best)
            alive = _best([*alive, *group], rung.keep)
    return alive, [standings[i] for i in range(len(configs))]


def _best(networks: Sequence[Network], keep: int) -> list[Network]:
    """The best ``keep`` of them, or the best that fit into memory, but no fewer than the finalists.

    Who is not among the best of some is not among the best of more, by either limit, so those can be forgotten.
    """
    ranked = sorted(networks, key=lambda network: (-network.best, network.number))[:keep]
    kept: list[Network] = []
    for network in ranked:
        if len(kept) >= FINALISTS and sum(n.bytes for n in [*kept, network]) > STATE_BYTES:
            break
        kept.append(network)
    return kept
