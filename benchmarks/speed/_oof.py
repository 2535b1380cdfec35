"""Out-of-fold predictions for benchmarks, simulated or of a real run, and the usual ways of scoring a blend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from scipy.stats import gmean, rankdata
from sklearn.metrics import label_ranking_average_precision_score

from raytag.blends.means.base import blend_scores
from raytag.seeding import generator

CLIPS, CLASSES, LABELS = 4970, 80, 5929  # FSDKaggle2019's curated set


def simulate(
    n_models: int, n_clips: int = CLIPS, n_classes: int = CLASSES, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (n_models, n_clips, n_classes) float32 of models with partly shared errors, and targets."""
    rng = generator(seed)
    targets = np.zeros((n_clips, n_classes), np.float32)
    targets[np.arange(n_clips), rng.integers(0, n_classes, n_clips)] = 1
    extra = rng.integers(0, n_clips, round((LABELS / CLIPS - 1) * n_clips))
    targets[extra, rng.integers(0, n_classes, len(extra))] = 1
    shared = rng.standard_normal(targets.shape, np.float32)
    clarity = rng.normal(1.0, 0.5, (n_clips, 1)).clip(0.1).astype(np.float32)
    probabilities = np.empty((n_models, *targets.shape), np.float32)
    for m in range(n_models):
        skill = np.float32(5.4 * (0.88 + 0.24 * m / max(1, n_models - 1)))
        own = rng.standard_normal(targets.shape, np.float32)
        probabilities[m] = 1 / (1 + np.exp(-1.3 * (skill * clarity * targets + shared + 0.72 * own - 5)))
    return probabilities, targets


def of_run(run: Path, n_models: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The same of a run's complete experiments, or of the first ``n_models`` of them.

    Parameters
    ----------
    run : Path
        RUNS_DIR/RUN.
    """
    from raytag.ensemble.predictions.oof import load_oof
    from raytag.store.run import RunStore

    oof = load_oof(RunStore(str(run.parent), run.name))
    if n_models is not None and n_models > len(oof.probabilities):
        raise ValueError(f"--models {n_models}: run {run.name} has {len(oof.probabilities)} complete experiments")
    return np.ascontiguousarray(oof.probabilities[:n_models]), oof.targets


def usual_ways(
    probabilities: np.ndarray, targets: np.ndarray, kind: str
) -> dict[str, Callable[[Sequence[int]], float]]:
    """lwlrap of a blend of some models, by name of the way.

    The first is how it is mostly done: blend the members' probabilities, then score clip by clip in Python. The
    other two add up scores that were computed once, as the search does; numpy only ranks the labels.
    """
    scores = blend_scores(probabilities, kind)
    clips, classes = np.nonzero(targets)
    positive = targets > 0
    labels = targets.sum(axis=1)

    def per_clip(members: Sequence[int]) -> float:
        return lwlrap_by_loop(positive, _blended(probabilities[list(members)], kind))

    def by_sklearn(members: Sequence[int]) -> float:
        total = scores[list(members)].sum(axis=0)
        return float(label_ranking_average_precision_score(targets, total, sample_weight=labels))

    def by_numpy(members: Sequence[int]) -> float:
        total = scores[list(members)].sum(axis=0)
        above = total[clips] >= total[clips, classes][:, None]
        return float(((above & positive[clips]).sum(axis=1) / above.sum(axis=1)).mean())

    blend = {"geometric": "scipy gmean", "arithmetic": "numpy mean", "rank": "scipy rankdata"}[kind]
    return {f"{blend} + lwlrap by clip": per_clip, "scikit-learn": by_sklearn, "numpy": by_numpy}


def _blended(members: np.ndarray, kind: str) -> np.ndarray:
    if kind == "geometric":
        return gmean(members, axis=0)
    return (rankdata(members, axis=-1) if kind == "rank" else members).mean(axis=0)


def lwlrap_by_loop(positive: np.ndarray, predictions: np.ndarray) -> float:
    """lwlrap with a loop over clips: sort the classes, count positives down to each; ties fall as the sort does."""
    total, count = 0.0, 0
    for wanted, row in zip(positive, predictions, strict=True):
        if not wanted.any():
            continue
        hit = wanted[np.argsort(-row)]
        precision = np.cumsum(hit) / np.arange(1, len(hit) + 1)
        total += precision[hit].sum()
        count += int(hit.sum())
    return float(total / count)
