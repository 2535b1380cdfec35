"""Compile the kernels of blending and of the subset search (see `raytag.compiled.once`)."""

from __future__ import annotations

import numpy as np

from raytag.blends.exchange import swap_search
from raytag.blends.pairs import log_probabilities, reduce_pairs
from raytag.blends.scorer import Scorer
from raytag.blends.subsets import TREE_LIMIT, Objective, search_trees
from raytag.blends.trees import plan_trees
from raytag.blends.weights import weight_search
from raytag.compiled.once import once


def warm_up() -> None:
    """Make this process ready for the ensemble search; of a node's processes only one compiles."""
    once("blends", _search_small_problem)


def _search_small_problem() -> None:
    """Everything that workers do with kernels, on a few clips."""
    n_models, n_clips, n_classes = 5, 6, 3
    values = np.arange(n_models * n_clips * n_classes) * 37 % 89 / 89.0  # in no order, so that models disagree
    targets = np.eye(n_classes)[np.arange(n_clips) % n_classes]
    log_probs = log_probabilities(values.reshape(n_models, n_clips, n_classes))
    pairs = reduce_pairs(log_probs, targets, np.arange(n_clips) % 2)
    search_trees(pairs, plan_trees(n_models, [1, 2, 4], TREE_LIMIT), [Objective((0, 1), 1)])
    swap_search(Scorer(pairs), (0, 1), 2, starts=2)
    weight_search(Scorer(pairs), (0, 1), sweeps=1)
