"""Second-level models: argus-freesound's FCNet and linear ones on the first level's out-of-fold probabilities.

The unit of work is a *case* (`raytag.ensemble.stackers.values`): the members whose predictions are read, and the
folds that are left out (one to score on; two where the choice of the first is itself to be scored; none for models
that only predict test clips). A case sees the other folds alone. It needs a validation set for learning-rate
schedules, for stopping, for halving (`raytag.ensemble.stackers.halving`) and for choosing its best; that is an
inner split of the other folds (a fifth of their groups), never a fold left out. Its members are to be chosen
without those folds as well (`raytag.ensemble.pipeline`). So nothing that it predicts for a fold left out depends on
that fold's labels. What remains is the dependence of all stacking: the other folds' out-of-fold predictions come
from first-level models that did train on the fold left out.

What differs from argus-freesound (first place, Freesound Audio Tagging 2019), and why:

- argus validates and selects the stacker of fold k on fold k. Here the inner split does that.
- argus averages random subsets of a clip's tiles as augmentation. Run stores keep a clip's mean over tiles, so
  there is nothing to draw from; dropout is the only noise.
- argus feeds probabilities, most of which are close to 0. Here models read their log-odds, shifted and scaled by
  the mean and the standard deviation over the clips that they are trained on.
- argus's networks start with outputs about 1/2. Here the last bias starts at the classes' frequencies, which are
  what hundreds of first steps would otherwise go into: three epochs of 3,181 clips then reach more than 23 did.
- argus draws 32,768 samples an epoch at rates of 1e-5 to 1e-4, for up to 300 epochs in its searches, on a GPU. Here
  an epoch is one pass over the clips, 16 to 100 of them, and the rates are 3e-4 to 3e-3, drawn log-uniformly.
- argus draws each network's shape by itself. Here 16 shapes repeat (`raytag.ensemble.stackers.grid`), and a poor
  start ends a training early.
- Beside the networks stand linear models (`raytag.ensemble.stackers.linear`), the baseline that they must beat.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from raytag.datasets.table import group_names
from raytag.ensemble.predictions.oof import EnsembleError
from raytag.ensemble.stackers import linear
from raytag.ensemble.stackers.grid import StackerConfig, draw_configs
from raytag.ensemble.stackers.halving import (
    FINALISTS,
    Standing,
    max_epochs,
    plan_rungs,
    race,
    tolerance,
)
from raytag.ensemble.stackers.inputs import Scaling, fit_scaling, log_odds, scaled
from raytag.ensemble.stackers.linear import LinearConfig, train_linear
from raytag.ensemble.stackers.stack import Shape, unpack
from raytag.ensemble.stackers.training import Network, Task
from raytag.ensemble.stackers.values import HISTORY_COLUMNS, Case, CaseResult, StackerData, Trained
from raytag.seeding import generator

__all__ = [
    "FINALISTS",
    "HISTORY_COLUMNS",
    "Case",
    "CaseResult",
    "LinearConfig",
    "StackerConfig",
    "StackerData",
    "Trained",
    "View",
    "draw_configs",
    "inner_split",
    "predict_stacker",
    "run_case",
]

INNER_SHARE = 0.2  # of the groups of the other folds
_ROWS = 4096  # clips that a network predicts at a time


def run_case(data: StackerData, case: Case, n_mlps: int, seed: int) -> CaseResult:
    """Train and choose the second-level models of a case, in this process and on one thread.

    Parameters
    ----------
    data : StackerData
    case : Case
    n_mlps : int
        Size of the grid of networks; 0 for linear models alone.
    seed : int
        Of the grid, the inner split, weights and training.

    Returns
    -------
    CaseResult
        A function of the arguments, and not of the labels of the folds left out.

    Raises
    ------
    EnsembleError
        The other folds hold too few groups for an inner split.
    """
    with one_thread():
        view = View(data, case, seed)
        found = train_linear(view.odds, view.targets, view.fit, view.inner)
        history = [_row(config, inner) for config, inner in found.tried]
        finalists = [view.finish(found.config, found.inner_lwlrap, 0, found.weights)]
        if n_mlps:
            configs = draw_configs(n_mlps, seed)
            epochs = max_epochs(len(view.fit))
            networks, standings = race(configs, view.task(epochs), plan_rungs(n_mlps, epochs))
            history = [_row(configs[s.number], s.inner_lwlrap, s) for s in standings] + history
            finalists = [view.finish_network(network) for network in networks] + finalists
    return CaseResult(finalists, history)


class View:
    """What a case sees of the data: the clips outside of the folds left out, split for training and validation.

    Attributes
    ----------
    odds : np.ndarray [shape=(n_members, n, n_classes)], float32
        Log-odds of the n clips outside.
    targets : np.ndarray [shape=(n, n_classes)], float32
    fit, inner : np.ndarray
        Rows of those for training and for validation.
    scaling : Scaling
        Of the clips for training.
    """

    def __init__(self, data: StackerData, case: Case, seed: int) -> None:
        self.data, self.case = data, case
        self.members = np.array(case.members, dtype=np.int64)
        outside = np.flatnonzero(~np.isin(data.fold, case.left_out))
        self.targets = data.targets[outside]
        self.odds = log_odds(data.probabilities[np.ix_(self.members, outside)])
        self.fit, self.inner = inner_split(self.targets, data.group[outside], seed, case.left_out)
        self.scaling = fit_scaling(self.odds, self.fit)
        self.key = (seed, _set_number(case.left_out))

    def task(self, epochs: int) -> Task:
        """Tensors for the networks, copies in memory that torch aligns."""
        x, targets = torch.from_numpy(scaled(self.odds, self.scaling)), torch.from_numpy(self.targets.copy())
        return Task(
            x=x[torch.from_numpy(self.fit)],
            y=targets[torch.from_numpy(self.fit)],
            inner_x=x[torch.from_numpy(self.inner)],
            inner_y=self.targets[self.inner],
            key=self.key,
            tolerance=tolerance(epochs),
        )

    def finish_network(self, network: Network) -> Trained:
        """A network of its best epoch."""
        scaling = torch.tensor([self.scaling.mean, self.scaling.deviation], dtype=torch.float64)
        weights = unpack(network.shape, network.best_row) | {"scaling": scaling}
        return self.finish(network.config, network.best, network.best_epoch, weights)

    def finish(
        self, config: StackerConfig | LinearConfig, inner: float, epochs: int, weights: dict[str, torch.Tensor]
    ) -> Trained:
        """Predict the folds left out and the test clips, from the very weights that may be stored."""
        data, case = self.data, self.case
        rows = np.flatnonzero(np.isin(data.fold, case.left_out))
        test = None
        if case.with_test and data.test is not None:
            test = predict_stacker(config, weights, data.test[self.members])
        return Trained(
            config=config,
            inner_lwlrap=inner,
            epochs=epochs,
            oof=predict_stacker(config, weights, data.probabilities[np.ix_(self.members, rows)]),
            test=test,
            weights=weights if case.keep_weights else None,
        )


def predict_stacker(
    config: StackerConfig | LinearConfig, weights: Mapping[str, torch.Tensor], probabilities: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Second-level probabilities from stored weights.

    Parameters
    ----------
    config : StackerConfig or LinearConfig
    weights : mapping of torch.Tensor
        As in `Trained.weights`: FCNet's state dict, or ``coefficients`` and ``intercept``; and ``scaling``.
    probabilities : np.ndarray [shape=(n_members, n, n_classes)], float32
        Of the case's members, in its order.

    Returns
    -------
    np.ndarray [shape=(n, n_classes)], float32
    """
    with one_thread(), torch.inference_mode():
        odds = log_odds(probabilities)
        if isinstance(config, LinearConfig):
            return linear.predict_linear(config, weights, odds)
        mean, deviation = weights["scaling"].tolist()
        x = torch.from_numpy(scaled(odds, Scaling(mean, deviation))).clone()  # torch's memory is aligned
        shape = Shape(x.shape[1], probabilities.shape[2], config.base_size, config.reduction_scale)
        with torch.device("meta"):  # neither draws weights nor keeps them
            net = shape.build()
        net.load_state_dict({k: v for k, v in weights.items() if k != "scaling"}, assign=True)
        net.eval()
        values: NDArray[np.float32] = torch.cat([torch.sigmoid(net(part)) for part in x.split(_ROWS)]).numpy()
        return values


