"""Second-level models: argus-freesound's FCNet and linear ones on the first level's out-of-fold probabilities.

The unit of work is a *case* (`raytag.ensemble.stackers.values`): the members whose predictions are read, and the
folds that are left out (one to score on; two where the choice of the first is itself to be scored; none for models
that only predict test clips). A case sees the other folds alone. It needs a validation set for learning-rate
schedules, for stopping and for choosing its best; that is an inner split of the other folds (a fifth of their
groups), never a fold left out. Its members are to be chosen without those folds as well
(`raytag.ensemble.pipeline`). So nothing that it predicts for a fold left out depends on that fold's labels. What
remains is the dependence of all stacking: the other folds' out-of-fold predictions come from first-level models
that did train on the fold left out.

Networks of raytag's grid and of argus-freesound (first place, Freesound Audio Tagging 2019) are trained alike
(`raytag.ensemble.stackers.training`). Where the members' tiles are known they learn from means over random tiles
(`raytag.ensemble.stackers.tiles`), as argus's do, else from the means over all of them; they predict from the
latter either way. What differs, and why:

- argus validates and selects the stacker of fold k on fold k, and trains it on all others. ``--faithful`` does, and
  its scores flatter; without it the inner split decides, of the published networks too.
- argus reads probabilities, most of which are close to 0, and starts with outputs about 1/2; so do the published
  networks. Those of raytag's grid read log-odds, shifted and scaled by the mean and the standard deviation over the
  clips that they are trained on, and start from the classes' frequencies, which are what hundreds of first steps
  would otherwise go into: three epochs of 3,181 clips then reach more than 23 did.
- argus draws 32,768 clips an epoch at rates of 1e-5 to 1e-4, for up to 300 epochs in its searches, on a GPU; so do
  the published networks unless ``--stacker-draws`` says less. Of raytag's grid an epoch is one pass over the clips,
  16 to 100 of them, and rates are 3e-4 to 3e-3, drawn log-uniformly.
- argus's stackers learn from corrected labels; here from those that are scored.
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
from raytag.ensemble.stackers.fcnet import FCNet
from raytag.ensemble.stackers.grid import StackerConfig, draw_configs
from raytag.ensemble.stackers.inputs import Scaling, fit_scaling, log_odds, side_by_side
from raytag.ensemble.stackers.linear import LinearConfig, train_linear
from raytag.ensemble.stackers.tiles import tile_means
from raytag.ensemble.stackers.training import Network, Task, train_grid
from raytag.ensemble.stackers.values import HISTORY_COLUMNS, Case, CaseResult, StackerData, Trained
from raytag.seeding import generator

__all__ = [
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


def run_case(data: StackerData, case: Case, configs: Sequence[StackerConfig], seed: int) -> CaseResult:
    """Train and choose the second-level models of a case, in this process and on one thread.

    Parameters
    ----------
    data : StackerData
    case : Case
    configs : sequence of StackerConfig
        The networks, which all read the same; none for linear models alone.
    seed : int
        Of the inner split, weights and training.

    Returns
    -------
    CaseResult
        A function of the arguments, and not of the labels of the folds left out, unless the case is faithful.

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
        if configs:
            task, scaling = view.task(configs[0].reads)
            networks, tried = train_grid(configs, task)
            history = [_row(n.config, n.inner_lwlrap, n) for n in tried] + history
            finalists = [view.finish_network(network, scaling) for network in networks] + finalists
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
    left : np.ndarray
        Clips of the folds left out.
    """

    def __init__(self, data: StackerData, case: Case, seed: int) -> None:
        self.data, self.case = data, case
        self.members = np.array(case.members, dtype=np.int64)
        outside = np.flatnonzero(~np.isin(data.fold, case.left_out))
        self.outside, self.left = outside, np.flatnonzero(np.isin(data.fold, case.left_out))
        self.targets = data.targets[outside]
        self.odds = log_odds(data.probabilities[np.ix_(self.members, outside)])
        self.fit, self.inner = inner_split(self.targets, data.group[outside], seed, case.left_out)
        self.key = (seed, _set_number(case.left_out))

    def task(self, reads: str) -> tuple[Task, Scaling | None]:
        """Tensors for the networks, copies in memory that torch aligns; and how what they read is scaled."""
        data, case = self.data, self.case
        fit, inner = self.outside[self.fit], self.outside[self.inner]
        if case.faithful and data.targets[self.left].any():
            fit, inner = self.outside, self.left
        scaling = None
        if reads == "log_odds":
            odds = log_odds(data.probabilities[np.ix_(self.members, fit)])
            scaling = fit_scaling(odds, np.arange(len(fit)))
        windows = [data.windows[m] for m in case.members if m in data.windows]

        def inputs(rows: NDArray[np.int64]) -> torch.Tensor:
            return torch.from_numpy(side_by_side(data.probabilities[np.ix_(self.members, rows)], scaling)).clone()

        def augment(rows: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float32]:
            return side_by_side(tile_means(windows, fit[rows], rng), scaling)

        task = Task(
            x=inputs(fit),
            y=torch.from_numpy(data.targets[fit]),
            inner_x=inputs(inner),
            inner_y=data.targets[inner],
            key=self.key,
            augment=augment if len(windows) == len(case.members) else None,
        )
        return task, scaling

    def finish_network(self, network: Network, scaling: Scaling | None) -> Trained:
        """A network of its best epoch."""
        weights = dict(network.weights)
        if scaling is not None:
            weights["scaling"] = torch.tensor([scaling.mean, scaling.deviation], dtype=torch.float64)
        return self.finish(network.config, network.inner_lwlrap, network.best_epoch, weights)

    def finish(
        self, config: StackerConfig | LinearConfig, inner: float, epochs: int, weights: dict[str, torch.Tensor]
    ) -> Trained:
        """Predict the folds left out and the test clips, from the very weights that may be stored."""
        data, case = self.data, self.case
        test = None
        if case.with_test and data.test is not None:
            test = predict_stacker(config, weights, data.test[self.members])
        return Trained(
            config=config,
            inner_lwlrap=inner,
            epochs=epochs,
            oof=predict_stacker(config, weights, data.probabilities[np.ix_(self.members, self.left)]),
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
        As in `Trained.weights`: FCNet's state dict, or ``coefficients`` and ``intercept``; and ``scaling`` where
        log-odds are read.
    probabilities : np.ndarray [shape=(n_members, n, n_classes)], float32
        Of the case's members, in its order.

    Returns
    -------
    np.ndarray [shape=(n, n_classes)], float32
    """
    with one_thread(), torch.inference_mode():
        if isinstance(config, LinearConfig):
            return linear.predict_linear(config, weights, log_odds(probabilities))
        scaling = Scaling(*weights["scaling"].tolist()) if config.reads == "log_odds" else None
        x = torch.from_numpy(side_by_side(probabilities, scaling)).clone()  # torch's memory is aligned
        with torch.device("meta"):  # neither draws weights nor keeps them
            net = FCNet(x.shape[1], probabilities.shape[2], config.base_size, config.reduction_scale)
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


def _row(config: StackerConfig | LinearConfig, inner: float, network: Network | None = None) -> dict[str, Any]:
    """A row of the history."""
    told = asdict(config) | {
        "family": "mlp" if network else "linear",
        "inner_lwlrap": inner,
        "epochs_trained": network.epochs if network else None,
        "best_epoch": network.best_epoch if network else None,
    }
    return {column: told.get(column) for column in HISTORY_COLUMNS}
