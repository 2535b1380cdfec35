"""Second-level networks: argus-freesound's FCNet on the first level's out-of-fold probabilities.

A stacker of fold k is trained without fold k. It needs a validation set for its learning-rate schedule, for
stopping and for being selected; that is an inner split of the *other* folds (a fifth of their groups), never fold k
itself. Its inputs are members that were chosen without fold k as well (`raytag.ensemble.pipeline`). So nothing
that it predicts for fold k depends on fold k's labels. What remains is the dependence of all stacking: the other
folds' out-of-fold predictions come from first-level models that did train on fold k.

What differs from argus-freesound (first place, Freesound Audio Tagging 2019), and why:

- argus validates and selects the stacker of fold k on fold k. Here the inner split does that.
- argus averages random subsets of a clip's tiles as augmentation. Run stores keep a clip's mean over tiles, so
  there is nothing to draw from; dropout is the only noise.
- argus feeds probabilities, most of which are close to 0. Here the network reads their logits, shifted and
  scaled by the mean and the standard deviation over the clips that it is trained on: it learns from a few
  hundred clips in a third of the epochs.
- argus draws 32,768 samples an epoch at rates of 1e-5 to 1e-4, for thousands of clips on a GPU. Here an epoch is
  one pass over the clips, at most ``MAX_EPOCHS`` of them, and the rates are 3e-4 to 3e-3 (drawn
  log-uniformly), so that a stacker of a few hundred clips trains in about a second on one core. The other
  ranges are those of its random searches rs_004 and rs_005 together.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from raytag.ensemble.oof import EnsembleError
from raytag.metrics import lwlrap
from raytag.models.stackers import FCNet
from raytag.seeding import generator, torch_seed

MAX_EPOCHS = 100
EARLY_STOPPING = 20  # epochs without a new best inner lwlrap
INNER_SHARE = 0.2  # of the groups of the other folds


@dataclass(frozen=True)
class StackerConfig:
    """One point of the grid."""

    name: str
    base_size: int  # units of the last hidden layer
    reduction_scale: int  # of the gate
    dropout: float
    lr: float
    patience: int  # plateau: epochs without improvement that are tolerated
    factor: float  # plateau: multiplies the rate
    batch_size: int  # clips


@dataclass(frozen=True)
class StackerFold:
    """A stacker trained without one fold.

    Attributes
    ----------
    inner_lwlrap : float
        On the inner split of the other folds: what it is selected by.
    epochs : int
        Epoch whose weights predict.
    oof : np.ndarray [shape=(n_clips of the fold, n_classes)], float32
        Probabilities for the fold left out.
    test : np.ndarray [shape=(n_test, n_classes)], float32, or None
    """

    inner_lwlrap: float
    epochs: int
    oof: NDArray[np.float32]
    test: NDArray[np.float32] | None


def draw_configs(n: int, seed: int) -> list[StackerConfig]:
    """The first ``n`` points of a seeded random grid; a larger grid starts with a smaller one."""
    configs = []
    for i in range(n):
        rng = generator(seed, i)
        configs.append(
            StackerConfig(
                name=f"stacker-{i:03d}",
                base_size=int(rng.choice([64, 128, 256, 512])),
                reduction_scale=int(rng.choice([1, 2, 4, 8, 16])),
                dropout=float(rng.uniform(0.0, 0.7)),
                lr=float(np.exp(rng.uniform(np.log(3e-4), np.log(3e-3)))),
                patience=int(rng.integers(3, 12)),
                factor=float(rng.uniform(0.5, 0.8)),
                batch_size=int(rng.choice([32, 64, 128])),
            )
        )
    return configs


def inner_split(
    rows: NDArray[np.int64], targets: NDArray[np.float32], group: NDArray[np.object_], seed: int, fold: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split clips for training and validation; groups stay together, both sides get labels.

    Raises
    ------
    EnsembleError
        Fewer than two groups with labels.
    """
    labelled = targets[rows].any(axis=1)
    # a clip without a group is a group of its own
    names = np.array([str(group[r]) or f"\0{r}" for r in rows], dtype=object)
    with_labels = sorted(set(names[labelled]))
    if len(with_labels) < 2:
        raise EnsembleError(
            f"the folds other than {fold} hold {len(with_labels)} groups with labels, too few to train stackers "
            "on; search without them: --stackers 0"
        )
    order = generator(seed, fold).permutation(len(with_labels))
    n_inner = min(max(1, round(INNER_SHARE * len(with_labels))), len(with_labels) - 1)
    held_out = {with_labels[i] for i in order[:n_inner]}
    inner = np.array([name in held_out for name in names])
    return rows[~inner], rows[inner]