@contextmanager
def one_thread() -> Iterator[None]:
    """The same sums on every machine of a kind, and one core a task."""
    before = torch.get_num_threads()
    with threadpool_limits(1):
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def inner_split(
    targets: NDArray[np.float32], group: NDArray[np.object_], seed: int, left_out: Sequence[int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split the clips that a case sees for training and validation; groups stay together, both sides get labels.

    Parameters
    ----------
    targets : np.ndarray [shape=(n, n_classes)]
    group : np.ndarray [shape=(n,)]
        A clip without a group, "", is a group of its own.
    seed : int
    left_out : sequence of int
        For the seed and for messages.

    Raises
    ------
    EnsembleError
        Fewer than two groups with labels.
    """
    names = group_names(group)
    with_labels = sorted(set(names[targets.any(axis=1)]))
    if len(with_labels) < 2:
        others = f"the folds other than {' and '.join(map(str, left_out))}" if left_out else "all folds together"
        raise EnsembleError(
            f"{others} hold {len(with_labels)} groups with labels, too few to train stackers on; search without "
            "them: --stackers 0"
        )
    order = generator(seed, _set_number(left_out)).permutation(len(with_labels))
    n_inner = min(max(1, round(INNER_SHARE * len(with_labels))), len(with_labels) - 1)
    held_out = {with_labels[i] for i in order[:n_inner]}
    inner = np.array([name in held_out for name in names])
    return np.flatnonzero(~inner), np.flatnonzero(inner)


def _set_number(folds: Sequence[int]) -> int:
    """A set of folds as one integer, whatever its order."""
    return sum(1 << k for k in set(folds))


def _row(config: StackerConfig | LinearConfig, inner: float, standing: Standing | None = None) -> dict[str, Any]:
    """A row of the history."""
    told = asdict(config) | {
        "family": "mlp" if standing else "linear",
        "inner_lwlrap": inner,
        "rung": standing.rung if standing else None,
        "epochs_trained": standing.epochs if standing else None,
        "best_epoch": standing.best_epoch if standing else None,
    }
    return {column: told.get(column) for column in HISTORY_COLUMNS}