def train_stacker(
    config: StackerConfig,
    probabilities: NDArray[np.float32],
    targets: NDArray[np.float32],
    fold_of_clip: NDArray[np.int64],
    group: NDArray[np.object_],
    fold: int,
    test: NDArray[np.float32] | None,
    seed: int,
) -> StackerFold:
    """Train one stacker without one fold.

    Parameters
    ----------
    config : StackerConfig
    probabilities : np.ndarray [shape=(n_members, n_clips, n_classes)], float32
        Out-of-fold.
    targets : np.ndarray [shape=(n_clips, n_classes)], float32
        Those of fold ``fold`` are not looked at.
    fold_of_clip, group : np.ndarray [shape=(n_clips,)]
    fold : int
        The fold left out.
    test : np.ndarray [shape=(n_members, n_test, n_classes)], float32, or None
    seed : int
        Of the inner split, of the weights and of training.

    Returns
    -------
    StackerFold
    """
    fit_rows, inner_rows = inner_split(np.flatnonzero(fold_of_clip != fold), targets, group, seed, fold)
    scaling = _scaling(probabilities[:, fit_rows])
    inputs = _inputs(probabilities, scaling)
    x, y = inputs[torch.from_numpy(fit_rows)], torch.from_numpy(targets[fit_rows])
    inner_x, inner_y = inputs[torch.from_numpy(inner_rows)], targets[inner_rows]
    with torch.random.fork_rng(devices=[]):  # weights and dropout draw from torch's own generator
        torch.manual_seed(torch_seed(seed, fold))
        net = FCNet(
            in_channels=x.shape[1],
            num_classes=y.shape[1],
            base_size=config.base_size,
            reduction_scale=config.reduction_scale,
            dropout=config.dropout,
        )
        best, epochs = _fit(net, config, x, y, inner_x, inner_y, seed, fold)
    oof_rows = torch.from_numpy(np.flatnonzero(fold_of_clip == fold))
    return StackerFold(
        inner_lwlrap=best,
        epochs=epochs,
        oof=_predict(net, inputs[oof_rows]),
        test=None if test is None else _predict(net, _inputs(test, scaling)),
    )


def _fit(
    net: FCNet,
    config: StackerConfig,
    x: torch.Tensor,
    y: torch.Tensor,
    inner_x: torch.Tensor,
    inner_y: NDArray[np.float32],
    seed: int,
    fold: int,
) -> tuple[float, int]:
    """Train with binary cross-entropy and Adam; the best inner lwlrap and its epoch, whose weights are kept."""
    optimizer = torch.optim.Adam(net.parameters(), lr=config.lr, fused=True)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, mode="max", factor=config.factor, patience=config.patience, threshold=1e-4, min_lr=1e-8
    )
    best, best_epoch = -1.0, 0
    weights = copy.deepcopy(net.state_dict())
    for epoch in range(1, MAX_EPOCHS + 1):
        net.train()
        order = torch.from_numpy(generator(seed, fold, epoch).permutation(len(x)))
        for batch in order.split(config.batch_size):
            loss = torch.nn.functional.binary_cross_entropy_with_logits(net(x[batch]), y[batch])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        value = lwlrap(inner_y, _predict(net, inner_x))
        schedule.step(value)
        if value > best:
            best, best_epoch = value, epoch
            weights = copy.deepcopy(net.state_dict())
        elif epoch - best_epoch >= EARLY_STOPPING:
            break
    net.load_state_dict(weights)
    return best, best_epoch


def _logits(probabilities: NDArray[np.float32]) -> NDArray[np.float64]:
    """Log-odds; probabilities are kept 1e-4 away from 0 and 1, where float32 sigmoids are mostly noise."""
    p = np.clip(probabilities.astype(np.float64), 1e-4, 1 - 1e-4)
    return np.log(p / (1 - p))


def _scaling(probabilities: NDArray[np.float32]) -> tuple[float, float]:
    """Mean and standard deviation of all logits."""
    logits = _logits(probabilities)
    return float(logits.mean()), float(logits.std()) or 1.0


def _inputs(probabilities: NDArray[np.float32], scaling: tuple[float, float]) -> torch.Tensor:
    """(n_members, n, n_classes) → (n, n_members * n_classes): scaled logits, members side by side."""
    mean, deviation = scaling
    scaled = (_logits(probabilities) - mean) / deviation
    return torch.from_numpy(np.concatenate(list(scaled), axis=1).astype(np.float32))


@torch.inference_mode()
def _predict(net: FCNet, x: torch.Tensor) -> NDArray[np.float32]:
    net.eval()
    values: NDArray[np.float32] = torch.sigmoid(net(x)).numpy()
    return values


def select(inner_lwlrap: Sequence[float], n: int) -> list[int]:
    """Numbers of the ``n`` best stackers by inner lwlrap, best first; of equals the first."""
    return sorted(range(len(inner_lwlrap)), key=lambda i: -inner_lwlrap[i])[:n]
